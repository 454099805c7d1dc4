"""Mapping files of one feed put together, overlays on top.

A file holds sections, all optional: `tables`, `maps`, `mentions`, `fragments` (by name), `rules` (a
list), `every`, `constants`, `formulas` (named pieces of formulas), `examples`. An overlay is a file
that begins with `overlay: NAME`; it may say `for:` with a condition on the message.

Merge rules, in the order the files are given:

- tables: row by row; a row set to `~` is removed. `concept-map: URL` gives the rows of a ConceptMap
  (`conceptmaps.py`), which the rows of the file replace.
- maps, mentions, fragments, formulas, constants: by name; the later one replaces. Of the first
  three, one that says `extend: true` changes its namesake as the next line says.
- rules: by name. `extend: NAME` changes a rule: in `set`, objects merge, arrays are appended to, an
  element given as `~` is removed, `name!:` replaces instead of merging; `when`, `key` ... replace.
  `remove: NAME` takes a rule away. Any other rule is added at the end (`before: NAME` puts it
  elsewhere), or replaces its namesake.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.errors import Invalid, NotFound
from app.mapping import conceptmaps
from app.mapping.yamldoc import Block, Items, parse

_NAMED = ("maps", "mentions", "fragments")
_KEYS = {
    "mapping", "source", "title", "overlay", "for", "tables", "maps", "mentions", "fragments",
    "constants", "formulas", "rules", "every", "examples", "note",
}  # fmt: skip
_RULE_KEYS = {
    "rule", "extend", "remove", "resource", "each", "when", "key", "same", "set", "mention", "late",
    "note", "every", "before", "memo",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Located:
    """A named part of a mapping and the file it came from."""

    name: str
    body: Block
    file: str

    @property
    def at(self) -> str:
        return f"{self.file}:{self.body.line}"


@dataclass(frozen=True, slots=True)
class Example:
    """A worked example: the input as the feed writes it, and what has to come out."""

    file: str
    line: int
    title: str
    input: Any
    expect: Block
    options: Block | None


@dataclass(frozen=True, slots=True)
class File:
    """One parsed file. folder: where it lies, None for one that is no file."""

    name: str
    body: Block
    digest: bytes
    folder: Path | None = None

    @property
    def overlay(self) -> bool:
        return "overlay" in self.body

    @property
    def condition(self) -> str | None:
        found = self.body.get("for")
        return None if found is None else str(found)


@dataclass(slots=True)
class Library:
    """The merged parts of one mapping."""

    name: str
    tables: dict[str, Table] = field(default_factory=dict)
    maps: dict[str, Located] = field(default_factory=dict)
    mentions: dict[str, Located] = field(default_factory=dict)
    fragments: dict[str, Located] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    formulas: dict[str, str] = field(default_factory=dict)
    rules: list[Located] = field(default_factory=list)
    every: Located | None = None
    examples: list[Example] = field(default_factory=list)
    files: tuple[str, ...] = ()
    concept_maps: dict[str, bytes] = field(default_factory=dict)
    digest: str = ""


@dataclass(slots=True)
class Table:
    """A vocabulary table: source code -> (code, display, system).

    system: what the target codes are in, unless a row says otherwise. origin: the system of the
    source codes, for values that come without one.
    """

    name: str
    file: str
    line: int
    system: str | None
    origin: str | None
    rows: dict[str, tuple[str | None, str | None, str | None]]
    lines: dict[str, int]


def read_file(path: Path, shown: str | None = None) -> File:
    """Return one mapping file parsed. Raises NotFound, Malformed or Invalid."""
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise NotFound("the mapping file cannot be read", at=str(path)) from exc
    return replace(parse_file(raw, shown or str(path)), folder=path.parent)


def parse_file(raw: bytes, name: str) -> File:
    """Return the file in `raw`; `name` stands in messages."""
    try:
        body = parse(raw.decode("utf-8"), name)
    except UnicodeDecodeError as exc:
        raise Invalid("a mapping file has to be UTF-8", at=f"{name}:1") from exc
    if not isinstance(body, Block):
        raise Invalid("a mapping file is a YAML mapping", at=f"{name}:1")
    for key in body:
        if key not in _KEYS:
            raise Invalid(f"unknown section `{key}`", at=f"{name}:{body.lines[key]}")
    return File(name, body, hashlib.sha256(raw).digest())


def read_folder(folder: Path) -> list[File]:
    """Return the mapping files of a folder and its subfolders, in the order of their names."""
    return [
        read_file(path, str(path.relative_to(folder.parent)))
        for path in sorted(folder.rglob("*.yaml"))
    ]


def merge(name: str, files: Iterable[File]) -> Library:
    """Return the files as one library; base files first, then overlays, each in order."""
    library = Library(name)
    given = list(files)
    ordered = [f for f in given if not f.overlay] + [f for f in given if f.overlay]
    sum_ = hashlib.sha256()
    for file in ordered:
        sum_.update(file.digest)
        _add(library, file)
    library.files = tuple(file.name for file in ordered)
    for raw in library.concept_maps.values():
        sum_.update(hashlib.sha256(raw).digest())
    library.digest = sum_.hexdigest()
    return library


def _add(library: Library, file: File) -> None:
    body = file.body
    for name, table in _section(file, "tables").items():
        _add_table(library, name, table, file)
    for section in _NAMED:
        parts: dict[str, Located] = getattr(library, section)
        for name, part in _section(file, section).items():
            block = _block(part, file, f"{section}.{name}")
            if block.get("extend") is True and name in parts:
                block = _merged(parts[name].body, block, parts[name].file, file.name)
            parts[name] = Located(name, block, file.name)
    library.constants.update(_section(file, "constants"))
    library.formulas.update(_section(file, "formulas"))
    if "every" in body:
        library.every = Located("every", _block(body["every"], file, "every"), file.name)
    for rule in body.get("rules") or ():
        _add_rule(library, _block(rule, file, "rules"), file)
    for example in body.get("examples") or ():
        _add_example(library, _block(example, file, "examples"), file)


def _section(file: File, name: str) -> Block:
    found = file.body.get(name)
    if found is None:
        return Block()
    if not isinstance(found, Block):
        raise Invalid(f"`{name}` has to be a mapping", at=f"{file.name}:{file.body.lines[name]}")
    return found


def _block(part: Any, file: File, what: str) -> Block:
    if not isinstance(part, Block):
        raise Invalid(f"`{what}` has to be a mapping", at=f"{file.name}:1")
    for block in _blocks(part):
        block.file = file.name
    return part


def _blocks(value: Any) -> Iterable[Block]:
    if isinstance(value, Block):
        yield value
        for inner in value.values():
            yield from _blocks(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _blocks(inner)


def _add_table(library: Library, name: str, part: Any, file: File) -> None:
    block = _block(part, file, f"tables.{name}")
    rows = block.get("rows")
    if rows is None and "concept-map" not in block:
        rows, head = block, Block()
    else:
        rows, head = rows or Block(), block
    old = library.tables.get(name)
    table = Table(
        name,
        file.name,
        block.line,
        head.get("system") or (old.system if old else None),
        head.get("from") or (old.origin if old else None),
        dict(old.rows) if old else {},
        dict(old.lines) if old else {},
    )
    if "concept-map" in head:
        _add_concept_map(library, table, head, file)
    for code, row in rows.items():
        if row is None and file.overlay:
            table.rows.pop(code, None)
        else:
            table.rows[code] = _row(row, f"{file.name}:{rows.lines[code]}")
            table.lines[code] = rows.lines[code]
    library.tables[name] = table


def _add_concept_map(library: Library, table: Table, head: Block, file: File) -> None:
    """Add the rows of the ConceptMap that a table names; what the file says itself comes after."""
    url = str(head["concept-map"])
    at = f"{file.name}:{head.lines['concept-map']}"
    found, origin, library.concept_maps[url] = conceptmaps.read(url, file.folder, at)
    table.rows.update(found)
    table.lines.update(dict.fromkeys(found, head.lines["concept-map"]))
    table.origin = table.origin or origin


def _row(row: Any, at: str) -> tuple[str | None, str | None, str | None]:
    """Return (code, display, system); a code of None says: known, and maps to nothing."""
    if row is None:
        return None, None, None
    if not isinstance(row, list):
        return str(row), None, None
    if not 1 <= len(row) <= 3:
        raise Invalid("a row is a code or [code, display, system]", at=at)
    parts = [None if part is None else str(part) for part in row] + [None, None]
    return parts[0], parts[1], parts[2]


def _add_rule(library: Library, block: Block, file: File) -> None:
    at = f"{file.name}:{block.line}"
    for key in block:
        if key not in _RULE_KEYS:
            raise Invalid(f"unknown key `{key}` of a rule", at=f"{file.name}:{block.lines[key]}")
    name = block.get("extend") or block.get("remove") or block.get("rule")
    if not isinstance(name, str):
        raise Invalid("a rule needs a name: `rule: NAME`", at=at)
    index = next((i for i, rule in enumerate(library.rules) if rule.name == name), None)
    if "remove" in block or "extend" in block:
        if index is None:
            raise Invalid(f"there is no rule `{name}`", at=at)
        if "remove" in block:
            del library.rules[index]
            return
        old = library.rules[index]
        merged = _merged(old.body, block, old.file, file.name)
        library.rules[index] = Located(name, merged, old.file)
    elif index is not None:
        library.rules[index] = Located(name, block, file.name)
    else:
        before = block.get("before")
        place = next((i for i, r in enumerate(library.rules) if r.name == before), None)
        library.rules.insert(
            len(library.rules) if place is None else place, Located(name, block, file.name)
        )


def _merged(old: Block, new: Block, old_file: str, new_file: str) -> Block:
    """Return `old` changed by `new`, each key with the line (and file) it came from."""
    out = Block(old)
    out.line = old.line
    out.lines = dict(old.lines)
    out.file = old.file or old_file
    out.files = dict(old.files)
    for key, value in new.items():
        if key == "extend":
            continue
        replace = key.endswith("!")
        name = key.removesuffix("!")
        have = out.get(name)
        if value is None and not replace:
            out.pop(name, None)
            continue
        if replace or have is None:
            out[name] = value
        elif isinstance(have, Block) and isinstance(value, Block):
            out[name] = _merged(have, value, old_file, new_file)
        elif isinstance(have, list) and isinstance(value, list):
            out[name] = _appended(have, value, old_file, new_file)
        else:
            out[name] = value
        out.lines[name] = new.lines[key]
        out.files[name] = new_file
    return out


def _appended(old: Any, new: Any, old_file: str, new_file: str) -> Items:
    items = Items([*old, *new])
    items.line = old.line
    items.lines = [*old.lines, *new.lines]
    items.files = [*(old.files or [old_file] * len(old)), *([new_file] * len(new))]
    return items


def _add_example(library: Library, block: Block, file: File) -> None:
    at = f"{file.name}:{block.line}"
    if "input" not in block or not isinstance(block.get("expect"), Block):
        raise Invalid("an example needs `input` and `expect`", at=at)
    library.examples.append(
        Example(
            file.name,
            block.line,
            str(block.get("title") or f"line {block.line}"),
            block["input"],
            block["expect"],
            block.get("options"),
        )
    )


def place(block: Any, key: str | int | None, file: str) -> str:
    """Return file:line of a key of a block, or of an item of a list."""
    if isinstance(block, Block):
        line = block.lines.get(key, block.line) if isinstance(key, str) else block.line
        return f"{block.files.get(str(key)) or block.file or file}:{line}"
    if isinstance(block, Items) and isinstance(key, int):
        return f"{block.files[key] if block.files else file}:{block.lines[key]}"
    return file


def examples_text(example: Example) -> str:
    """Return the input of an example as one text (a list is one segment or line an item)."""
    given = example.input
    return "\r".join(str(line) for line in given) if isinstance(given, list) else str(given)
