"""A code list in CSV as a draft of a stored version.

The first line names the columns:

    code                    required; 代码 and 编码 as well
    display                 名称 as well
    definition
    parent                  the code of a parent; the column may be there several times
    status                  active, inactive, retired, deprecated, or 启用, 停用, 作废, 废止
    effective               a FHIR date
    pinyin                  a spelling, found by text filters like a name
    designation:zh-CN       a name in a language; designation:en and so on
    NAME, property:NAME     any other column is a property; NAME:integer gives its type

UTF-8 with or without byte order mark, UTF-16 with one, or GB18030, whichever the bytes are. Comma,
semicolon or tab. The text is kept as it is written; only white space around a cell goes.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO, Any

from app.errors import Malformed
from app.fhir.primitives import is_date_time
from app.terminology.stored.build import PINYIN, Draft
from app.terminology.stored.rows import Body, Held, Named
from app.terminology.types import Json

_CHUNK = 1 << 20
_LONGEST_CELL = 1 << 20
_OTHER_NAMES = {"代码": "code", "编码": "code", "名称": "display", "上级代码": "parent"}
_DELIMITERS = ",\t;"
_STATES = {
    "启用": "active", "有效": "active", "停用": "inactive", "作废": "retired", "废止": "retired",
}  # fmt: skip
_URI = "http://hl7.org/fhir/concept-properties#"


@dataclass(frozen=True, slots=True)
class Rules:
    """How a list is to be read.

    by_prefix: a concept without a parent is below the longest other code that its own begins with;
    levels: only beginnings of these lengths count; encoding: None for what the bytes are.
    """

    by_prefix: bool = False
    levels: Sequence[int] = ()
    encoding: str | None = None


def draft_of(path: Path, header: Json, rules: Rules) -> tuple[Json, Draft]:
    """Return the header with the list's properties declared, and the concepts.

    Raises Malformed for what is no such list, Invalid with the lines at fault.
    """
    encoding = rules.encoding or _encoding(path)
    with path.open(encoding=encoding, newline="") as file:
        try:
            return _read(file, path.name, header, rules)
        except (UnicodeError, csv.Error) as exc:
            raise Malformed(
                "this is no CSV file in the encoding it seems to have", at=path.name
            ) from exc


def _encoding(path: Path) -> str:
    """Return the encoding of a file: by its byte order mark, else UTF-8 if all of it is that."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        begin = file.read(4)
        for mark, name in _MARKS.items():
            if begin.startswith(mark):
                return name
        chunk = begin
        try:
            while chunk:
                decoder.decode(chunk)
                chunk = file.read(_CHUNK)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "gb18030"
    return "utf-8"


_MARKS: Mapping[bytes, str] = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def _read(file: IO[str], name: str, header: Json, rules: Rules) -> tuple[Json, Draft]:
    lines = _lines(file)
    columns = _Columns.of(next(lines, (0, []))[1], name)
    declared = [*header.get("property", ()), *columns.declarations(header)]
    header = {**header, "property": declared} if declared else header
    draft = Draft(header, lambda line: f"{name}:{line}")
    for line, cells in lines:
        if any(cells):
            columns.add(draft, cells, line)
    if rules.by_prefix:
        _add_prefixes(draft, rules.levels)
    return header, draft


def _lines(file: IO[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the records with the line each begins on."""
    first = file.readline(_LONGEST_CELL)
    file.seek(0)
    delimiter = max(_DELIMITERS, key=first.count)
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    begins = 1
    for cells in reader:
        yield begins, [cell.strip() for cell in cells]
        begins = reader.line_num + 1


@dataclass(slots=True)
class _Columns:
    """What stands in which column."""

    code: int
    display: int | None = None
    definition: int | None = None
    parents: list[int] = field(default_factory=list)
    designations: list[tuple[int, str]] = field(default_factory=list)
    properties: list[tuple[int, str, str]] = field(default_factory=list)  # index, code, type
    count: int = 0

    @classmethod
    def of(cls, names: Sequence[str], file: str) -> _Columns:
        found = cls(-1, count=len(names))
        for index, written in enumerate(names):
            name = _OTHER_NAMES.get(written, written)
            kind, _, rest = name.partition(":")
            match kind.lower():
                case "code":
                    found.code = index
                case "display":
                    found.display = index
                case "definition":
                    found.definition = index
                case "parent":
                    found.parents.append(index)
                case "designation" if rest:
                    found.designations.append((index, rest))
                case "":
                    continue
                case _:
                    found.properties.append((index, *_property(name)))
        if found.code < 0:
            raise Malformed("the first line names no column `code`", at=f"{file}:1")
        unknown = [kind for _, _, kind in found.properties if kind not in _TYPES]
        if unknown:
            raise Malformed(
                f"a property is {', '.join(sorted(_TYPES))}, nothing else", at=f"{file}:1"
            )
        return found

    def declarations(self, header: Json) -> list[Json]:
        """Return CodeSystem.property for the columns that the header does not declare."""
        declared = {one.get("code") for one in header.get("property", ())}
        return [
            {"code": code, "type": kind, **({"uri": _URI + code} if code in _MEANT else {})}
            for code, kind in {code: kind for _, code, kind in self.properties}.items()
            if code not in declared
        ]

    def add(self, draft: Draft, cells: Sequence[str], line: int) -> None:
        if len(cells) > self.count:
            draft.problem("the line has more cells than the first", line, "structure")
            return
        cells = [*cells, *("" for _ in range(self.count - len(cells)))]
        held = []
        for index, code, kind in self.properties:
            if cells[index]:
                cell = cells[index]
                value = _TYPES[kind](_STATES.get(cell, cell) if code == "status" else cell)
                if value is None:
                    draft.problem(f"the value in column {index + 1} is no {kind}", line)
                else:
                    held.append(Held(code, kind, value))
        draft.add(
            cells[self.code],
            Body(
                cells[self.display] or None if self.display is not None else None,
                [cells[index] for index in self.parents if cells[index]],
                held,
                [Named(cells[i], language) for i, language in self.designations if cells[i]],
                cells[self.definition] or None if self.definition is not None else None,
            ),
            line,
        )


_MEANT = frozenset(("status", "inactive", "notSelectable"))
_USUAL = {"status": "code", "effective": "dateTime", "inactive": "boolean", PINYIN: "string"}
_USUAL["notSelectable"] = "boolean"


def _property(name: str) -> tuple[str, str]:
    """Return code and type of the property in a column."""
    name = name.removeprefix("property:")
    code, _, kind = name.partition(":")
    return code, kind or _USUAL.get(code, "string")


def _boolean(text: str) -> bool | None:
    return {"true": True, "1": True, "是": True, "false": False, "0": False, "否": False}.get(
        text.lower()
    )


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _decimal(text: str) -> str | None:
    try:
        return text if Decimal(text).is_finite() else None
    except InvalidOperation:
        return None


def _date(text: str) -> str | None:
    return text if is_date_time(text) else None


_TYPES: Mapping[str, Callable[[str], Any]] = {
    "string": str,
    "code": str,
    "boolean": _boolean,
    "integer": _integer,
    "decimal": _decimal,
    "dateTime": _date,
}


def _add_prefixes(draft: Draft, levels: Sequence[int]) -> None:
    """Put each code without a parent below the longest other code that it begins with."""
    sizes = frozenset(levels)
    for code in draft.codes():
        for size in range(len(code) - 1, 0, -1):
            if (not sizes or size in sizes) and code[:size] in draft:
                draft.add_parent(code, code[:size], only=True)
                break
