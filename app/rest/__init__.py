"""Every HTTP API. R4 http.html is served by `facade.py`; the other addresses by Flask."""

from app.rest.wsgi import Wsgi, create_app

__all__ = ["Wsgi", "create_app"]
