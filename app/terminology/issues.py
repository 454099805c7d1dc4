"""What terminology operations say: issues with a message id, an issue type and a text.

The kinds of issues and their texts are data (`messages.json`), in English and Chinese. Their texts
name codes, systems and value sets, which are no facts about a person; they go to the client only
and are never logged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    """One issue: `id` is the message id, `tx` the code of the issue in HL7's issue types."""

    id: str
    severity: str
    code: str
    tx: str | None
    text: str
    expression: str | None = None

    @property
    def json(self) -> Json:
        """OperationOutcome.issue."""
        details: Json = {}
        if self.tx:
            details["coding"] = [{"system": ISSUE_TYPE, "code": self.tx}]
        details["text"] = self.text
        out: Json = {"severity": self.severity, "code": self.code, "details": details}
        if not _messages().get(self.id, {}).get("hidden"):
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
    language: str = "en",
    **values: object,
) -> TxIssue:
    """Return an issue of a kind, its text filled with `values`, in Chinese if wanted so."""
    kind = _messages()[id]
    usual, code, type_ = kind["issue"]
    text = kind["zh" if language.startswith("zh") else "en"].format_map(values)
    return TxIssue(kind.get("id", id), severity or usual, code, tx or type_, text, at)


def outcome(issues: Iterable[TxIssue]) -> Json:
    """Return an OperationOutcome resource."""
    return {"resourceType": "OperationOutcome", "issue": [one.json for one in issues]}


def outcome_of(error: YilianError) -> Json:
    """Return the OperationOutcome of any error."""
    if isinstance(error, Refused):
        return outcome(error.tx_issues)
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
