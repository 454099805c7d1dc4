"""$closure: R4 conceptmap-operation-closure.html and terminology-service.html#closure.

A client keeps a table of which of its codes stand above which, so that its own database can answer
"below"; the server keeps the codes it was told of. Each call that adds something is a version of
the table; `version` asks for all that came after it, for a client that missed an answer.

The answer is a ConceptMap: each element is a code, its targets (`subsumes`) the codes above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.clock import instant
from app.errors import Invalid, NotFound, TooCostly
from app.store.aside import Statement
from app.terminology.call import Call
from app.terminology.service import Scope
from app.terminology.tables import Tables
from app.terminology.types import Json, System

_MOST = 5000  # codes of one table: each new one is compared with all of its system
_MOST_NAME = 128


@dataclass(frozen=True, slots=True)
class Pair:
    """`target` stands above `code`, or is "" for a code that was told of.

    n: the version of the table that brought it.
    """

    system: str
    code: str
    target: str
    n: int


def closure(tables: Tables, call: Call) -> Json:
    """Return what a call brings to a closure table, as a ConceptMap.

    Raises NotFound for a table that was not begun and for codes that are not known.
    """
    name, since = call.text("name"), call.text("version")
    if not name or len(name) > _MOST_NAME:
        raise Invalid("A closure table needs a name", at="http.name", code="required")
    told = [c for c in call.given.get("concept", ()) if isinstance(c, dict)]
    if told and since is not None:
        raise Invalid("Concepts and a version cannot be given together", at="http.version")
    if not told and since is None:
        _begin(tables, name)
        return _concept_map(tables, (), 0)
    rows = _rows(tables, name)
    newest = max(row.n for row in rows)
    if since is not None:
        if not since.isdecimal() or len(since) > 9:
            raise Invalid("The version has to be one of the table's", at="http.version")
        return _concept_map(tables, [r for r in rows if r.n > int(since) and r.target], newest)
    added = _added(call.scope, rows, told, newest + 1)
    if added:
        _keep(tables, name, added)
        newest += 1
    return _concept_map(tables, [row for row in added if row.target], newest)


def _added(scope: Scope, rows: Sequence[Pair], told: Sequence[Json], n: int) -> list[Pair]:
    """Return the rows that new codes bring: themselves, and how they stand to those known."""
    held: dict[str, list[str]] = {}
    for row in rows:
        if row.system and not row.target:
            held.setdefault(row.system, []).append(row.code)
    added: list[Pair] = []
    for index, coding in enumerate(told):
        url, system, code = _known(scope, coding, f"http.concept[{index}]")
        others = held.setdefault(url, [])
        if code in others:
            continue
        if len(others) >= _MOST:
            raise TooCostly("The closure table holds too many codes")
        added.append(Pair(url, code, "", n))
        for other in others:
            if system.is_a(code, other):
                added.append(Pair(url, code, other, n))
            elif system.is_a(other, code):
                added.append(Pair(url, other, code, n))
        others.append(code)
    return added


def _known(scope: Scope, coding: Json, at: str) -> tuple[str, System, str]:
    url, code = coding.get("system"), coding.get("code")
    if not isinstance(url, str) or not isinstance(code, str):
        raise Invalid("A concept needs a system and a code", at=at, code="required")
    system = scope.system(url, coding.get("version"))
    if system is None:
        raise NotFound("The code system is not known here", at=at)
    concept = system.find(code)
    if concept is None:
        raise NotFound("The code is not known in the code system", at=at)
    return url, system, concept.code


# --- the table -----------------------------------------------------------------------------------


def _begin(tables: Tables, name: str) -> None:
    """Make a table, or empty it."""
    key = (tables.tenant, name)
    tables.write_aside(
        [
            Statement("DELETE FROM closure WHERE tenant=? AND name=?", [key]),
            Statement(
                "INSERT INTO closure (tenant,name,system,code,target,n) VALUES (?,?,'','','',0)",
                [key],
            ),
        ]
    )


def _rows(tables: Tables, name: str) -> Sequence[Pair]:
    found = tables.ask(
        lambda db: db.all(
            "SELECT system,code,target,n FROM closure WHERE tenant=? AND name=?",
            (tables.tenant, name),
        )
    )
    if not found:
        raise NotFound("The closure table was not begun: call $closure with its name alone")
    return [Pair(*row) for row in found]


def _keep(tables: Tables, name: str, added: Iterable[Pair]) -> None:
    tables.write_aside(
        [
            Statement(
                "INSERT INTO closure (tenant,name,system,code,target,n) VALUES (?,?,?,?,?,?)"
                " ON CONFLICT DO NOTHING",
                [(tables.tenant, name, row.system, row.code, row.target, row.n) for row in added],
            )
        ]
    )


def _concept_map(tables: Tables, pairs: Sequence[Pair], version: int) -> Json:
    groups: dict[str, dict[str, list[str]]] = {}
    for pair in pairs:
        groups.setdefault(pair.system, {}).setdefault(pair.code, []).append(pair.target)
    made: Json = {
        "resourceType": "ConceptMap",
        "version": str(version),
        "status": "active",
        "experimental": False,
        "date": instant(tables.clock.now_us()),
    }
    if groups:
        made["group"] = [_group(system, elements) for system, elements in groups.items()]
    return made


def _group(system: str, elements: dict[str, list[str]]) -> Json:
    return {
        "source": system,
        "target": system,
        "element": [
            {"code": code, "target": [{"code": t, "equivalence": "subsumes"} for t in targets]}
            for code, targets in elements.items()
        ],
    }
