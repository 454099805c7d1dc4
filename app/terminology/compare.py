"""ValueSet/$compare: how the codes of two value sets stand to each other.

A candidate operation of the terminology ecosystem guide. Where the definitions alone say it (the
same includes, enumerations, branches of one hierarchy) nothing is expanded; else both sets are, as
far as the limit of expansions goes.

    same  superset  subset  overlapping  disjoint  empty  cannot-determine
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from app.errors import Invalid, YilianError
from app.terminology.call import Call
from app.terminology.expand import LIMIT
from app.terminology.expansion import Expansion
from app.terminology.types import Filter, Json
from app.terminology.value_set import Compose, Include, read
from app.terminology.view import View

Codes = Mapping[tuple[str, str], None]  # system, code; in the order of the value set

SAME, SUPERSET, SUBSET = "same", "superset", "subset"
OVERLAPPING, DISJOINT, EMPTY, UNKNOWN = "overlapping", "disjoint", "empty", "cannot-determine"

_SAID = {
    SAME: "The value sets {this} and {other} contain the same codes",
    EMPTY: "The value sets {this} and {other} contain no codes",
    SUPERSET: "The valueSet {this} is a super-set of the valueSet {other}",
    SUBSET: "The valueSet {this} is a sub-set of the valueSet {other}",
    OVERLAPPING: "Both value sets {this} and {other} contain the codes the other doesn't,"
    " but there is some overlap",
    DISJOINT: "No shared codes between the value sets {this} and {other}",
    UNKNOWN: "How the value sets {this} and {other} stand to each other cannot be determined",
}


@dataclass(frozen=True, slots=True)
class Compared:
    """What is known of two sets: how they stand, and the codes where codes were compared."""

    result: str
    common: Sequence[str] = ()
    missing: Sequence[str] = ()  # of this, not of the other
    extra: Sequence[str] = ()  # of the other, not of this
    expanded: bool = False
    alone: bool = False  # of a system that only one of the two has


def compare(call: Call) -> Json:
    """Carry out $compare. Raises Invalid without two value sets, Refused for an unknown one."""
    view = View(call)
    this, other = _value_set(call, view, "this"), _value_set(call, view, "other")
    compared = _by_definition(view, this, other) or _by_codes(view, this, other)
    names = {"this": this.canonical, "other": other.canonical}
    parameters: list[Json] = [
        {"name": "result", "valueCode": compared.result},
        {"name": "message", "valueString": _SAID[compared.result].format(**names)},
        {"name": "performed-expansion", "valueBoolean": compared.expanded},
    ]
    if call.flag("diagnostics"):
        for name in ("common", "missing", "extra"):
            codes = getattr(compared, name)
            if codes:
                parameters.append({"name": f"{name}-codes", "valueString": ",".join(codes)})
    return {"resourceType": "Parameters", "parameter": parameters}


def _value_set(call: Call, view: View, which: str) -> Compose:
    inline = call.object(f"{which}ValueSet")
    if inline is not None:
        return read(inline)
    url = call.text(f"{which}Url")
    if url is None:
        raise Invalid("Two value sets are needed", at=f"http.{which}Url", code="required")
    return view.value_set(url, call.text(f"{which}Version"))


# --- by what the definitions say -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    """What a value set takes of one system, when it is all, some listed codes, or one filter."""

    listed: Codes | None  # None: by `filters`; all codes without one
    filters: frozenset[Filter] = frozenset()

    @property
    def whole(self) -> bool:
        return self.listed is None and not self.filters


def _by_definition(view: View, this: Compose, other: Compose) -> Compared | None:
    """Return what can be said without expanding, None when that is nothing."""
    if this.active_only != other.active_only:
        return None
    mine, theirs = _parts(this), _parts(other)
    if mine is None or theirs is None or not _by_the_same_versions(mine, theirs):
        return Compared(SAME) if _shape(this) == _shape(other) else None
    found = [
        _of_system(view, system, mine.get(system), theirs.get(system))
        for system in dict.fromkeys([*mine, *theirs])
    ]
    known = [one for one in found if one is not None]
    return _together(known) if len(known) == len(found) else None


_Parts = Mapping[tuple[str, str | None], _Part]


def _parts(compose: Compose) -> _Parts | None:
    """Return (system, version) -> what is taken of it; None for what is not as plain as that."""
    if compose.excludes:
        return None
    parts: dict[tuple[str, str | None], _Part] = {}
    listed: dict[tuple[str, str | None], dict[tuple[str, str], None]] = {}
    for part in compose.includes:
        if part.system is None or part.imports:
            return None
        key = (part.system, part.version)
        made = _part(part, listed.setdefault(key, {}))
        held = parts.get(key)
        if held is not None and held != made:
            return None  # taken in several ways, which only an expansion adds up
        parts[key] = made
    # Two versions of one system: their codes meet, so their parts cannot be told apart.
    return parts if len({system for system, _ in parts}) == len(parts) else None


def _by_the_same_versions(mine: _Parts, theirs: _Parts) -> bool:
    """Say whether no system is taken in one version here and in another one there."""
    versions = dict(mine.keys())
    return all(versions.get(system, version) == version for system, version in theirs)


def _shape(compose: Compose) -> tuple[frozenset[object], frozenset[object]]:
    """Return what a definition says, whatever the order in which it says it."""
    includes, excludes = (
        frozenset(
            (
                part.system,
                part.version,
                None if part.concepts is None else frozenset(part.concepts),
                frozenset(part.filters),
                frozenset(part.imports),
            )
            for part in parts
        )
        for parts in (compose.includes, compose.excludes)
    )
    return includes, excludes


def _part(part: Include, listed: dict[tuple[str, str], None]) -> _Part:
    if part.concepts is None:
        return _Part(None, frozenset(part.filters))
    listed.update(((part.system or "", code), None) for code in part.concepts)
    return _Part(listed, frozenset(part.filters))


def _of_system(
    view: View, key: tuple[str, str | None], mine: _Part | None, theirs: _Part | None
) -> Compared | None:
    """Return how the parts of one system stand, None when only an expansion can say."""
    if mine is None or theirs is None:
        return _alone(mine, theirs)
    if mine.listed is not None and theirs.listed is not None:
        if mine.filters != theirs.filters:
            return None
        # In the order of their names: the two definitions may each have an order of its own.
        return _codes(dict.fromkeys(sorted(mine.listed)), dict.fromkeys(sorted(theirs.listed)))
    if mine == theirs:
        return Compared(SAME)
    if mine.listed is None and theirs.listed is None:
        return _branches(view, key, mine.filters, theirs.filters)
    return None


def _alone(mine: _Part | None, theirs: _Part | None) -> Compared:
    """Return what a system says that only one of the two has; no include is taken to be empty."""
    if mine is not None:
        return Compared(SUPERSET, missing=_listed(mine), alone=True)
    return Compared(SUBSET, extra=_listed(theirs), alone=True)


def _listed(part: _Part | None) -> Sequence[str]:
    return [code for _, code in part.listed] if part and part.listed else ()


def _branches(
    view: View,
    key: tuple[str, str | None],
    mine: frozenset[Filter],
    theirs: frozenset[Filter],
) -> Compared | None:
    """Return how two branches of one hierarchy stand: `is-a` each. Several parents need care."""
    one, other = _head(mine), _head(theirs)
    known = view.known(*key)
    if known is None or one is None or other is None:
        return None
    if known.system.is_a(other, one):
        return Compared(SUPERSET)
    if known.system.is_a(one, other):
        return Compared(SUBSET)
    below = list(islice(_below(view, key, one), LIMIT))
    if len(below) < LIMIT and not any(known.system.is_a(code, other) for code in below):
        return Compared(DISJOINT)
    return None


def _head(filters: frozenset[Filter]) -> str | None:
    """Return the code that a single is-a filter names."""
    if len(filters) != 1:
        return None
    (only,) = filters
    return only.value if only.property in ("concept", "code") and only.op == "is-a" else None


def _below(view: View, key: tuple[str, str | None], head: str) -> Iterator[str]:
    known = view.known(*key)
    todo = [head] if known is not None else []
    seen = set(todo)
    while todo and known is not None:
        code = todo.pop()
        yield code
        new = [c for c in known.system.children(code) if c not in seen]
        seen.update(new)
        todo += new


def _together(found: Sequence[Compared]) -> Compared | None:
    """Return what several systems say together, None when that is not clear."""
    result = _joint(found)
    if result is None:
        return None
    return Compared(
        result,
        [code for one in found for code in one.common],
        [code for one in found for code in one.missing],
        [code for one in found for code in one.extra],
    )


def _joint(found: Sequence[Compared]) -> str | None:
    results = {one.result for one in found}
    if len(results) < 2:
        return next(iter(results), EMPTY)
    plain = results - {SAME}
    if plain in ({SUPERSET}, {SUBSET}):
        return next(iter(plain))
    if SAME in results or OVERLAPPING in results or any(one.common for one in found):
        return OVERLAPPING
    return DISJOINT if all(_apart(one) for one in found) else None


def _apart(one: Compared) -> bool:
    """Say whether two parts have nothing in common: told so, or one of them is not there."""
    return one.result == DISJOINT or one.alone


# --- by the codes --------------------------------------------------------------------------------


def _codes(mine: Codes, theirs: Codes) -> Compared:
    """Return how two sets of codes stand."""
    common = [code for key in mine if key in theirs for code in key[1:]]
    missing = [code for key in mine if key not in theirs for code in key[1:]]
    extra = [code for key in theirs if key not in mine for code in key[1:]]
    return Compared(_result(bool(common), bool(missing), bool(extra)), common, missing, extra)


def _result(common: bool, missing: bool, extra: bool) -> str:
    if not common:
        return DISJOINT if missing or extra else EMPTY
    if missing:
        return OVERLAPPING if extra else SUPERSET
    return SUBSET if extra else SAME


def _by_codes(view: View, this: Compose, other: Compose) -> Compared:
    try:
        mine, theirs = _expanded(view, this), _expanded(view, other)
    except YilianError:  # unknown system, too many codes, a grammar: it cannot be said
        return Compared(UNKNOWN)
    if mine is None or theirs is None:
        return Compared(UNKNOWN, expanded=True)
    found = _codes(mine, theirs)
    shown = found.result != SAME
    return Compared(
        found.result,
        found.common if shown else (),
        found.missing,
        found.extra,
        expanded=True,
    )


def _expanded(view: View, compose: Compose) -> Codes | None:
    """Return the codes of a value set, None when there are too many or more than can be listed."""
    view.check_imports(compose)
    expansion = Expansion(view, compose, None, active_only=False)
    items: Iterable[tuple[str, str]] = (
        (item.known.url, item.concept.code) for item in islice(expansion, LIMIT + 1)
    )
    found = dict.fromkeys(items)
    return None if len(found) > LIMIT or expansion.unclosed else found
