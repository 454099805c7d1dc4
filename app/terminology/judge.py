"""One coding judged: against a value set, or against its code system alone.

R4 valueset-operation-validate-code.html and codesystem-operation-validate-code.html. `Judge.of`
gives a `Verdict`: whether the code is in, what was found, and the issues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.terminology import displays, names, references
from app.terminology.issues import TxIssue, issue
from app.terminology.known import Known, canonical
from app.terminology.languages import ANY, Wanted
from app.terminology.membership import Match, Membership, Reading
from app.terminology.systems.grammar import Explains
from app.terminology.types import Concept, Json
from app.terminology.value_set import Compose
from app.terminology.view import View

_DEPRECATED = "http://hl7.org/fhir/StructureDefinition/valueset-deprecated"


@dataclass(frozen=True, slots=True)
class Coding:
    """The coding to judge."""

    system: str | None
    code: str
    version: str | None = None
    display: str | None = None

    def __str__(self) -> str:
        """Return it as messages name it: system|version#code ('display')."""
        version = f"|{self.version}" if self.version else ""
        shown = f" ('{self.display}')" if self.display else ""
        return f"{self.system or ''}{version}#{self.code}{shown}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the coding stood in the input: "" for parameters of its own, else a path.

    within: it is one of several of a CodeableConcept; that it is not in the value set is then a
    matter of the whole.
    """

    path: str = ""
    within: bool = False

    def of(self, part: str) -> str:
        """Return the place of code, system, version or display."""
        return f"{self.path}.{part}" if self.path else part

    @property
    def whole(self) -> str:
        """Return the place of the coding itself."""
        return self.path or "code"


@dataclass(frozen=True, slots=True)
class Options:
    """What the client wants judged, and how strictly."""

    languages: Wanted = ANY
    lenient: bool = False
    active_only: bool = False
    abstract: bool = True
    membership_only: bool = False


@dataclass(slots=True)
class Verdict:
    """What came out. `found`: it is in the value set, or in the code system if that was asked.

    open: it could not be told, for a version or system is not known.
    """

    coding: Coding
    issues: list[TxIssue] = field(default_factory=list)
    found: bool = False
    open: bool = False
    known: Known | None = None
    concept: Concept | None = None
    display: str | None = None
    caused_by: list[str] = field(default_factory=list)
    unknown_system: str | None = None
    right_code: str | None = None
    notes: list[str] = field(default_factory=list)  # said in the message, no issue of their own

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not any(one.severity == "error" for one in self.issues)


class Judge:
    """Judges codings against one value set (or, without one, against code systems)."""

    def __init__(self, view: View, compose: Compose | None, options: Options) -> None:
        self._view = view
        self._compose = compose
        self._options = options

    @property
    def membership_only(self) -> bool:
        """Whether only membership counts, not what else may be wrong."""
        return self._options.membership_only

    def of(self, coding: Coding, place: Place) -> Verdict:
        """Return the verdict on one coding."""
        verdict = Verdict(coding)
        if not coding.system:
            self._not_in(verdict, place)
            verdict.issues.append(issue("Coding_has_no_system__cannot_validate", place.whole))
            return verdict
        if self._is_supplement(verdict, coding.system, place):
            return verdict
        if self._compose is None:
            self._by_system(verdict, coding.system, place)
        else:
            self._by_value_set(verdict, self._compose, coding.system, place)
        return verdict

    def systems_with(self, code: str) -> Sequence[str]:
        """Return the systems in which the value set has a code."""
        if self._compose is None:
            return ()
        urls = {
            part.system: None
            for compose in self._view.all_of(self._compose)
            for part in compose.includes
            if part.system
        }
        return [
            url for url in urls if Membership(self._view, self._compose, url, None).matches(code)
        ]

    # --- against the code system -----------------------------------------------------------------

    def _by_system(self, verdict: Verdict, system: str, place: Place) -> None:
        given = verdict.coding.version
        asked = self._view.pins.asked(system, given)
        verdict.known = self._view.known(system, asked.version)
        if verdict.known is None:
            self._system_unknown(verdict, system, asked.version, place)
            verdict.open = True
            return
        refused = self._view.pins.refused(system, verdict.known.version, place.of("version"))
        if refused is not None:
            verdict.issues.append(refused)
        verdict.concept = verdict.known.system.find(verdict.coding.code)
        if verdict.concept is None:
            self._code_unknown(verdict, verdict.known, place)
            verdict.found = verdict.known.fragment
        else:
            verdict.found = True
            self._judge_concept(verdict, Match(verdict.known, verdict.concept), place)
        self._remark(verdict, verdict.known.header, "CodeSystem", verdict.known.header)

    # --- against the value set -------------------------------------------------------------------

    def _by_value_set(self, verdict: Verdict, compose: Compose, system: str, place: Place) -> None:
        code, given = verdict.coding.code, verdict.coding.version
        membership = Membership(self._view, compose, system, given)
        if not membership.readings:
            self._not_in(verdict, place)
            self._about_foreign(verdict, system, place)
            return
        if all(reading.known is None for reading in membership.readings):
            self._version_unknown(verdict, system, membership.readings[0], place)
            return
        match = self._chosen(verdict.coding, membership.matches(code))
        reading = _reading(membership, match)
        verdict.known = match.known if match else reading.known
        self._about_version(verdict, system, membership, reading, place)
        if verdict.known is not None:
            verdict.concept = match.concept if match else verdict.known.system.find(code)
        if match is not None:
            verdict.found = True
            self._judge_match(verdict, match, place)
        elif verdict.known is not None:
            self._judge_absent(verdict, verdict.known, membership, place)
        self._remarks(verdict, compose)

    def _chosen(self, coding: Coding, matches: Sequence[Match]) -> Match | None:
        """Return the newest match, or the newest whose display is the one given."""
        if len(matches) > 1 and coding.display:
            for match in matches:
                if self._display_issue(coding, match, Place()) is None:
                    return match
        return matches[0] if matches else None

    def _about_version(
        self,
        verdict: Verdict,
        system: str,
        membership: Membership,
        reading: Reading,
        place: Place,
    ) -> None:
        """Say how the version given, the value set's and the one to be checked for disagree."""
        given, known = verdict.coding.version, reading.known
        if known is not None:
            refused = self._view.pins.refused(system, known.version, place.of("version"))
            if refused is not None:
                verdict.issues.append(refused)
        if given is None or membership.settled or known is None:
            return
        verdict.issues.append(_mismatch(system, reading, given, place))
        if self._view.known(system, given) is None:
            self._system_unknown(verdict, system, given, place)

    def _version_unknown(
        self, verdict: Verdict, system: str, reading: Reading, place: Place
    ) -> None:
        """Say that the version the value set asks for is not known, so nothing can be told."""
        verdict.open = True
        asked, given = reading.asked, verdict.coding.version
        if given is not None and asked.version is not None and given != asked.version:
            verdict.issues.append(_mismatch(system, reading, given, place))
        self._system_unknown(verdict, system, asked.version or given, place)
        pinned = self._view.pins.asked(system, None).version
        for version in (*(v for v in (given, pinned) if v is not None), None):
            known = self._view.known(system, version)
            if known is not None:
                verdict.known = known
                verdict.concept = known.system.find(verdict.coding.code)
                if verdict.concept is not None:
                    self._set_display(verdict, Match(known, verdict.concept))
                return

    def _judge_match(self, verdict: Verdict, match: Match, place: Place) -> None:
        known, concept = match.known, match.concept
        self._judge_concept(verdict, match, place)
        if self._options.active_only and known.is_inactive(concept):
            self._rule_out(verdict, "STATUS_CODE_WARNING_CODE", place)
        elif not self._options.abstract and known.is_abstract(concept):
            self._rule_out(verdict, "ABSTRACT_CODE_NOT_ALLOWED", place)
        status = _status_in_value_set(match.entry)
        if status and self._compose is not None:
            verdict.issues.append(
                issue(
                    "CONCEPT_DEPRECATED_IN_VALUESET",
                    place.of("code"),
                    code=concept.code,
                    system=known.url,
                    valueSet=self._compose.canonical,
                    status=status,
                )
            )

    def _rule_out(self, verdict: Verdict, kind: str, place: Place) -> None:
        coding = verdict.coding
        verdict.issues.append(issue(kind, place.of("code"), code=coding.code, system=coding.system))
        verdict.found = False
        self._not_in(verdict, place)

    def _judge_absent(
        self, verdict: Verdict, known: Known, membership: Membership, place: Place
    ) -> None:
        """Say why a code is not in the value set."""
        if verdict.concept is None:
            whole = any(
                r.include.concepts is None and not r.include.filters for r in membership.readings
            )
            if known.fragment and whole:
                verdict.found = True
            else:
                self._not_in(verdict, place)
            self._code_unknown(verdict, known, place)
            return
        match = Match(known, verdict.concept)
        grammar = _grammar(known)
        if grammar is not None:
            for reading in membership.readings:
                why = grammar.mismatch(verdict.coding.code, reading.include.filters)
                verdict.notes += [why] if why else []
        if known.is_inactive(verdict.concept) and membership.matches(
            verdict.coding.code, any_status=True
        ):
            about = {"code": verdict.coding.code}
            verdict.issues.append(issue("STATUS_CODE_WARNING_CODE", place.of("code"), **about))
        self._not_in(verdict, place)
        self._judge_concept(verdict, match, place)

    def _about_foreign(self, verdict: Verdict, system: str, place: Place) -> None:
        """Say what is known of a system that the value set does not use."""
        given = verdict.coding.version
        relative = ":" not in system
        if relative:
            verdict.issues.append(issue("Terminology_TX_System_Relative", place.of("system")))
        verdict.known = self._view.known(system, given)
        if verdict.known is not None:
            verdict.concept = verdict.known.system.find(verdict.coding.code)
            if verdict.concept is None:
                self._code_unknown(verdict, verdict.known, place)
            else:
                self._judge_concept(verdict, Match(verdict.known, verdict.concept), place)
            return
        if self._view.scope.value_sets(system):
            about = {"canonical": system}
            at = place.of("system")
            verdict.issues.append(issue("Terminology_TX_System_ValueSet2", at, **about))
            return
        known_otherwise = bool(self._view.versions_of(system)) or bool(
            self._view.scope.known(system)
        )
        self._system_unknown(verdict, system, given, place, used=known_otherwise)

    # --- issues ----------------------------------------------------------------------------------

    def _not_in(self, verdict: Verdict, place: Place) -> None:
        if self._compose is None:
            return
        within = {"severity": "information", "tx": "this-code-not-in-vs"} if place.within else {}
        verdict.issues.append(
            issue(
                "None_of_the_provided_codes_are_in_the_value_set_one",
                place.of("code"),
                severity=within.get("severity"),
                tx=within.get("tx"),
                coding=verdict.coding,
                valueSet=self._compose.canonical,
            )
        )

    def _system_unknown(
        self, verdict: Verdict, system: str, version: str | None, place: Place, *, used: bool = True
    ) -> None:
        verdict.issues.append(self._view.unknown(system, version, place.of("system")))
        name = f"{system}|{version}" if version else system
        if used:
            verdict.caused_by.append(name)
        else:
            verdict.unknown_system = name

    def _is_supplement(self, verdict: Verdict, system: str, place: Place) -> bool:
        """Say whether the system is a supplement, which has no codes of its own."""
        if self._view.scope.known(system):
            return False
        for one in self._view.scope.systems(system):
            if one.header.get("content") == "supplement":
                name = canonical(one.header)
                at = place.of("system")
                verdict.issues.append(issue("CODESYSTEM_CS_NO_SUPPLEMENT", at, system=name))
                verdict.caused_by.append(name)
                verdict.open = True
                return True
        return False

    def _code_unknown(self, verdict: Verdict, known: Known, place: Place) -> None:
        code = verdict.coding.code
        kind = "UNKNOWN_CODE_IN_FRAGMENT" if known.fragment else "Unknown_Code_in_Version"
        if known.version is None:
            kind += "_NONE"
        at = place.of("code")
        verdict.issues.append(issue(kind, at, code=code, system=known.url, version=known.version))
        grammar = _grammar(known)
        reason = grammar.problem(code) if grammar else None
        if reason:
            verdict.issues.append(issue("CODE_EXPLAINED", place.of("code"), reason=reason))

    def _judge_concept(self, verdict: Verdict, match: Match, place: Place) -> None:
        """Say what is to be said of a concept that is known: case, status, display."""
        known, concept, coding = match.known, match.concept, verdict.coding
        right = str(match.entry["code"]) if match.entry else concept.code
        if right != coding.code and known.folds:
            verdict.right_code = right
            about = {"code": coding.code, "correct": right, "system": known.canonical}
            verdict.issues.append(issue("CODE_CASE_DIFFERENCE", place.of("code"), **about))
        status = known.status(concept)
        if known.is_inactive(concept):
            said = "inactive" if status in (None, "inactive") else f"{status} and inactive"
            at, about = place.whole, {"code": coding.code, "status": said}
            verdict.issues.append(issue("INACTIVE_CONCEPT_FOUND", at, **about))
        elif status == "deprecated":
            verdict.issues.append(issue("DEPRECATED_CONCEPT_FOUND", place.whole, code=coding.code))
        self._set_display(verdict, match)
        wrong = self._display_issue(coding, match, place)
        if wrong is not None:
            verdict.issues.append(wrong)

    def _set_display(self, verdict: Verdict, match: Match) -> None:
        found = names.names(match.concept, match.known.language, match.entry)
        chosen = names.best(found, self._options.languages) or names.default(found)
        verdict.display = chosen.value if chosen else None

    def _display_issue(self, coding: Coding, match: Match, place: Place) -> TxIssue | None:
        if not coding.display or self._options.membership_only:
            return None
        return displays.check(
            coding.display,
            names.names(match.concept, match.known.language, match.entry),
            self._options.languages,
            place.of("display"),
            system=match.known.url,
            code=coding.code,
            lenient=self._options.lenient,
        )

    def _remarks(self, verdict: Verdict, compose: Compose) -> None:
        for one in self._view.all_of(compose):
            self._remark(verdict, one.resource, "ValueSet", compose.resource)
        if verdict.known is not None:
            self._remark(verdict, verdict.known.header, "CodeSystem", compose.resource)

    def _remark(self, verdict: Verdict, resource: Json, kind: str, by: Json) -> None:
        said = references.remark(resource, by)
        if said:
            about = {"type": kind, "canonical": canonical(resource)}
            verdict.issues.append(issue(f"MSG_{said.upper()}", **about))


def _grammar(known: Known) -> Explains | None:
    """Return the system as one that explains itself; those with lists have nothing to explain."""
    system = known.system
    return system if not system.closed and isinstance(system, Explains) else None


def _reading(membership: Membership, match: Match | None) -> Reading:
    """Return the include by which a code is judged: that of its match, else the newest."""
    readable = [r for r in membership.readings if r.known is not None]
    if membership.settled:
        readable = [r for r in readable if r.accepts]
    if match is not None:
        same = [r for r in readable if r.known is match.known]
        return (same or readable)[0]
    newest = membership.newest(readable)
    return newest if newest is not None else membership.readings[0]


def _mismatch(system: str, reading: Reading, given: str, place: Place) -> TxIssue:
    """Return the issue of a version that is not the one of the include."""
    asked, at = reading.asked, place.of("version")
    about = {"system": system, "given": given}
    if asked.version is None:
        version = reading.known.version if reading.known else None
        return issue("VALUESET_VALUE_MISMATCH_DEFAULT", at, version=version or "", **about)
    if asked.changed:
        stated, kind = asked.stated or "", "VALUESET_VALUE_MISMATCH_CHANGED"
        return issue(kind, at, version=asked.version, stated=stated, **about)
    return issue("VALUESET_VALUE_MISMATCH", at, version=asked.version, **about)


def _status_in_value_set(entry: Json | None) -> str | None:
    """Return the status with which a value set lists a concept that it wants used no more."""
    for extension in (entry or {}).get("extension", ()):
        if (
            extension.get("url") == _DEPRECATED
            and str(extension.get("valueBoolean", extension.get("valueCode"))).lower() == "true"
        ):
            return "deprecated"
        if extension.get("url") == names.STANDARDS_STATUS and extension.get("valueCode") in (
            "deprecated",
            "withdrawn",
        ):
            return str(extension["valueCode"])
    return None
