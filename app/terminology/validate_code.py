"""$validate-code on ValueSet and CodeSystem, and $batch-validate-code.

R4 valueset-operation-validate-code.html, codesystem-operation-validate-code.html; batches and the
further parameters as the terminology ecosystem guide has them. The answer is Parameters also when
the code is wrong; what cannot be judged at all is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

from app.errors import Invalid, YilianError
from app.terminology import languages
from app.terminology.call import Call
from app.terminology.issues import Refused, TxIssue, issue, outcome, outcome_of
from app.terminology.judge import Coding, Judge, Options, Place, Verdict
from app.terminology.languages import ANY, Wanted
from app.terminology.memory import MemorySystem
from app.terminology.types import Json
from app.terminology.value_set import Compose, read
from app.terminology.view import MissingImport, View

# Of issues that are no errors, only these are said in `message` too.
_SAID = frozenset(
    (
        "INACTIVE_CONCEPT_FOUND",
        "DEPRECATED_CONCEPT_FOUND",
        "Coding_has_no_system__cannot_validate",
        "Display_Name_for__should_be_one_of__instead_of",
        "Display_Name_WS_for__should_be_one_of__instead_of",
        "NO_VALID_DISPLAY_FOUND_NONE_FOR_LANG_ERR",
        "NO_VALID_DISPLAY_FOUND_NONE_FOR_LANG_OK",
    )
)


def in_value_set(call: Call) -> Json:
    """Carry out ValueSet/$validate-code."""
    view = View(call)
    compose = value_set(call, view)
    if compose is None:
        return in_code_system(call)
    view.require_supplements([*compose.supplements, *call.texts("useSupplement")])
    for part in compose.parts:
        view.require_supplements(part.supplements)
    judge = Judge(view, compose, _options(call, compose))
    try:
        view.check_imports(compose)
    except MissingImport as error:
        return _answer(call, _concept(call), None, [], error.tx_issues)
    return _judged(call, judge, compose, call.text("systemVersion") or call.text("version"))


def in_code_system(call: Call) -> Json:
    """Carry out CodeSystem/$validate-code."""
    inline = call.object("codeSystem")
    url = call.text("url") or call.text("system")
    if inline is not None:
        call = replace(call, scope=call.scope.with_system(MemorySystem(inline)))
        url = inline.get("url")
    view = View(call)
    view.require_supplements(call.texts("useSupplement"))
    judge = Judge(view, None, _options(call, None))
    return _judged(call, judge, None, call.text("version"), url)


def batch(call: Call) -> Json:
    """Carry out $batch-validate-code: one answer for each item, in their order."""
    shared = {name: values for name, values in call.given.items() if name != "validation"}
    answers: list[Json] = []
    for item in call.given.get("validation", ()):
        try:
            given = {**shared, **inputs(item)}
            answer = in_value_set(replace(call, given=given))
        except YilianError as error:
            answer = outcome_of(error, call.message_language)
        answers.append({"name": "validation", "resource": answer})
    return {"resourceType": "Parameters", "parameter": answers}


def inputs(parameters: Any) -> Mapping[str, Sequence[Any]]:
    """Return the values of a Parameters resource by name. Raises Invalid."""
    if not isinstance(parameters, dict) or parameters.get("resourceType") != "Parameters":
        raise Invalid("An item has to be a Parameters resource", at="http.validation")
    found: dict[str, list[Any]] = {}
    for one in parameters.get("parameter", ()):
        value = next((v for k, v in one.items() if k == "resource" or k[:5] == "value"), None)
        found.setdefault(str(one.get("name")), []).append(value)
    return found


def value_set(call: Call, view: View) -> Compose | None:
    """Return the value set a call is about, None when it names none. Raises Refused."""
    inline = call.object("valueSet")
    if inline is not None:
        return read(inline)
    url = call.text("url")
    return None if url is None else view.value_set(url, call.text("valueSetVersion"))


def wanted_languages(call: Call, compose: Compose | None) -> Wanted:
    """Return the languages wanted: by parameter, value set, header, language of the value set."""
    asked = compose.parameters.get("displayLanguage") if compose else None
    for text in (call.text("displayLanguage"), asked, call.accept_language):
        if isinstance(text, str) and text.strip() not in ("", "*"):
            return languages.parse(text.strip())
    own = compose.resource.get("language") if compose else None
    return languages.parse(own) if isinstance(own, str) else ANY


def _options(call: Call, compose: Compose | None) -> Options:
    return Options(
        languages=wanted_languages(call, compose),
        lenient=bool(call.flag("lenient-display-validation")),
        active_only=bool(call.flag("activeOnly")),
        abstract=call.flag("abstract") is not False,
        membership_only=bool(call.flag("valueset-membership-only")),
    )


def _concept(call: Call) -> Json | None:
    return call.object("codeableConcept")


def _judged(
    call: Call, judge: Judge, compose: Compose | None, version: str | None, url: str | None = None
) -> Json:
    """Judge what the call gives, in any of its forms, and return the answer."""
    concept, coding = _concept(call), call.object("coding")
    if concept is not None:
        return _of_concept(call, judge, compose, concept, url)
    if coding is not None:
        given = _coding(coding, url)
        return _of_one(call, judge, given, Place("Coding"))
    code = call.text("code")
    if code is None:
        raise Refused(issue("NO_CODE_GIVEN"))
    system = call.text("system") or url
    if system is None and call.flag("inferSystem"):
        return _inferred(call, judge, compose, code)
    return _of_one(call, judge, Coding(system, code, version, call.text("display")), Place())


def _coding(written: Json, url: str | None) -> Coding:
    code = written.get("code")
    if not isinstance(code, str):
        raise Refused(issue("NO_CODE_GIVEN"))
    parts = {name: written.get(name) for name in ("system", "version", "display")}
    if any(value is not None and not isinstance(value, str) for value in parts.values()):
        raise Invalid("A coding holds texts", at="http.coding", code="structure")
    return Coding(parts["system"] or url, code, parts["version"], parts["display"])


def _inferred(call: Call, judge: Judge, compose: Compose | None, code: str) -> Json:
    """Judge a code whose system the value set tells, when it tells one."""
    systems = judge.systems_with(code)
    if len(systems) == 1:
        given = Coding(systems[0], code, None, call.text("display"))
        return _of_one(call, judge, given, Place())
    name = compose.canonical if compose else ""
    said = [
        issue(
            "None_of_the_provided_codes_are_in_the_value_set_one",
            "code",
            coding=code,
            valueSet=name,
        )
    ]
    if systems:
        kind = "Unable_to_resolve_system__value_set_has_multiple_matches"
        listed = ", ".join(systems)
        said.append(issue(kind, "code", code=code, valueSet=name, systems=listed))
    else:
        said.append(issue("UNABLE_TO_INFER_CODESYSTEM", "code", code=code, valueSet=name))
    return _answer(call, None, Verdict(Coding(None, code)), [], said)


def _of_one(call: Call, judge: Judge, coding: Coding, place: Place) -> Json:
    verdict = judge.of(coding, place)
    return _answer(call, None, verdict, [verdict], verdict.issues, found=verdict.found)


def _of_concept(
    call: Call, judge: Judge, compose: Compose | None, concept: Json, url: str | None
) -> Json:
    """Judge a CodeableConcept: one of its codings has to be in the value set."""
    listed = concept.get("coding")
    codings = [c for c in listed if "code" in c] if _are_objects(listed) else []
    if not codings:
        raise Refused(issue("NO_CODE_GIVEN"))
    verdicts = [
        judge.of(
            _coding(coding, url if compose is None else None),
            Place(f"CodeableConcept.coding[{index}]", within=True),
        )
        for index, coding in enumerate(codings)
    ]
    chosen = next((v for v in verdicts if v.found), None)
    said: list[TxIssue] = []
    if compose is not None and chosen is None and not any(_undecided(v) for v in verdicts):
        said.append(issue("TX_GENERAL_CC_ERROR_MESSAGE", valueSet=compose.canonical))
    for verdict in verdicts:
        # What is wrong with other codings does not matter when only membership is asked.
        lax = judge.membership_only and chosen is not None and not verdict.found
        for one in verdict.issues:
            if one not in said and not (lax and one.severity == "error"):
                said.append(one)
    return _answer(call, concept, chosen, verdicts, said, found=chosen is not None)


def _are_objects(listed: object) -> TypeGuard[list[Json]]:
    return isinstance(listed, list) and all(isinstance(one, dict) for one in listed)


def _undecided(verdict: Verdict) -> bool:
    return verdict.open


def _answer(
    call: Call,
    concept: Json | None,
    chosen: Verdict | None,
    verdicts: Sequence[Verdict],
    said: Sequence[TxIssue],
    *,
    found: bool = False,
) -> Json:
    """Return the Parameters that say what came out."""
    right = found and not any(one.severity == "error" for one in said)
    out: list[Json] = [{"name": "result", "valueBoolean": right}]
    if chosen is not None:
        out += _of_verdict(chosen)
    if concept is not None:
        out.append({"name": "codeableConcept", "valueCodeableConcept": concept})
    if said:
        out.append({"name": "issues", "resource": outcome(said, call.message_language)})
    texts = [note for verdict in verdicts for note in verdict.notes]
    language = call.message_language
    texts += [one.text(language) for one in said if one.severity == "error" or one.id in _SAID]
    text = "; ".join(dict.fromkeys(texts))
    if text:
        out.append({"name": "message", "valueString": text})
    for url in dict.fromkeys(u for v in verdicts for u in v.caused_by):
        out.append({"name": "x-caused-by-unknown-system", "valueCanonical": url})
    for url in dict.fromkeys(v.unknown_system for v in verdicts if v.unknown_system):
        out.append({"name": "x-unknown-system", "valueCanonical": url})
    return {"resourceType": "Parameters", "parameter": out}


def _of_verdict(verdict: Verdict) -> list[Json]:
    """Return the parameters that say what was judged."""
    coding, known, concept = verdict.coding, verdict.known, verdict.concept
    out: list[Json] = [{"name": "code", "valueCode": coding.code}]
    if coding.system:
        out.append({"name": "system", "valueUri": coding.system})
    if known is not None and known.version:
        out.append({"name": "version", "valueString": known.version})
    if verdict.display:
        out.append({"name": "display", "valueString": verdict.display})
    if verdict.right_code:
        out.append({"name": "normalized-code", "valueCode": verdict.right_code})
    if known is not None and concept is not None:
        status, inactive = known.status(concept), known.is_inactive(concept)
        if inactive:
            out.append({"name": "inactive", "valueBoolean": True})
        if (inactive and status not in (None, "inactive")) or status == "deprecated":
            out.append({"name": "status", "valueCode": status})
    return out
