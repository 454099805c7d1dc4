"""A SNOMED CT snapshot release (RF2) as a draft of a stored version.

SNOMED CT Release File Specifications, sections 4 and 5. Read are concepts, descriptions and text
definitions, the inferred relationships, those with concrete values, language reference sets, and
the members of all other reference sets that are concepts. What belongs to one concept is brought
together on disk, so that memory holds little more than the hierarchy.
"""

from __future__ import annotations

import io
import re
import sqlite3
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from app.errors import Invalid, Malformed
from app.terminology.stored.build import Draft
from app.terminology.stored.rows import Body, Held, Named
from app.terminology.types import Json

SNOMED = "http://snomed.info/sct"
IS_A = "116680003"
FULLY_SPECIFIED, SYNONYM, DEFINITION = (
    "900000000000003001",
    "900000000000013009",
    "900000000000550004",
)
PREFERRED = "900000000000548007"
DEFINED = "900000000000073002"
_PREFERRED_USE: Json = {
    "system": "http://terminology.hl7.org/CodeSystem/hl7TermMaintInfra",
    "code": "preferredForLanguage",
    "display": "Preferred For Language",
}
_USES: Mapping[str, Json] = {
    FULLY_SPECIFIED: {
        "system": SNOMED, "code": FULLY_SPECIFIED, "display": "Fully specified name"
    },
    SYNONYM: {"system": SNOMED, "code": SYNONYM, "display": "Synonym"},
    DEFINITION: {"system": SNOMED, "code": DEFINITION, "display": "Definition"},
}  # fmt: skip
_TAG = re.compile(r"\s*\([^()]*\)$")
# Reference sets about the release itself, whose members nobody selects by.
_NO_MEMBERS = ("owlexpression", "refsetdescriptor", "mrcm", "descriptiontype")
_CONCEPT_PARTITIONS = ("00", "10")

# What each kind of file is called: RF2 5.1 (x: not for production).
_NAME = re.compile(
    r"x?(?:sct2|der2)_(?:[cis]*(?=Refset_))?(?P<content>[A-Za-z]+)_(?P<summary>\w*?)"
    r"Snapshot(?:-[\w-]+)?_\w+_(?P<date>\d{8})\.txt$"
)

# Columns of the files, without the first four that all have (id, effectiveTime, active, moduleId).
_COLUMNS: Mapping[str, Sequence[str]] = {
    "concept": ("definitionStatusId",),
    "description": ("conceptId", "languageCode", "typeId", "term", "caseSignificanceId"),
    "relationship": (
        "sourceId", "destinationId", "relationshipGroup", "typeId", "characteristicTypeId",
    ),
    "values": ("sourceId", "value", "relationshipGroup", "typeId", "characteristicTypeId"),
    "refset": ("refsetId", "referencedComponentId"),
}  # fmt: skip
_ALL = ("id", "effectiveTime", "active", "moduleId")

_SPOOL = """
CREATE TABLE concept (id INTEGER PRIMARY KEY, active INT, module TEXT, time TEXT, defined INT);
CREATE TABLE description
  (id INTEGER PRIMARY KEY, concept INT, active INT, language TEXT, type TEXT, term TEXT);
CREATE TABLE relation (source INT, grp INT, type TEXT, kind TEXT, value TEXT);
CREATE TABLE parent (child INT, parent TEXT);
CREATE TABLE preferred (description INT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE member (refset TEXT, concept TEXT);
"""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a release, and how it is opened."""

    content: str
    summary: str
    date: str
    name: str
    open: Callable[[], IO[bytes]]


@contextmanager
def release(path: Path) -> Iterator[Sequence[File]]:
    """Give the snapshot files of a folder or a zip archive; none when it is no release."""
    if path.is_dir():
        yield [
            _file(match, member.name, partial(io.FileIO, member))
            for member in sorted(path.rglob("*.txt"))
            if (match := _NAME.search(member.name))
        ]
        return
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as exc:
        raise Malformed("the archive cannot be read", at=path.name) from exc
    with archive:
        yield [
            _file(match, match.group(), partial(archive.open, name))
            for name in sorted(archive.namelist())
            if (match := _NAME.search(name))
        ]


def _file(match: re.Match[str], name: str, opened: Callable[[], IO[bytes]]) -> File:
    return File(
        match["content"].lower(),
        match["summary"].lower(),
        match["date"],
        name,
        opened,
    )


def is_release(files: Sequence[File]) -> bool:
    """Whether there is a snapshot of concepts among the files."""
    return any(file.content == "concept" for file in files)


def draft_of(files: Sequence[File], *, edition: str | None = None) -> tuple[Json, Draft]:
    """Return header and concepts of a release.

    edition: the module that stands for it in the version; else the one that depends on all others.
    Raises Malformed with file and line of what is no RF2.
    """
    with (
        tempfile.TemporaryDirectory(prefix="yilian-rf2-") as folder,
        closing(sqlite3.connect(f"{folder}/spool")) as spool,
    ):
        spool.execute("PRAGMA synchronous=OFF")
        spool.execute("PRAGMA journal_mode=OFF")
        spool.executescript(_SPOOL)
        modules = _fill(spool, files)
        header = _header(files, edition or _edition(spool, modules))
        return header, _draft(spool, header)


# --- from the files to the disk --------------------------------------------------------------


def _fill(spool: sqlite3.Connection, files: Sequence[File]) -> Sequence[tuple[str, str]]:
    """Write what matters to the spool; return which module depends on which."""
    modules: list[tuple[str, str]] = []
    for file in files:
        match file.content, file.summary:
            case "concept", "":
                _into(spool, "concept", 5, _concepts(file))
            case "description" | "textdefinition", "":
                _into(spool, "description", 6, _descriptions(file))
            case "relationship", "":
                _relationships(spool, file)
            case "relationshipconcretevalues", "":
                _into(spool, "relation", 5, _concrete(file))
            case "refset", "language":
                _into(spool, "preferred", 1, _preferred(file))
            case "refset", "moduledependency":
                modules += [(row[3], row[5]) for row in _lines(file, "refset") if row[2] == "1"]
            case "refset", summary if not summary.startswith(_NO_MEMBERS):
                _into(spool, "member", 2, _members(file))
    spool.executescript(
        "CREATE INDEX description_concept ON description (concept, id);"
        "CREATE INDEX relation_source ON relation (source, grp, type, value);"
        "CREATE INDEX parent_child ON parent (child, parent);"
        "CREATE INDEX member_refset ON member (refset, concept);"
    )
    return modules


def _into(
    spool: sqlite3.Connection, table: str, width: int, rows: Iterator[tuple[object, ...]]
) -> None:
    marks = ",".join("?" * width)
    spool.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608 - names of _SPOOL


def _lines(file: File, kind: str, more: int = 0) -> Iterator[list[str]]:
    """Yield the lines of a file as its cells. Raises Malformed for what is no such file."""
    wanted = [*_ALL, *_COLUMNS[kind]]
    with file.open() as raw:
        text = io.TextIOWrapper(raw, "utf-8-sig", newline="\n")
        number = 1
        try:
            names = text.readline().rstrip("\r\n").split("\t")
            if names[: len(wanted)] != wanted:
                raise Malformed("the columns are not those of RF2", at=f"{file.name}:1")
            for number, line in enumerate(text, 2):
                cells = line.rstrip("\r\n").split("\t")
                if len(cells) < len(wanted) + more:
                    raise Malformed("the line has too few columns", at=f"{file.name}:{number}")
                yield cells
        except UnicodeDecodeError as exc:
            raise Malformed("the text is not UTF-8", at=f"{file.name}:{number + 1}") from exc


def _number(text: str, file: File) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Malformed("an identifier is not a number of up to 18 digits", at=file.name)
    return int(text)


def _concepts(file: File) -> Iterator[tuple[object, ...]]:
    for id_, time, active, module, status, *_ in _lines(file, "concept"):
        yield _number(id_, file), active == "1", module, time, status == DEFINED


def _descriptions(file: File) -> Iterator[tuple[object, ...]]:
    for id_, _, active, _, concept, language, type_, term, *_ in _lines(file, "description"):
        yield _number(id_, file), _number(concept, file), active == "1", language, type_, term


def _relationships(spool: sqlite3.Connection, file: File) -> None:
    parents: list[tuple[int, str]] = []

    def attributes() -> Iterator[tuple[object, ...]]:
        for _, _, active, _, source, target, group, type_, *_ in _lines(file, "relationship"):
            if active != "1":
                continue
            if type_ == IS_A:
                parents.append((_number(source, file), target))
            else:
                yield _number(source, file), _number(group, file), type_, "code", target

    _into(spool, "relation", 5, attributes())
    _into(spool, "parent", 2, iter(parents))


def _concrete(file: File) -> Iterator[tuple[object, ...]]:
    for _, _, active, _, source, value, group, type_, *_ in _lines(file, "values"):
        if active != "1":
            continue
        if value.startswith("#"):
            kind = "decimal" if "." in value else "integer"
            yield _number(source, file), _number(group, file), type_, kind, value[1:]
        else:
            text = value.strip('"')
            kind = "boolean" if value in ("true", "false") else "string"
            yield _number(source, file), _number(group, file), type_, kind, text


def _preferred(file: File) -> Iterator[tuple[object, ...]]:
    for row in _lines(file, "refset", 1):
        if row[2] == "1" and row[6] == PREFERRED:
            yield (_number(row[5], file),)


def _members(file: File) -> Iterator[tuple[object, ...]]:
    for row in _lines(file, "refset"):
        if row[2] == "1" and row[5][-3:-1] in _CONCEPT_PARTITIONS:
            yield row[4], row[5]


# --- from the disk to the draft ----------------------------------------------------------------


def _header(files: Sequence[File], module: str) -> Json:
    date = max(file.date for file in files if file.content == "concept")
    return {
        "resourceType": "CodeSystem",
        "url": SNOMED,
        "version": f"{SNOMED}/{module}/version/{date}",
        "name": "SNOMED_CT",
        "title": "SNOMED CT",
        "status": "active",
        "experimental": False,
        "date": f"{date[:4]}-{date[4:6]}-{date[6:]}",
        "caseSensitive": True,
        "hierarchyMeaning": "is-a",
        "compositional": True,
        "versionNeeded": False,
        "content": "complete",
        "property": [
            {
                "code": "inactive",
                "uri": "http://hl7.org/fhir/concept-properties#inactive",
                "type": "boolean",
            },
            {"code": "sufficientlyDefined", "type": "boolean"},
            {"code": "moduleId", "type": "code"},
            {"code": "effectiveTime", "type": "string"},
        ],
    }


def _edition(spool: sqlite3.Connection, dependencies: Sequence[tuple[str, str]]) -> str:
    """Return the module that depends on others and on which none depends."""
    counts = Counter(dict(spool.execute("SELECT module, count(*) FROM concept GROUP BY module")))
    if not counts:
        raise Invalid("the release has no concepts")
    needed = {target for source, target in dependencies if source != target}
    tops = [module for module, _ in dependencies if module not in needed]
    return max(tops or counts, key=lambda module: (counts[module], module))


def _draft(spool: sqlite3.Connection, header: Json) -> Draft:
    draft = Draft(header)
    uses = {type_: draft.use(use) for type_, use in _USES.items()}
    uses["preferred"] = draft.use(_PREFERRED_USE)
    for id_, active, module, time, defined in spool.execute(
        "SELECT id,active,module,time,defined FROM concept ORDER BY id"
    ):
        held = [Held("inactive", "boolean", not active)]
        held.append(Held("sufficientlyDefined", "boolean", bool(defined)))
        held += [Held("moduleId", "code", module), Held("effectiveTime", "string", time)]
        held += _relations(spool, id_)
        display, names, definition = _names(spool, id_, uses)
        parents = [
            parent
            for (parent,) in spool.execute(
                "SELECT DISTINCT parent FROM parent WHERE child=? ORDER BY parent", (id_,)
            )
        ]
        draft.add(str(id_), Body(display, parents, held, names, definition), id_)
    for (reference_set,) in spool.execute("SELECT DISTINCT refset FROM member").fetchall():
        rows = spool.execute("SELECT DISTINCT concept FROM member WHERE refset=?", (reference_set,))
        draft.add_members(reference_set, [concept for (concept,) in rows])
    return draft


def _relations(spool: sqlite3.Connection, id_: int) -> Iterator[Held]:
    for group, type_, kind, value in spool.execute(
        "SELECT grp,type,kind,value FROM relation WHERE source=? ORDER BY grp,type,value", (id_,)
    ):
        yield Held(type_, kind, value == "true" if kind == "boolean" else value, group)


def _names(
    spool: sqlite3.Connection, id_: int, uses: Mapping[str, int]
) -> tuple[str | None, list[Named], str | None]:
    """Return display, designations and definition: preferred ones first, retired ones last."""
    found = spool.execute(
        "SELECT d.active,d.language,d.type,d.term,p.description IS NOT NULL FROM description d"
        " LEFT JOIN preferred p ON p.description=d.id WHERE d.concept=?"
        " ORDER BY d.active DESC,d.type=?,p.description IS NULL,d.language<>'en',d.id",
        (id_, FULLY_SPECIFIED),
    ).fetchall()
    named: list[Named] = []
    synonyms: list[str] = []
    full: list[str] = []
    definition = None
    for active, language, type_, term, preferred in found:
        if type_ == DEFINITION:
            definition = term if active and definition is None else definition
            continue
        is_preferred = preferred and type_ == SYNONYM
        use = uses["preferred"] if is_preferred else uses.get(type_, -1)
        named.append(Named(term, language, use, [], not active))
        if active:
            (full if type_ == FULLY_SPECIFIED else synonyms).append(term)
    plain = [_TAG.sub("", name) for name in full]
    return next(iter([*synonyms, *plain]), None), named, definition
