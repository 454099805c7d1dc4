"""$lookup: R4 codesystem-operation-lookup.html. What is known of one code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.errors import Invalid
from app.terminology import languages, names
from app.terminology.call import Call
from app.terminology.issues import Refused, TxIssue, issue
from app.terminology.known import Known
from app.terminology.languages import ANY
from app.terminology.types import Concept, Designation, Json
from app.terminology.view import View


class NotKnown(Refused):
    """The code or its system is not known: answered 404."""


def lookup(call: Call) -> Json:
    """Carry out CodeSystem/$lookup. Raises Invalid, NotKnown."""
    view = View(call)
    view.require_supplements(call.texts("useSupplement"))
    coding = call.object("coding") or {}
    code = call.text("code") or coding.get("code")
    instance = call.object("codeSystem") or {}
    system = call.text("system") or coding.get("system") or instance.get("url")
    version = call.text("version") or coding.get("version") or instance.get("version")
    if not isinstance(code, str) or not isinstance(system, str):
        raise Invalid("A code and its system are needed", at="http.code", code="required")
    known = view.known(system, view.pins.asked(system, version).version)
    if known is None:
        raise NotKnown(view.unknown(system, version, "system"))
    concept = known.system.find(code)
    if concept is None:
        raise NotKnown(_unknown_code(known, code))
    return {"resourceType": "Parameters", "parameter": list(_said(call, view, known, concept))}


def _unknown_code(known: Known, code: str) -> TxIssue:
    kind = "Unknown_Code_in_Version" + ("" if known.version else "_NONE")
    return issue(kind, "code", code=code, system=known.url, version=known.version)


def _said(call: Call, view: View, known: Known, concept: Concept) -> Iterator[Json]:
    text = call.text("displayLanguage") or call.accept_language
    wanted = languages.parse(text) if text else ANY
    found = names.names(concept, known.language)
    chosen = names.best(found, wanted) or names.default(found)
    yield _value("name", "String", known.header.get("name") or known.url)
    if known.version:
        yield _value("version", "String", known.version)
    yield _value("system", "Uri", known.url)
    yield _value("code", "Code", concept.code)
    if chosen is not None:
        yield _value("display", "String", chosen.value)
    yield _value("abstract", "Boolean", known.is_abstract(concept))
    if concept.definition:
        yield _value("definition", "String", concept.definition)
    asked = [name for text in call.texts("property") for name in text.split(",")]
    if not asked or "designation" in asked or "*" in asked:
        yield from _designations(known, concept)
    yield from _properties(known, concept, asked)
    for url in view.used_supplements:
        yield _value("used-supplement", "Canonical", url)


def _designations(known: Known, concept: Concept) -> Iterator[Json]:
    """Yield the designations, the system's own display among them."""
    own = Designation(concept.display or concept.code, known.language or "en", names.PREFERRED)
    for held in (own, *concept.designations):
        parts: list[Json] = []
        if held.language:
            parts.append(_value("language", "Code", held.language))
        if held.use:
            parts.append({"name": "use", "valueCoding": held.use})
        parts.append(_value("value", "String", held.value))
        yield {"name": "designation", "part": parts}


def _properties(known: Known, concept: Concept, asked: Sequence[str]) -> Iterator[Json]:
    """Yield whether it is inactive, and the properties asked for (`*`: all)."""
    everything = "*" in asked
    yield _property("inactive", "Boolean", known.is_inactive(concept))
    for held in concept.properties:
        if (everything or held.code in asked) and held.code not in ("inactive", "parent", "child"):
            kind = held.kind[:1].upper() + held.kind[1:]
            yield _property(held.code, kind, held.value)
    if everything or "parent" in asked:
        yield from (_near(known, "parent", code) for code in concept.parents)
    if everything or "child" in asked:
        yield from (_near(known, "child", code) for code in known.system.children(concept.code))


def _near(known: Known, name: str, code: str) -> Json:
    """Return a parent or child, with its display."""
    other = known.system.find(code)
    return _property(name, "Code", code, other.display if other else None)


def _property(code: str, kind: str, value: object, description: str | None = None) -> Json:
    parts = [_value("code", "Code", code), {"name": "value", f"value{kind}": value}]
    if description:
        parts.append(_value("description", "String", description))
    return {"name": "property", "part": parts}


def _value(name: str, kind: str, value: object) -> Json:
    return {"name": name, f"value{kind}": value}
