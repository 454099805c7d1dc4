"""The elements of an encoded DICOM data set, up to the pixel data.

DICOM PS3.5 7 (data element structure, sequences), annex A (transfer syntaxes), PS3.10 7 (preamble
and file meta information). Reads what archives really hold: no preamble, no group 2, implicit
elements inside explicit data sets, pixel data cut off. Every length is checked against what is
there before anything is read, nesting and counts are limited, so that a hostile file costs no more
than an honest one. pydicom supplies the dictionary; its reader is not used because it decodes text
by its own tables on the way and reports damage as warnings of the whole process.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from dataclasses import dataclass, field
from typing import Final

from pydicom.datadict import dictionary_VR

from app.errors import Malformed, TooMuch

Data = bytes | bytearray | memoryview | mmap.mmap

PIXEL_GROUP: Final = 0x7FE0
SPECIFIC_CHARACTER_SET: Final = 0x00080005
TRANSFER_SYNTAX_UID: Final = 0x00020010

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"
_IMPLICIT: Final = frozenset({IMPLICIT_LITTLE, "1.2.840.113619.5.2"})
_DEFLATED: Final = frozenset(
    {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
)

# PS3.5 7.1.2: explicit VRs with a 32 bit length, and with a 16 bit length.
_LONG: Final = frozenset(
    ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
)
_SHORT: Final = frozenset(
    ("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL")
).union(("SS", "ST", "TM", "UI", "UL", "US"))

_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
_UNDEFINED: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a data set is read; larger values than `value_bytes` are left out."""

    value_bytes: int = 1 << 20
    sequence_bytes: int = 64 << 20
    inflated_bytes: int = 64 << 20
    depth: int = 64
    elements: int = 500_000


@dataclass(frozen=True, slots=True)
class Syntax:
    """How elements are encoded: the part of a transfer syntax that matters without pixels."""

    explicit: bool = True
    little: bool = True


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its VR and its value as bytes, or parsed items; None where it was left out."""

    vr: str
    value: bytes | tuple[Elements, ...] | None
    syntax: Syntax


Elements = dict[int, Element]


@dataclass(slots=True)
class Encoded:
    """A data set as read: the elements of the file meta information, and the others.

    header: the same file without its pixel data, which is all of it that a database should keep.
    cut: what is wrong when the data set ends inside an element; the elements before it are whole.
    """

    meta: Elements = field(default_factory=dict)
    elements: Elements = field(default_factory=dict)
    header: bytes = b""
    cut: Malformed | None = None


class _Cut(Malformed):
    """The bytes end inside an element."""


def tag_text(tag: int) -> str:
    """Return a tag as people write it: (0010,0020)."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def read(data: Data, limits: Limits | None = None) -> Encoded:
    """Return the elements of a Part 10 file or bare data set, up to the pixel data.

    Raises Malformed, `at` the tag, when the bytes are not DICOM, and TooMuch when they are nested
    or numerous beyond the limits. Of a file that was cut off the whole elements are returned.
    """
    view = memoryview(data)
    reader = _Reader(view, limits or Limits())
    encoded = Encoded()
    at = 132 if bytes(view[128:132]) == b"DICM" else 0
    if bytes(view[at : at + 2]) == b"\x02\x00":
        encoded.meta, at = reader.elements(at, len(view), Syntax(), stop_after_group=2)
    transfer_syntax = _uid(encoded.meta.get(TRANSFER_SYNTAX_UID))
    if transfer_syntax not in _DEFLATED:
        syntax = reader.syntax_at(at, transfer_syntax)
        encoded.elements, end = reader.elements(at, len(view), syntax)
        encoded.header = bytes(view[:end])
        encoded.cut = reader.cut
        return encoded
    inflated = _inflate(view[at:], reader.limits.inflated_bytes)
    reader = _Reader(memoryview(inflated), reader.limits)
    encoded.elements, end = reader.elements(0, len(inflated), Syntax())
    encoded.header = bytes(view[:at]) + _deflate(inflated[:end])
    encoded.cut = reader.cut
    return encoded


def items(element: Element, limits: Limits | None = None) -> tuple[Elements, ...]:
    """Return the items of a sequence element; () when it is none or was left out."""
    if isinstance(element.value, tuple):
        return element.value
    if not element.value:
        return ()
    reader = _Reader(memoryview(element.value), limits or Limits())
    found, _ = reader.items(0, len(element.value), element.syntax, depth=1, tag=0)
    return found


def _uid(element: Element | None) -> str:
    if element is None or not isinstance(element.value, bytes):
        return ""
    return element.value.decode("ascii", "replace").strip(" \0")


def _inflate(data: Data, limit_bytes: int) -> bytes:
    """Return the inflated data set (PS3.5 A.5), as much as there is of it."""
    try:
        out = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, limit_bytes)
    except zlib.error as exc:
        raise Malformed("the deflated data set cannot be inflated", at="(0002,0010)") from exc
    if len(out) >= limit_bytes:
        raise TooMuch("the deflated data set is larger than allowed", at="(0002,0010)")
    return out


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def _looks_like_vr(two: bytes) -> bool:
    return len(two) == 2 and 65 <= two[0] <= 90 and 65 <= two[1] <= 90


class _Reader:
    """Walks one buffer; counts the elements it has read."""

    def __init__(self, view: memoryview, limits: Limits) -> None:
        self.view = view
        self.limits = limits
        self.cut: Malformed | None = None
        self._count = 0

    def syntax_at(self, at: int, transfer_syntax: str) -> Syntax:
        """Return how the data set at `at` is encoded: by its transfer syntax, else by its look."""
        head = bytes(self.view[at : at + 6])
        if not head:
            return Syntax()
        if transfer_syntax == EXPLICIT_BIG:
            return Syntax(explicit=True, little=False)
        if transfer_syntax in _IMPLICIT:
            return Syntax(explicit=head[4:6].decode("latin-1") in _LONG | _SHORT)
        if transfer_syntax:
            return Syntax(explicit=_looks_like_vr(head[4:6]))
        group = struct.unpack_from("<H", head.ljust(6))[0]
        if _looks_like_vr(head[4:6]):
            return Syntax(explicit=True, little=group < 0x0400)
        if len(head) < 6 or not 0 < group <= 0x0020 or group % 2:
            raise Malformed("not a DICOM data set")
        return Syntax(explicit=False)

    def elements(
        self,
        at: int,
        end: int,
        syntax: Syntax,
        *,
        depth: int = 0,
        stop_after_group: int | None = None,
    ) -> tuple[Elements, int]:
        """Return the elements from `at`, and where the next byte is."""
        found: Elements = {}
        if depth > self.limits.depth:
            raise TooMuch("sequences nested deeper than allowed")
        while at + 8 <= end:
            begin = at
            tag, vr, length, start, actual = self._head(at, end, syntax)
            if tag == _ITEM_END:
                return found, start
            group = tag >> 16
            if (depth == 0 and group >= PIXEL_GROUP) or (
                stop_after_group is not None and group > stop_after_group
            ):
                return found, at
            self._count += 1
            if self._count > self.limits.elements:
                raise TooMuch("more elements than allowed", at=tag_text(tag))
            try:
                value, at = self._value(tag, vr, length, start, end, actual, depth)
            except _Cut as exc:
                if depth:
                    raise
                self.cut = Malformed(str(exc), at=tag_text(tag))
                return found, begin
            found[tag] = Element(vr, value, actual)
        if end - at and depth == 0 and any(self.view[at:end]):
            self.cut = Malformed("the data set ends inside an element")
            return found, at
        return found, end

    def _head(self, at: int, end: int, syntax: Syntax) -> tuple[int, str, int, int, Syntax]:
        """Return tag, VR, length, start of the value, and the syntax of this element."""
        order = "<" if syntax.little else ">"
        group, element = struct.unpack_from(order + "HH", self.view, at)
        tag = group << 16 | element
        if group == 0xFFFE:
            return tag, "", struct.unpack_from(order + "I", self.view, at + 4)[0], at + 8, syntax
        letters = bytes(self.view[at + 4 : at + 6])
        if not syntax.explicit or not _looks_like_vr(letters):
            length = struct.unpack_from(order + "I", self.view, at + 4)[0]
            implicit = Syntax(explicit=False, little=syntax.little)
            return tag, dictionary_vr(tag), length, at + 8, implicit
        vr = letters.decode("ascii")
        short = struct.unpack_from(order + "H", self.view, at + 6)[0]
        if vr in _SHORT or (vr not in _LONG and short):
            return tag, vr, short, at + 8, syntax
        if at + 12 > end:
            raise _Cut("the data set ends inside an element", at=tag_text(tag))
        return tag, vr, struct.unpack_from(order + "I", self.view, at + 8)[0], at + 12, syntax

    def _value(
        self, tag: int, vr: str, length: int, start: int, end: int, syntax: Syntax, depth: int
    ) -> tuple[bytes | tuple[Elements, ...] | None, int]:
        if length == _UNDEFINED:
            if vr == "UN":  # PS3.5 6.2.2: such a value is a sequence in implicit little endian
                syntax = Syntax(explicit=False)
            return self.items(start, end, syntax, depth=depth + 1, tag=tag, delimited=True)
        if length > end - start:
            raise _Cut("the value is shorter than its length says", at=tag_text(tag))
        most = self.limits.sequence_bytes if vr in ("SQ", "UN") else self.limits.value_bytes
        stop = start + length
        return (bytes(self.view[start:stop]) if length <= most else None), stop

    def items(
        self, at: int, end: int, syntax: Syntax, *, depth: int, tag: int, delimited: bool = False
    ) -> tuple[tuple[Elements, ...], int]:
        """Return the items of a sequence that begins at `at`, and where the next byte is.

        A `delimited` one (undefined length) has to end with a Sequence Delimitation Item.
        """
        order = "<HHI" if syntax.little else ">HHI"
        found: list[Elements] = []
        while at + 8 <= end:
            group, element, length = struct.unpack_from(order, self.view, at)
            marker = group << 16 | element
            at += 8
            if marker == _SEQUENCE_END:
                return tuple(found), at
            if marker != _ITEM:
                raise Malformed("a sequence holds something else than items", at=_place(tag))
            if length == _UNDEFINED:
                item, at = self.elements(at, end, syntax, depth=depth)
            elif length > end - at:
                raise _Cut("a sequence item is shorter than its length says", at=_place(tag))
            else:
                item, _ = self.elements(at, at + length, syntax, depth=depth)
                at += length
            found.append(item)
        if delimited:
            raise _Cut("the data set ends inside a sequence", at=_place(tag))
        return tuple(found), end


def _place(tag: int) -> str | None:
    return tag_text(tag) if tag else None


def dictionary_vr(tag: int) -> str:
    """Return the VR of a tag: the dictionary's first choice, "UN" when unknown."""
    if tag & 0xFFFF == 0:
        return "UL"
    if tag >> 16 & 1:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
    try:
        vr: str = dictionary_VR(tag)
    except KeyError:
        return "UN"
    return vr.split(" ", 1)[0]
