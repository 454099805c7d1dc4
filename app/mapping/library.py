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
from decimal import Decimal
from pathlib import Path
from typing import Any

from app import paths
from app.errors import Invalid, NotFound
from app.mapping import conceptmaps, expression
from app.mapping.near import meant
from app.mapping.yamldoc import Block, Items, parse

_SHIPPED = paths.shipped("mappings")
_NAMED = ("maps", "mentions", "fragments")
_KEYS = {
    "mapping", "source", "title", "overlay", "for", "tables", "maps", "mentions", "fragments",
    "constants", "formulas", "rules", "every", "examples", "note",
}  # fmt: skip
_RULE_KEYS = {
    "rule", "extend", "remove", "resource", "each", "when", "key", "same", "set", "mention", "late",
    "note", "every", "before", "memo",
}  # fmt: skip
_PART_KEYS = {
    "maps": {"gives", "set", "memo", "extend", "note"},
    "mentions": {"resource", "key", "set", "display", "$when", "extend", "note"},
}
_TABLE_KEYS = {"system", "from", "rows", "concept-map", "note"}
_YES_OR_NO = ("mention", "late", "every")


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

    @property
    def condition_at(self) -> str:
        """Where the condition stands, or would stand."""
        return f"{self.name}:{self.body.lines.get('for', 1)}"


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
    removed: set[str] = field(default_factory=set)  # rules
    digest: str = ""


@dataclass(slots=True)
class Table:
    """A vocabulary table: source code -> (code, display, system).

    system: what the target codes are in, unless a row says otherwise. origin: the system of the
    source codes, for values that come without one.
    """

    name: str
    system: str | None
    origin: str | None
    rows: dict[str, tuple[str | None, str | None, str | None]]
    places: dict[str, str]  # file:line of each row


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
            raise Invalid(
                f"unknown section `{key}`{meant(key, _KEYS)}", at=f"{name}:{body.lines[key]}"
            )
    return File(name, body, hashlib.sha256(raw).digest())


def read_folder(folder: Path) -> list[File]:
    """Return the mapping files of a folder and its subfolders, in the order of their names.

    They are shown as `hl7v2/base.yaml`, those of a site with the folder around that.
    """
    root = folder.parent if folder.is_relative_to(_SHIPPED) else folder.parent.parent
    return [read_file(path, str(path.relative_to(root))) for path in sorted(folder.rglob("*.yaml"))]


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
        for name, part in _section(file, section).items():
            at = _line(file, section, name)
            _add_part(library, section, name, _block(part, file, f"{section}.{name}", at), file)
    library.constants.update(_section(file, "constants"))
    for name, formula in _section(file, "formulas").items():
        _readable(formula, _line(file, "formulas", name))
        library.formulas[name] = formula
    if "every" in body:
        at = f"{file.name}:{body.lines['every']}"
        library.every = Located("every", _block(body["every"], file, "every", at), file.name)
    for rule, at in _listed(file, "rules"):
        _add_rule(library, _block(rule, file, "a rule", at), file)
    for example, at in _listed(file, "examples"):
        _add_example(library, _block(example, file, "an example", at), file)


def shipped_only(files: Iterable[File]) -> bool:
    """Say whether nothing of a site is among the files: what ships has been checked."""
    return all(f.folder is not None and f.folder.is_relative_to(_SHIPPED) for f in files)


def belonging(files: Iterable[File], feed: str) -> list[File]:
    """Return the files of one feed. Raises Invalid for one that is not said to be for it."""
    found = list(files)
    for file in found:
        kind = "overlay" if file.overlay else "mapping"
        if file.body.get(kind) != feed:
            at = f"{file.name}:{file.body.lines.get(kind, 1)}"
            raise Invalid(f"a file for this feed begins with `overlay: {feed}`", at=at)
    return found


def unconditional(files: Iterable[File]) -> list[File]:
    """Return the files of a feed whose overlays are for all its messages. Raises Invalid."""
    found = list(files)
    for file in found:
        if file.condition is not None:
            text = "`for` limits overlays of hl7v2 only: say `when` in the rules, `$when` elsewhere"
            raise Invalid(text, at=file.condition_at)
    return found


def _add_part(library: Library, section: str, name: str, block: Block, file: File) -> None:
    parts: dict[str, Located] = getattr(library, section)
    known = _PART_KEYS.get(section)
    for key in block:
        if known is not None and key.removesuffix("!") not in known:
            raise Invalid(
                f"unknown key `{key}` of `{section}.{name}`; there are "
                + " ".join(f"`{one}`" for one in sorted(known)),
                at=_at(block, key, file),
            )
    if section == "mentions" and not isinstance(block.get("set") or Block(), Block):
        raise Invalid("`set` is a mapping: `element: formula`", at=_at(block, "set", file))
    if block.get("extend") is True:
        if name not in parts:
            raise Invalid(
                f"there is no `{section}.{name}` to extend{meant(name, parts)}",
                at=_at(block, "extend", file),
            )
        block = _merged(parts[name].body, block, parts[name].file, file.name)
    parts[name] = Located(name, block, file.name)


def _readable(formula: Any, at: str) -> None:
    """Raise Invalid for a named formula that cannot be read, whether it is used or not."""
    try:
        expression.value(str(formula))
    except Invalid as exc:
        raise Invalid(str(exc), at=at) from exc


def _line(file: File, section: str, name: str) -> str:
    return f"{file.name}:{_section(file, section).lines[name]}"


def _listed(file: File, name: str) -> Iterable[tuple[Any, str]]:
    """Yield the items of a section that is a list, each with its place."""
    found = file.body.get(name)
    if found is None:
        return
    if not isinstance(found, Items):
        at = f"{file.name}:{file.body.lines[name]}"
        raise Invalid(f"`{name}` is a list: begin each of its items with `-`", at=at)
    for item, line in zip(found, found.lines, strict=True):
        yield item, f"{file.name}:{line}"


def _section(file: File, name: str) -> Block:
    found = file.body.get(name)
    if found is None:
        return Block()
    if not isinstance(found, Block):
        raise Invalid(f"`{name}` has to be a mapping", at=f"{file.name}:{file.body.lines[name]}")
    return found


def _block(part: Any, file: File, what: str, at: str) -> Block:
    if not isinstance(part, Block):
        raise Invalid(f"{what} has to be a mapping: `name: value` in lines below it", at=at)
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
    block = _block(part, file, f"tables.{name}", _line(file, "tables", name))
    rows = block.get("rows")
    if "rows" not in block and "concept-map" not in block:
        rows, head = block, Block()
    else:
        rows = Block() if rows is None else _block(rows, file, "`rows`", _at(block, "rows", file))
        head = block
        for key in head:
            if key not in _TABLE_KEYS:
                text = f"unknown key `{key}` of a table: its rows stand below `rows`"
                raise Invalid(text, at=_at(head, key, file))
    old = library.tables.get(name)
    table = Table(
        name,
        head.get("system") or (old.system if old else None),
        head.get("from") or (old.origin if old else None),
        dict(old.rows) if old else {},
        dict(old.places) if old else {},
    )
    if "concept-map" in head:
        _add_concept_map(library, table, head, file)
    for code, row in rows.items():
        if row is None and file.overlay:
            table.rows.pop(code, None)
        else:
            table.places[code] = _at(rows, code, file)
            table.rows[code] = _row(row, table.places[code])
    library.tables[name] = table


def _add_concept_map(library: Library, table: Table, head: Block, file: File) -> None:
    """Add the rows of the ConceptMap that a table names; what the file says itself comes after."""
    url = str(head["concept-map"])
    at = _at(head, "concept-map", file)
    found, origin, library.concept_maps[url] = conceptmaps.read(url, file.folder, at)
    table.rows.update(found)
    table.places.update(dict.fromkeys(found, at))
    table.origin = table.origin or origin


def _row(row: Any, at: str) -> tuple[str | None, str | None, str | None]:
    """Return (code, display, system); a code of None says: known, and maps to nothing."""
    if row is None:
        return None, None, None
    if isinstance(row, (str, int, Decimal)):
        return str(row), None, None
    if not isinstance(row, list) or not 1 <= len(row) <= 3 or any(map(_nested, row)):
        raise Invalid("a row is a code or [code, display, system]", at=at)
    parts = [None if part is None else str(part) for part in row] + [None, None]
    return parts[0], parts[1], parts[2]


def _at(block: Block, key: str, file: File) -> str:
    return f"{file.name}:{block.lines[key]}"


def _nested(value: Any) -> bool:
    return isinstance(value, (dict, list))


def _add_rule(library: Library, block: Block, file: File) -> None:
    at = f"{file.name}:{block.line}"
    for key in block:
        if key not in _RULE_KEYS:
            text = f"unknown key `{key}` of a rule{meant(key, _RULE_KEYS)}"
            if "set" in block:
                text += "; elements stand below `set`, farther to the right"
            raise Invalid(text, at=_at(block, key, file))
    names = [block[key] for key in ("rule", "extend", "remove") if key in block]
    if len(names) != 1 or not isinstance(names[0], str):
        raise Invalid("a rule says one of `rule: NAME`, `extend: NAME`, `remove: NAME`", at=at)
    name = names[0]
    _check_options(block, file)
    index = next((i for i, rule in enumerate(library.rules) if rule.name == name), None)
    if "remove" in block or "extend" in block:
        if "remove" in block and name in library.removed:
            return  # another overlay for the same message has done so
        if index is None:
            raise Invalid(_no_rule(library, name), at=at)
        if "remove" in block:
            del library.rules[index]
            library.removed.add(name)
            return
        old = library.rules[index]
        merged = _merged(old.body, block, old.file, file.name)
        library.rules[index] = Located(name, merged, old.file)
    elif index is not None:
        library.rules[index] = Located(name, block, file.name)
    else:
        before = block.get("before")
        place = next((i for i, r in enumerate(library.rules) if r.name == before), None)
        if before is not None and place is None:
            raise Invalid(_no_rule(library, str(before)), at=_at(block, "before", file))
        library.rules.insert(
            len(library.rules) if place is None else place, Located(name, block, file.name)
        )


def _no_rule(library: Library, name: str) -> str:
    return f"there is no rule `{name}`{meant(name, (rule.name for rule in library.rules))}"


def _check_options(block: Block, file: File) -> None:
    """Hold the keys of a rule that take a few words against these words."""
    for key in _YES_OR_NO:
        if key in block and not isinstance(block[key], bool):
            raise Invalid(f"`{key}` is true or false", at=_at(block, key, file))
    if block.get("same", "merge") not in ("merge", "number"):
        raise Invalid("`same` is `merge` or `number`", at=_at(block, "same", file))
    memo = block.get("memo")
    if memo is not None and not isinstance(memo, (bool, list)):
        raise Invalid("`memo` is true, false or a list of fields", at=_at(block, "memo", file))
    if not isinstance(block.get("set") or Block(), Block):
        raise Invalid("`set` is a mapping: `element: formula`", at=_at(block, "set", file))


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
        if value is None:
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
