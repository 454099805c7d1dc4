"""RFID tags: what an inventory reports, as the pure identity URI of its EPC.

EPC Tag Data Standard sections 6 (URIs) and 14 (binary); read by the identifier registry.
"""

from __future__ import annotations

from functools import lru_cache

from app.registry.parse import parse

_URI = "urn:epc:id:"


@lru_cache(maxsize=4096)
def epc_uri(text: str) -> str | None:
    """Return the pure identity URI of an EPC in hexadecimal or URI form, None if it is none."""
    if text.startswith(_URI):
        return text
    found = parse(text)
    uri = found.fields.get("epcUri") if found.valid else None
    return str(uri) if uri else None
