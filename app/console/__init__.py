"""The web console: the start page and the inbox, in plain HTML (zh-CN and English).

Works without JavaScript and without anything from outside; the script only refreshes.
"""

from app.console.views import blueprint

__all__ = ["blueprint"]
