"""What terminology operations say: issues with a message id, an issue type and a text.

The kinds of issues and their texts are data (`messages.json`), in English and Chinese. Their texts
name codes, systems and value sets, which are no facts about a person; they go to the client only
and are never logged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import orjson

from app.errors import NotFound, Unprocessable, YilianError
from app.terminology.types import Json

ISSUE_TYPE = "http://hl7.org/fhir/tools/CodeSystem/tx-issue-type"
MESSAGE_ID = "http://hl7.org/fhir/StructureDefinition/operationoutcome-message-id"


@dataclass(frozen=True, slots=True)
class TxIssue:
    """One issue: `kind` says which text, `tx` is the code of the issue in HL7's issue types."""

    kind: str
    severity: str
    code: str
    tx: str | None
    values: Mapping[str, object]
    expression: str | None = None

    @property
    def id(self) -> str:
        """The message id that clients know."""
        return str(_messages()[self.kind].get("id", self.kind))

    def text(self, language: str = "en") -> str:
        """Return what it says, in Chinese or English."""
        template: str = _messages()[self.kind][language]
        return template.format_map(self.values)

    def json(self, language: str = "en") -> Json:
        """Return OperationOutcome.issue."""
        details: Json = {}
        if self.tx:
            details["coding"] = [{"system": ISSUE_TYPE, "code": self.tx}]
        details["text"] = self.text(language)
        out: Json = {"severity": self.severity, "code": self.code, "details": details}
        if not _messages()[self.kind].get("hidden"):
            out = {"extension": [{"url": MESSAGE_ID, "valueString": self.id}], **out}
        if self.expression:
            out["expression"] = [self.expression]
        return out


class Refused(Unprocessable):
    """An operation that cannot be carried out, with issues for the client."""

    def __init__(self, *issues: TxIssue) -> None:
        # What the tree carries (and may log) holds no text of the request.
        super().__init__(f"The terminology operation was refused: {issues[0].id}")
        self.tx_issues: Sequence[TxIssue] = issues


def issue(
    id: str,
    at: str | None = None,
    *,
    severity: str | None = None,
    tx: str | None = None,
    **values: object,
) -> TxIssue:
    """Return an issue of a kind; `values` are what its text names."""
    usual, code, type_ = _messages()[id]["issue"]
    return TxIssue(id, severity or usual, code, tx or type_, values, at)


def outcome(issues: Iterable[TxIssue], language: str = "en") -> Json:
    """Return an OperationOutcome resource, its texts in that language (en, zh)."""
    return {"resourceType": "OperationOutcome", "issue": [one.json(language) for one in issues]}


def outcome_of(error: YilianError, language: str = "en") -> Json:
    """Return the OperationOutcome of any error."""
    if isinstance(error, Refused):
        return outcome(error.tx_issues, language)
    tx = {"coding": [{"system": ISSUE_TYPE, "code": "not-found"}]}
    listed: list[Json] = []
    for one in error.issues:
        said: Json = {"severity": one.severity, "code": one.code}
        said["details"] = {**(tx if isinstance(error, NotFound) else {}), "text": one.text}
        listed.append(said | ({"expression": [one.at]} if one.at else {}))
    return {"resourceType": "OperationOutcome", "issue": listed}


@cache
def _messages() -> dict[str, Json]:
    found: dict[str, Json] = orjson.loads(
        resources.files("app.terminology").joinpath("messages.json").read_bytes()
    )
    return found
