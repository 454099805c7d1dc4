"""A DICOM data set read by keyword: encoded (Part 10) or as DICOM JSON.

DICOM PS3.6 (data dictionary), PS3.5 6.2 (values), PS3.18 annex F (DICOM JSON model). Both forms
answer the same questions: values by keyword, items of a sequence, private elements by creator.
Values are decoded when they are asked for, so that a thousand elements nobody maps cost nothing.
Deviation: PS3.18 F.2.2 wants "Value" to be an array; a bare value is taken as its only one.
"""

from __future__ import annotations

import json
import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from app.errors import Malformed, TooMuch
from app.feeds.dicom import encoding
from app.feeds.dicom.charset import CharacterSet, character_set, decode
from app.feeds.dicom.encoding import Data, Element, Elements, Limits, tag_text
from app.feeds.dicom.values import PersonName, person_name

DICOMDIR: Final = "1.2.840.10008.1.3.10"

_NUMBERS: Final = {
    "US": "H",
    "SS": "h",
    "UL": "I",
    "SL": "i",
    "UV": "Q",
    "SV": "q",
    "FL": "f",
    "FD": "d",
}
_CHARACTER_SET_VRS: Final = frozenset(["SH", "LO", "ST", "LT", "UC", "UT", "PN"])
_ASCII_VRS: Final = frozenset(["AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"])
_SINGLE_VRS: Final = frozenset(["ST", "LT", "UT", "UR"])  # a backslash is text in these
_JSON_DEPTH: Final = 64
_TAG: Final = re.compile(r"[0-9A-F]{8}")


class DataSet(ABC):
    """A data set or sequence item; `guessed` once a value was read as another set than declared."""

    __slots__ = ("_cache", "_notes")

    def __init__(self, notes: set[str]) -> None:
        self._cache: dict[int, list[Any]] = {}
        self._notes = notes

    @property
    def guessed(self) -> bool:
        return "charset-guessed" in self._notes

    def get(self, keyword: str) -> list[Any]:
        """Return the values of an element by its keyword, [] when absent or empty."""
        tag = tag_for_keyword(keyword)
        return [] if tag is None else self.values(tag)

    def first(self, keyword: str) -> Any:
        """Return the first value, None when there is none."""
        values = self.get(keyword)
        return values[0] if values else None

    def text(self, keyword: str) -> str:
        """Return the first value as text, "" when there is none."""
        value = self.first(keyword)
        return "" if value is None or isinstance(value, DataSet | PersonName) else str(value)

    def items(self, keyword: str) -> list[DataSet]:
        """Return the items of a sequence."""
        return [item for item in self.get(keyword) if isinstance(item, DataSet)]

    def values(self, tag: int) -> list[Any]:
        """Return the values of an element by its tag."""
        found = self._cache.get(tag)
        if found is None:
            found = self._cache[tag] = self._read(tag)
        return found

    def private(self, group: int, creator: str, element: int) -> list[Any]:
        """Return the values of a private element (PS3.5 7.8.1): its block moves, so by creator."""
        for block in range(0x10, 0x100):
            reserved = self.values(group << 16 | block)
            if reserved and str(reserved[0]).strip() == creator:
                return self.values(group << 16 | block << 8 | element)
        return []

    def keywords(self) -> list[str]:
        """Return the keywords of the elements that the dictionary knows."""
        return [keyword for tag in self._tags() if (keyword := keyword_for_tag(tag))]

    @abstractmethod
    def __contains__(self, keyword: object) -> bool: ...

    @abstractmethod
    def _tags(self) -> Iterable[int]: ...

    @abstractmethod
    def _read(self, tag: int) -> list[Any]: ...


class EncodedDataSet(DataSet):
    """A data set whose elements are encoded bytes."""

    __slots__ = ("_charset", "_elements", "_limits", "_pinned")

    def __init__(
        self,
        elements: Elements,
        *,
        charset: CharacterSet,
        pinned: bool,
        limits: Limits,
        notes: set[str],
    ) -> None:
        super().__init__(notes)
        self._elements = elements
        self._limits = limits
        self._pinned = pinned
        declared = elements.get(encoding.SPECIFIC_CHARACTER_SET)
        if not pinned and declared is not None and isinstance(declared.value, bytes):
            charset = character_set(declared.value.decode("latin-1").strip(" \0").split("\\"))
        self._charset = charset

    def __contains__(self, keyword: object) -> bool:
        return tag_for_keyword(str(keyword)) in self._elements

    def _tags(self) -> Iterable[int]:
        return self._elements

    def _read(self, tag: int) -> list[Any]:
        element = self._elements.get(tag)
        if element is None or element.value is None:
            return []
        vr = element.vr
        if vr == "UN":
            vr = encoding.dictionary_vr(tag)
        if vr == "SQ" or isinstance(element.value, tuple):
            return self._items(tag, element)
        raw = element.value
        if vr in _NUMBERS:
            return _numbers(raw, _NUMBERS[vr], little=element.syntax.little)
        if vr in _ASCII_VRS:
            return _words(raw.decode("latin-1"), vr)
        if vr in _CHARACTER_SET_VRS:
            text = decode(raw, self._charset, name=vr == "PN")
            if text.guessed:
                self._notes.add("charset-guessed")
            return _words(text.value, vr)
        return []

    def _items(self, tag: int, element: Element) -> list[DataSet]:
        try:
            found = encoding.items(element, self._limits)
        except Malformed as exc:
            raise Malformed(str(exc), at=exc.at or tag_text(tag)) from exc
        return [
            EncodedDataSet(
                item,
                charset=self._charset,
                pinned=self._pinned,
                limits=self._limits,
                notes=self._notes,
            )
            for item in found
        ]


class JsonDataSet(DataSet):
    """A data set in the DICOM JSON model; its text is Unicode whatever (0008,0005) says."""

    __slots__ = ("_object",)

    def __init__(self, object_: dict[str, Any], notes: set[str]) -> None:
        super().__init__(notes)
        self._object = object_

    def __contains__(self, keyword: object) -> bool:
        tag = tag_for_keyword(str(keyword))
        return tag is not None and f"{tag:08X}" in self._object

    def _tags(self) -> Iterable[int]:
        return (int(key, 16) for key in self._object if _TAG.fullmatch(key))

    def _read(self, tag: int) -> list[Any]:
        attribute = self._object.get(f"{tag:08X}")
        if not isinstance(attribute, dict):
            return []
        vr = str(attribute.get("vr") or encoding.dictionary_vr(tag))
        values = attribute.get("Value", [])
        found = []
        for value in values if isinstance(values, list) else [values]:
            found += self._value(value, vr)
        return found

    def _value(self, value: object, vr: str) -> list[Any]:
        if isinstance(value, dict):
            if vr == "PN":
                name = "=".join(str(value.get(key) or "") for key in _PN_KEYS)
                return _words(name, vr)
            return [JsonDataSet(value, self._notes)]
        if isinstance(value, bool) or value is None:
            return []
        if isinstance(value, int | float | Decimal):
            return [value] if vr not in _ASCII_VRS else _words(str(value), vr)
        return _words(str(value), vr) if isinstance(value, str) else []


_PN_KEYS: Final = ("Alphabetic", "Ideographic", "Phonetic")


def read(data: Data, *, charset: str | None = None, limits: Limits | None = None) -> DataSet:
    """Return the data set of a Part 10 file (or bare data set), without its pixels.

    `charset` pins the character set of a sender that declares the wrong one: values of (0008,0005)
    as it should have sent them, separated by a backslash. Raises Malformed and TooMuch.
    """
    limits = limits or Limits()
    encoded = encoding.read(data, limits)
    return EncodedDataSet(
        {**encoded.elements, **encoded.meta},
        charset=character_set(charset.split("\\") if charset else ()),
        pinned=charset is not None,
        limits=limits,
        notes=set(),
    )


def read_json(data: bytes) -> list[DataSet]:
    """Return the data sets of a DICOM JSON object, or of an array of them. Raises Malformed."""
    try:
        decoded = json.loads(data, parse_float=Decimal)
    except RecursionError as exc:
        raise TooMuch("the JSON is nested deeper than allowed") from exc
    except ValueError as exc:
        raise Malformed("the text is not JSON") from exc
    objects = decoded if isinstance(decoded, list) else [decoded]
    if not all(isinstance(object_, dict) for object_ in objects):
        raise Malformed("DICOM JSON is an object or an array of objects")
    return [JsonDataSet(_upper(object_, _JSON_DEPTH), set()) for object_ in objects]


def is_json(data: bytes) -> bool:
    """Whether the bytes are JSON text and not a DICOM file."""
    return data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")


def _upper(object_: dict[str, Any], depth: int) -> dict[str, Any]:
    """Return the object with tags in upper case: "0020000d" is seen as often as "0020000D"."""
    if depth == 0:
        raise TooMuch("the JSON is nested deeper than allowed")
    return {
        key.upper() if len(key) == 8 else key: _upper_values(value, depth - 1)
        for key, value in object_.items()
    }


def _upper_values(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        return _upper(value, depth)
    if isinstance(value, list):
        return [_upper(one, depth) if isinstance(one, dict) else one for one in value]
    return value


def _numbers(raw: bytes, code: str, *, little: bool) -> list[Any]:
    size = struct.calcsize(code)
    count = len(raw) // size
    return list(struct.unpack_from(f"{'<' if little else '>'}{count}{code}", raw))


def _words(text: str, vr: str) -> list[Any]:
    """Return the values in a text: split (PS3.5 6.4), padding removed, empty ones left out."""
    parts: Sequence[str] = (text,) if vr in _SINGLE_VRS else text.split("\\")
    return [value for part in parts for value in _word(part.strip(" \0\t\r\n"), vr)]


def _word(text: str, vr: str) -> Iterator[Any]:
    if not text:
        return
    if vr == "PN":
        name = person_name(text)
        if name:
            yield name
    elif vr in ("IS", "DS"):
        try:
            number = Decimal(text)
        except InvalidOperation:
            return
        if number.is_finite():
            whole = vr == "IS" and number == number.to_integral_value()
            yield int(number) if whole and abs(number.adjusted()) < 20 else number
    else:
        yield text.replace(" ", "").replace("\0", "") if vr == "UI" else text
