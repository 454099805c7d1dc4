"""Errors as HTTP: one table from the error tree to status codes. R4 http.html#3.1.0.1.5.

Under /fhir the body is an OperationOutcome, elsewhere RFC 9457 problem JSON (`ops.py`). A fault of
ours is logged with its traceback under a reference number; the client sees only the number.
"""

from __future__ import annotations

import logging
import re
from secrets import token_hex

from app import errors
from app.errors import Issue, YilianError

log = logging.getLogger(__name__)

STATUS: dict[type[YilianError], int] = {
    errors.YilianError: 500,
    errors.Malformed: 400,
    errors.Invalid: 400,
    errors.Unprocessable: 422,
    errors.NotSupported: 400,
    errors.MethodNotAllowed: 405,
    errors.NotAcceptable: 406,
    errors.UnsupportedMediaType: 415,
    errors.NotFound: 404,
    errors.UnknownType: 404,
    errors.Deleted: 410,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.NotSignedIn: 401,
    errors.Forbidden: 403,
    errors.Misdirected: 421,
    errors.TooMuch: 413,
    errors.TooCostly: 400,
    errors.Unavailable: 503,
}

_THROTTLED = 429
# What a client may call its request: it comes back in a header and goes into the log.
REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)


def status(error: YilianError) -> int:
    """Return the HTTP status of an error: its own row, else that of its nearest ancestor."""
    if error.issues[0].code == "throttled":
        return _THROTTLED
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def headers(error: YilianError) -> list[tuple[str, str]]:
    """Return the headers an error brings along."""
    if isinstance(error, errors.Unavailable):
        return [("Retry-After", str(error.retry_after_s))]
    return []


def fault(exc: Exception, request_id: str | None = None) -> Issue:
    """Log a fault of ours and return what the client may know of it."""
    number = token_hex(6)
    known = request_id if request_id and REQUEST_ID.fullmatch(request_id) else ""
    log.error("rest.fault", exc_info=exc, extra={"request_id": known, "code": number})
    return Issue("fatal", "exception", f"Internal fault; please report the reference {number}")
