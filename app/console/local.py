"""Whether a request was made on this machine, by somebody who sits at it.

There is no sign-in yet, so the bytes of messages are shown to nobody else. A proxy on this machine
would make all the world look local: what it passes on says so in its headers. The Host is looked at
because a page from elsewhere can point a name of its own at 127.0.0.1 (DNS rebinding).
"""

from __future__ import annotations

from ipaddress import ip_address

from flask import Request

_PASSED_ON = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
_HOSTS = ("localhost", "127.0.0.1", "[::1]")


def is_local(request: Request) -> bool:
    """Return whether the request comes from this machine without a proxy between."""
    if any(name in request.headers for name in _PASSED_ON):
        return False
    host = request.headers.get("Host", "")
    name, colon, port = host.rpartition(":")
    if (name if colon and port.isdigit() else host).lower() not in _HOSTS:
        return False
    try:
        return ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False
