"""Who may ask at all: the Host and Origin of a request, looked at before anything is done.

There is no sign-in yet, and the hub listens on its own machine only. What is left to keep out are
web pages from elsewhere that are open in a browser on this machine: a page can point a name of its
own at 127.0.0.1 (DNS rebinding; the name then stands in Host), and a page of any address can send
requests (it then stands in Origin: Fetch, section 3.1). Programs send no Origin and are not
concerned.

Pages of this machine and of the hub's own names may ask. Those of other origins may if the site
names them; else they get what is public, answers to preflights, and a refusal that they can read.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from app.errors import Forbidden, Misdirected
from app.rest.services import Options

Headers = list[tuple[str, str]]

_EXPOSED = (
    "ETag, Link, Location, Content-Location, Last-Modified, X-Request-Id, X-Progress, Retry-After"
)
_ASKABLE = (
    "Accept, Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Exist,"
    " If-None-Match, Prefer, X-Request-Id, X-Security-Context"
)
_REMEMBERED = 256


class Gate:
    """Decides by the names and origins of a site; one for each process."""

    def __init__(self, options: Options) -> None:
        self._hosts = frozenset(options.hosts)
        self._origins = frozenset(options.cors_origins)
        self._known = {""}  # Hosts that were found to be ours; without one, it is no browser

    def admit(self, environ: Mapping[str, Any], *, public: bool = False) -> None:
        """Let a request pass. Raises Misdirected for a strange Host, Forbidden for an Origin.

        public: the answer is for pages of any origin.
        """
        host = environ.get("HTTP_HOST", "")
        if host not in self._known:
            self._learn(host)
        if "HTTP_ORIGIN" in environ and not public and not self._trusts(environ["HTTP_ORIGIN"]):
            raise Forbidden(
                "web pages of this origin may not use the hub; --allow-origin names those that may",
                at="http.origin",
            )

    def passes(self, environ: Mapping[str, Any]) -> bool:
        """Say whether a request of no web page may pass, by a Host that is known already."""
        return environ.get("HTTP_HOST", "") in self._known and "HTTP_ORIGIN" not in environ

    def headers(self, environ: Mapping[str, Any]) -> Headers:
        """Return what lets a page read the answer (CORS: Fetch, section 3.2)."""
        origin = environ.get("HTTP_ORIGIN")
        if not origin:
            return []
        # To a strange origin only the public and refusals go out: see `admit`.
        exposed = ("Access-Control-Expose-Headers", _EXPOSED)
        if "*" in self._origins or not self._trusts(origin):
            return [("Access-Control-Allow-Origin", "*"), exposed]
        return [("Access-Control-Allow-Origin", origin), exposed, ("Vary", "Origin")]

    def _learn(self, host: str) -> None:
        if not self._is_ours(host):
            raise Misdirected(
                "the hub does not have the name that Host gives; --allow-host names it",
                at="http.host",
            )
        if len(self._known) < _REMEMBERED:
            self._known.add(host)

    def _trusts(self, origin: str) -> bool:
        if origin in self._origins or "*" in self._origins:
            return True
        scheme, separator, authority = origin.partition("://")
        return bool(separator) and scheme in ("http", "https") and self._is_ours(authority)

    def _is_ours(self, authority: str) -> bool:
        """Return whether `host[:port]` names this hub, or an address that only this machine has."""
        try:
            parts = urlsplit(f"//{authority}")
            name, _ = parts.hostname or "", parts.port
        except ValueError:
            return False
        if parts.netloc != authority or parts.username is not None:
            return False
        if name in self._hosts or f"[{name}]" in self._hosts:
            return True
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return False


def preflight(environ: Mapping[str, Any], methods: str) -> Headers:
    """Return what a browser asks before it lets a page send a request (Fetch, section 3.2.2)."""
    if "HTTP_ACCESS_CONTROL_REQUEST_METHOD" not in environ:
        return []
    return [
        ("Access-Control-Allow-Methods", methods),
        ("Access-Control-Allow-Headers", _ASKABLE),
        ("Access-Control-Max-Age", "600"),
    ]
