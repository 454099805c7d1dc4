"""OperationOutcome: what every door answers when something is wrong. R4 operationoutcome.html."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from app.errors import Issue

SYSTEM = "https://yilian.example/fhir/CodeSystem/issue-details"

ALL_OK = Issue("information", "informational", "All OK")


def operation_outcome(issues: Iterable[Issue]) -> bytes:
    """Return the OperationOutcome of `issues` (at least one) as JSON."""
    return orjson.dumps(
        {"resourceType": "OperationOutcome", "issue": [_issue(issue) for issue in issues]}
    )


def _issue(issue: Issue) -> dict[str, Any]:
    """Return one OperationOutcome.issue.

    `at` goes to `expression`: a FHIRPath into the resource or Bundle, or `http.<name>` for a
    header or parameter (the form R4 gives for `location`).
    """
    out: dict[str, Any] = {"severity": issue.severity, "code": issue.code}
    if issue.details:
        out["details"] = {"coding": [{"system": SYSTEM, "code": issue.details}]}
    out["diagnostics"] = issue.text
    if issue.at:
        out["expression"] = [issue.at]
    return out
