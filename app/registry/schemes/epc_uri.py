"""EPC URIs: pure identity, class, pattern and tag (EPC Tag Data Standard sections 6, 7 and 12).

urn:epc:id:sgtin:9521141.012345.4711          urn:epc:class:lgtin:9521141.012345.L1
urn:epc:idpat:sgtin:9521141.012345.*          urn:epc:tag:sgtin-96:3.9521141.012345.4711
"""

from __future__ import annotations

import re
from collections.abc import Callable

from app.registry import epc
from app.registry.reading import Context, Reading
from app.registry.schemes import epc_hex

# The characters of TDS table A-1 as they stand in a URI, before decoding.
_NOT_EPC = re.compile(r"[^A-Za-z0-9\-._~!'()*+,:;=%]")
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})?")


def read(text: str, context: Context) -> Reading:
    """Read any `urn:epc:` URI."""
    _, _, rest = text[4:].partition(":")  # urn: and epc: are case-insensitive, the rest is not
    form, _, rest = rest.partition(":")
    reader = _FORMS.get(form)
    if reader is None:
        return Reading("unknown").fail("unknown-scheme", "no form of EPC URI has this name")
    scheme, _, body = rest.partition(":")
    return reader(scheme, body, context)


def _fields(reading: Reading, body: str, count: int, *, dotted: bool) -> list[str] | None:
    """Return the decoded fields of a body, None after reporting what is wrong with them.

    dotted: the last field is text and may hold dots.
    """
    bad = _NOT_EPC.search(body)
    if bad:
        reading.fail("illegal-character", "not a character of an EPC URI", offset=bad.start())
        return None
    parts = body.split(".", count - 1) if dotted else body.split(".")
    if len(parts) != count:
        reading.fail("epc-field-count", f"this scheme has {count} fields")
        return None
    out = []
    for part in parts:
        if any(found[1] is None for found in _ESCAPE.finditer(part)):
            reading.fail("bad-percent-encoding", "a percent sign without two hex digits")
            return None
        out.append(_ESCAPE.sub(lambda found: chr(int(found[1], 16)), part))
    return out


def _identity(scheme: str, body: str, context: Context) -> Reading:
    reading = Reading("epc-id-uri")
    if scheme in epc.OTHERS:
        parts = _fields(reading, body, len(epc.OTHERS[scheme]), dotted=False)
        if parts is not None:
            epc.read_other(reading, scheme, parts)
            reading.fields["epcUri"] = epc.uri(scheme, parts)
        return reading
    kind = epc.KINDS.get(scheme)
    if kind is None or scheme == "lgtin":
        return _unknown(reading)
    parts = _fields(reading, body, kind.fields, dotted=kind.text)
    if parts is None:
        return reading
    reading.fields["epcUri"] = epc.uri(scheme, parts)
    return epc.finish(reading, epc.elements(reading, kind, parts), context)


def _unknown(reading: Reading) -> Reading:
    return reading.fail("unknown-scheme", "no EPC scheme has this name")


def _class(scheme: str, body: str, context: Context) -> Reading:
    reading = Reading("epc-class-uri")
    if scheme != "lgtin":
        return _unknown(reading)
    parts = _fields(reading, body, epc.KINDS[scheme].fields, dotted=True)
    if parts is None:
        return reading
    return epc.finish(reading, epc.elements(reading, epc.KINDS[scheme], parts), context)


def _pattern(scheme: str, body: str, context: Context) -> Reading:
    """Read a pattern: `*` from some field on. With the reference known it names the class."""
    reading = Reading("epc-class-uri")
    kind = epc.KINDS.get(scheme)
    if kind is None:
        return _unknown(reading)
    parts = _fields(reading, body, kind.fields, dotted=kind.text)
    if parts is None:
        return reading
    known = parts[: parts.index("*")] if "*" in parts else parts
    if any(part != "*" for part in parts[len(known) :]):
        return reading.fail("format", "after the first star all fields are stars")
    if len(known) >= 2 + kind.pieces:
        return epc.finish(reading, epc.elements(reading, kind, known), context)
    if known:
        epc.read_prefix(reading, known[0])
    return reading


def _tag(scheme: str, body: str, context: Context) -> Reading:
    reading = Reading("epc-tag-uri")
    layout = epc_hex.LAYOUTS_BY_NAME.get(scheme)
    if layout is None:
        return _unknown(reading)
    has_filter = 0 if layout.kind == "gid" else 1
    known = epc.KINDS.get(layout.kind)
    count = known.fields if known else len(epc.OTHERS[layout.kind])
    parts = _fields(reading, body, count + has_filter, dotted=known is not None and known.text)
    if parts is None:
        return reading
    if has_filter:
        epc_hex.read_filter(reading, parts.pop(0), layout)
    epc_hex.check_serial(reading, layout, parts[-1])
    if known is None:
        epc.read_other(reading, layout.kind, parts)
    else:
        epc.finish(reading, epc.elements(reading, known, parts), context)
    reading.fields["epcUri"] = epc.uri(layout.kind, parts)
    return reading


_RAW = re.compile(r"([0-9]+)\.x([0-9A-F]+)")


def _raw(scheme: str, body: str, context: Context) -> Reading:
    """Read `urn:epc:raw:96.x30...`: the bits themselves."""
    found = _RAW.fullmatch(scheme) if not body else None
    if found is None:
        return Reading("epc-tag-uri").fail("format", "bits, then .x and hexadecimal digits")
    reading = epc_hex.read(found[2], context)
    reading.scheme = "epc-tag-uri"
    return reading


_FORMS: dict[str, Callable[[str, str, Context], Reading]] = {
    "id": _identity,
    "class": _class,
    "idpat": _pattern,
    "tag": _tag,
    "raw": _raw,
}


def build(name: str, key: str, prefix_digits: int, serial: str | None = None) -> str:
    """Return the URI of a GS1 key, given how long its company prefix is."""
    kind = epc.KINDS[name]
    form = "class" if name == "lgtin" else "id"
    body = key[len(kind.lead) :]
    pieces: list[str] = []
    if kind.pieces:
        pieces, body = [body[14:16], body[16:18]], body[:14]
    if kind.serial == "":
        body, serial = body[: kind.digits + 1], body[kind.digits + 1 :]
    if kind.checked:
        body = body[:-1]
    first, body = (body[0], body[1:]) if kind.moved else ("", body)
    parts = [body[:prefix_digits], first + body[prefix_digits:], *pieces]
    if kind.serial is not None:
        parts.append("0" if serial is None else serial)
    return epc.uri(name, parts).replace("urn:epc:id", f"urn:epc:{form}", 1)
