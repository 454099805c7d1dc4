"""Errors as C-STORE status codes.

DICOM PS3.7 annex C (general statuses), PS3.4 B.2.3 (storage service class).
"""

from __future__ import annotations

from typing import Final

from app import errors

SUCCESS: Final = 0x0000
REFUSED_SOP_CLASS: Final = 0x0122
PROCESSING_FAILURE: Final = 0x0110

# First class in this order that the error is an instance of.
STATUS: Final[tuple[tuple[type[errors.YilianError], int], ...]] = (
    (errors.Malformed, 0xC000),
    (errors.NotSupported, REFUSED_SOP_CLASS),
    (errors.NotSignedIn, 0x0124),
    (errors.Forbidden, 0x0124),
    (errors.TooMuch, 0xA700),
    (errors.Unavailable, 0xA700),
    (errors.Invalid, 0xA900),
)


def status_of(error: BaseException) -> int:
    """Return the C-STORE status that answers `error`; out of disk is "out of resources"."""
    if isinstance(error, OSError):
        return 0xA700
    found = (status for kind, status in STATUS if isinstance(error, kind))
    return next(found, PROCESSING_FAILURE)
