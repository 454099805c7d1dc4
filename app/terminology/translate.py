"""$translate: R4 and R5 conceptmap-operation-translate.html.

A code is looked for in the groups of all concept maps from its system (of one map, when one is
named), or, in reverse, among their targets. What a group does not list is `unmapped`. Without a map
straight to the target system, two maps are joined through a system between. Parameters have R4 or
R5 names, maps R4 equivalences or R5 relationships; answers are R4's.

Deviation: `originMap` and the part `source` of a reverse match are R5's, where R4 has a `source` of
another meaning. A joined match names both maps.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from app.errors import Invalid, NotFound
from app.terminology import versions
from app.terminology.call import Call
from app.terminology.canonicals import split
from app.terminology.known import canonical
from app.terminology.service import Scope
from app.terminology.types import Json

# ConceptMap.relationship of R5 -> equivalence of R4, which looks at it from the target.
EQUIVALENCES = {
    "related-to": "relatedto",
    "equivalent": "equivalent",
    "source-is-narrower-than-target": "wider",
    "source-is-broader-than-target": "narrower",
    "not-related-to": "disjoint",
}
_TURNED = {
    "wider": "narrower",
    "narrower": "wider",
    "subsumes": "specializes",
    "specializes": "subsumes",
}
_NO_MATCH = frozenset(("unmatched", "disjoint"))
_SAME = frozenset(("equal", "equivalent"))
_UP, _DOWN = frozenset(("wider", "subsumes")), frozenset(("narrower", "specializes"))
_USE_SOURCE = frozenset(("provided", "use-source-code"))
_MOST_HOPS = 8  # of unmapped.mode other-map
_MOST_BETWEEN = 100  # codes of systems between, when two maps are joined


@dataclass(frozen=True, slots=True)
class Coded:
    """A code to translate."""

    system: str | None
    code: str
    version: str | None = None
    display: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """One code that another one maps to, and the maps that say so."""

    found: Coded
    equivalence: str
    maps: Sequence[str]
    asked: Coded
    comment: str | None = None
    products: Sequence[Json] = ()
    needs: Sequence[Json] = ()
    reverse: bool = False

    @property
    def counts(self) -> bool:
        """Whether it is a translation, and not the word that there is none."""
        return self.equivalence not in _NO_MATCH


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the maps, without the codes."""

    scope: Scope
    reverse: bool = False
    other_system: str | None = None  # to (reverse: from) which system
    one_map: Json | None = None
    source_scope: str | None = None
    target_scope: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The Parameters of an answer, and the codes that nothing maps."""

    resource: Json
    unmapped: Sequence[tuple[str, str, str]] = ()  # system, code, target system


def translate(call: Call) -> Answer:
    """Return the translations of the code, coding or concept of a call.

    Raises Invalid without a code, NotFound for a map that is named and not known.
    """
    asked, reverse_form = _asked(call)
    question = _question(call, reverse=reverse_form or call.flag("reverse") is True)
    matches: list[Match] = []
    missing = []
    for one in asked:
        found = list(matches_of(question, one))
        matches += found
        if not any(match.counts for match in found):
            missing.append((one.system or "", one.code, question.other_system or ""))
    result = any(match.counts for match in matches)
    parameters: list[Json] = [{"name": "result", "valueBoolean": result}]
    if not result:
        parameters.append({"name": "message", "valueString": "No mapping was found for the code"})
    parameters += [_match_json(match, sourced=reverse_form) for match in matches]
    return Answer(
        {"resourceType": "Parameters", "parameter": parameters},
        [] if question.reverse else missing,
    )


def matches_of(question: Question, asked: Coded) -> Iterator[Match]:
    """Yield the translations of one code, straight ones; else those through a system between."""
    found = list(_straight(question, asked))
    yield from found
    if question.other_system and not question.one_map and not any(m.counts for m in found):
        yield from _joined(question, asked)


# --- what is asked -------------------------------------------------------------------------------


def _asked(call: Call) -> tuple[Sequence[Coded], bool]:
    """Return the codes to translate, and whether they are given as targets (R5's reverse)."""
    for prefix, reverse in (("source", False), ("", False), ("target", True)):
        if found := list(_given(call, prefix)):
            return found, reverse
    raise Invalid("There is no code to translate", at="http.code", code="required")


def _given(call: Call, prefix: str) -> Iterator[Coded]:
    def name(plain: str) -> str:
        return prefix + plain[0].upper() + plain[1:] if prefix else plain

    coding = call.object(name("coding"))
    listed = (call.object(name("codeableConcept")) or {}).get("coding")
    for one in [coding, *(listed if isinstance(listed, list) else ())]:
        if isinstance(one, dict) and isinstance(one.get("code"), str):
            yield Coded(one.get("system"), one["code"], one.get("version"), one.get("display"))
    code = call.text(name("code"))
    if code:
        system = call.text(name("system"))
        # R4 servers are sent R5 names, sometimes mixed with R4's.
        system = system or (call.text("system") if prefix == "source" else None)
        yield Coded(system, code, call.text(name("version")) or None)


def _question(call: Call, *, reverse: bool) -> Question:
    source = call.text("sourceSystem")
    target = call.text("targetSystem") or call.text("targetsystem")
    if reverse and target and not source and not call.text("targetCode"):
        source = target  # R4: the target of a reversed translation is where the map comes from
    return Question(
        call.scope,
        reverse=reverse,
        other_system=source if reverse else target,
        one_map=_one_map(call),
        source_scope=call.text("sourceScope") or call.text("source"),
        target_scope=call.text("targetScope") or call.text("target"),
    )


def _one_map(call: Call) -> Json | None:
    given = call.object("conceptMap")
    if given is not None:
        return given
    url = call.text("url")
    if url is None:
        return None
    found = named_map(call.scope, url, call.text("conceptMapVersion"))
    if found is None:
        raise NotFound("The concept map is not known here", at="http.url")
    return found


def named_map(scope: Scope, canonical_url: str, version: str | None = None) -> Json | None:
    """Return a concept map by its url (with `|version`), the latest that fits."""
    url, stated = split(canonical_url)
    found = scope.concept_maps(url=url)
    if wanted := stated or version:
        found = [m for m in found if versions.fits(wanted, m.get("version"))]
    return versions.latest(found, [m.get("version") for m in found])


# --- indexes -------------------------------------------------------------------------------------


class _Indexes:
    """The elements of groups by code, of the groups that were asked last.

    A group must not change afterwards. Safe to use from many threads.
    """

    _KEPT = 256

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[int, bool], tuple[Json, Mapping[str, Sequence[Json]]]] = (
            OrderedDict()
        )

    def of(self, group: Json, *, reverse: bool) -> Mapping[str, Sequence[Json]]:
        """Return the elements of a group by their code, or by the codes of their targets."""
        key = (id(group), reverse)
        held = self._made.get(key)
        if held is not None and held[0] is group:
            return held[1]
        found: dict[str, list[Json]] = {}
        for element in group.get("element", ()):
            targets = {t.get("code"): None for t in element.get("target", ())}
            for code in targets if reverse else (element.get("code"),):
                found.setdefault(str(code), []).append(element)
        self._made[key] = (group, found)
        while len(self._made) > self._KEPT:
            with suppress(KeyError):  # another thread was first
                self._made.popitem(last=False)
        return found


_INDEXES = _Indexes()


# --- straight ------------------------------------------------------------------------------------


def _straight(question: Question, asked: Coded) -> Iterator[Match]:
    seen: set[tuple[str | None, str, str]] = set()
    for one in _maps(question, asked):
        for match in _of_map(question, one, asked, hops=0):
            key = (match.found.system, match.found.code, match.equivalence)
            if key not in seen:
                seen.add(key)
                yield match


def _maps(question: Question, asked: Coded) -> Sequence[Json]:
    """Return the maps to look in: one that is named, else the latest of each url."""
    if question.one_map is not None:
        return (question.one_map,)
    source, target = asked.system, question.other_system
    if question.reverse:
        source, target = target, source
    latest: dict[object, Json] = {}
    for one in question.scope.concept_maps(source=source, target=target):
        key = one.get("url", id(one))
        held = latest.get(key)
        if held is None or _later(one, held):
            latest[key] = one
    return [one for one in latest.values() if _in_scope(question, one)]


def _later(one: Json, held: Json) -> bool:
    return versions.compare(str(one.get("version", "")), str(held.get("version", ""))) > 0


def _in_scope(question: Question, one: Json) -> bool:
    """Say whether a map is between the value sets that are asked for; maps without one fit."""
    for wanted, kind in ((question.source_scope, "source"), (question.target_scope, "target")):
        stated = next((one[n] for n in _scopes(kind) if isinstance(one.get(n), str)), None)
        if wanted and stated and split(stated)[0] != split(wanted)[0]:
            return False
    return True


def _scopes(kind: str) -> Sequence[str]:
    return [f"{kind}{part}" for part in ("Uri", "Canonical", "ScopeUri", "ScopeCanonical")]


def _of_map(question: Question, one: Json, asked: Coded, hops: int) -> Iterator[Match]:
    for group in one.get("group", ()):
        source, source_version = _side(group, "source")
        target, _ = _side(group, "target")
        ours, other = (target, source) if question.reverse else (source, target)
        if ours and asked.system and ours != asked.system:
            continue
        if question.other_system and other and other != question.other_system:
            continue
        if not question.reverse and not _version_fits(asked.version, source_version):
            continue
        listed = _INDEXES.of(group, reverse=question.reverse).get(asked.code, ())
        if question.reverse:
            yield from _reversed(one, group, listed, asked)
            continue
        for element in listed:
            yield from _of_element(one, group, element, asked)
        if not listed and "unmapped" in group:
            yield from _unmapped(question, one, group, asked, hops)


def _side(group: Json, side: str) -> tuple[str | None, str | None]:
    """Return the system and version of a group's source or target (R5: a canonical)."""
    url, version = split(str(group.get(side, "")))
    return url or None, version or group.get(f"{side}Version")


def _version_fits(given: str | None, stated: str | None) -> bool:
    return given is None or stated is None or versions.fits(stated, given)


def _of_element(one: Json, group: Json, element: Json, asked: Coded) -> Iterator[Match]:
    system, version = _side(group, "target")
    for target in element.get("target", ()):
        equivalence = _equivalence(target)
        if "code" not in target and equivalence in _NO_MATCH:
            continue  # the map says that there is nothing: no match to show
        yield Match(
            Coded(system, target.get("code", ""), version, target.get("display")),
            equivalence,
            (canonical(one),),
            asked,
            comment=target.get("comment"),
            products=target.get("product", ()),
            needs=target.get("dependsOn", ()),
        )


def _reversed(one: Json, group: Json, listed: Sequence[Json], asked: Coded) -> Iterator[Match]:
    system, version = _side(group, "source")
    for element in listed:
        for target in element["target"]:
            if target.get("code") == asked.code:
                yield Match(
                    Coded(system, element.get("code", ""), version, element.get("display")),
                    _equivalence(target),
                    (canonical(one),),
                    asked,
                    comment=target.get("comment"),
                    reverse=True,
                )


def _equivalence(target: Json) -> str:
    if "relationship" in target:
        return EQUIVALENCES.get(target["relationship"], "relatedto")
    return str(target.get("equivalence", "relatedto"))


def _unmapped(
    question: Question, one: Json, group: Json, asked: Coded, hops: int
) -> Iterator[Match]:
    """Yield what a group has for codes it does not list: R4 conceptmap.html#unmapped."""
    rule = group["unmapped"]
    system, version = _side(group, "target")
    mode = rule.get("mode")
    if mode == "other-map":
        other = named_map(question.scope, str(rule.get("otherMap", rule.get("url", ""))))
        if other is not None and hops < _MOST_HOPS:
            for match in _of_map(question, other, asked, hops + 1):
                yield replace(match, maps=(canonical(one), *match.maps))
    elif mode == "fixed" and "code" in rule:
        fixed = Coded(system, rule["code"], version, rule.get("display"))
        yield Match(fixed, _equivalence(rule), (canonical(one),), asked)
    elif mode in _USE_SOURCE:
        same = Coded(system, asked.code, version, asked.display)
        said = _equivalence(rule) if "relationship" in rule else "equivalent"
        yield Match(same, said, (canonical(one),), asked)


# --- through a system between --------------------------------------------------------------------


def _joined(question: Question, asked: Coded) -> Iterator[Match]:
    """Yield what two maps say one after the other, the first from (to) any other system."""
    first = replace(question, other_system=None, source_scope=None, target_scope=None)
    seen: set[tuple[str | None, str]] = set()
    between = 0
    for here in _straight(first, asked):
        if not here.counts or here.found.system in (None, asked.system, question.other_system):
            continue
        between += 1
        if between > _MOST_BETWEEN:
            return
        for there in _straight(question, here.found):
            key = (there.found.system, there.found.code)
            if there.counts and key not in seen:
                seen.add(key)
                yield replace(
                    there,
                    equivalence=both(here.equivalence, there.equivalence),
                    maps=(*here.maps, *there.maps),
                    asked=asked,
                )


def both(one: str, other: str) -> str:
    """Return the equivalence of two mappings one after the other."""
    if one in _SAME:
        return "equivalent" if other in _SAME else other
    if other in _SAME:
        return one
    for direction, name in ((_UP, "wider"), (_DOWN, "narrower")):
        if one in direction and other in direction:
            return name
    return "relatedto"


# --- the answer ----------------------------------------------------------------------------------


def _match_json(match: Match, *, sourced: bool) -> Json:
    """Return a match as a parameter. sourced: as R5's reverse wants it, with the source beside."""
    found, asked = _coding(match.found), _coding(match.asked)
    equivalence = match.equivalence
    if match.reverse and not sourced:  # `concept` is the map's source: seen from there
        equivalence = _TURNED.get(equivalence, equivalence)
    parts: list[Json] = [
        {"name": "equivalence", "valueCode": equivalence},
        {"name": "concept", "valueCoding": asked if sourced else found},
    ]
    if sourced:
        parts.append({"name": "source", "valueCoding": found})
    parts += [{"name": "originMap", "valueCanonical": url} for url in match.maps if url]
    if match.comment:
        parts.append({"name": "comment", "valueString": match.comment})
    parts += [_part("product", held) for held in match.products]
    parts += [_part("dependsOn", held) for held in match.needs]
    return {"name": "match", "part": parts}


def _coding(one: Coded) -> Json:
    made = {"system": one.system, "version": one.version, "code": one.code, "display": one.display}
    return {name: value for name, value in made.items() if value}


def _part(name: str, held: Json) -> Json:
    element = str(held.get("property", held.get("attribute", "")))
    coding = {"system": held.get("system"), "code": held.get("value"), **_display(held)}
    return {
        "name": name,
        "part": [
            {"name": "element", "valueUri": element},
            {"name": "concept", "valueCoding": {k: v for k, v in coding.items() if v}},
        ],
    }


def _display(held: Json) -> Json:
    return {"display": held["display"]} if "display" in held else {}
