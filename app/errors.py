"""The one tree of errors that every door renders in its own protocol.

Each class carries an R4 `issue-type` code; each error carries one or more `Issue`s with a
message that is safe to show (never a value from the input), the place in the input and a stable
code for machines. The tree knows no HTTP, no HL7 and no DICOM: `rest/problems.py`,
`feeds/hl7v2/ack.py` and `feeds/dicom/status.py` each hold one table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem found: the content of one OperationOutcome.issue (R4 operationoutcome.html)."""

    severity: str  # fatal | error | warning | information
    code: str  # issue-type
    text: str  # safe to show: no value of the input in it
    at: str | None = None  # Patient.name[0].family, PID-7.1, (0010,0020), $.hr
    details: str | None = None  # stable code of ours, for machines


class YilianError(Exception):
    """What went wrong, in words a sender may read; `issues` holds every problem that was found."""

    code = "exception"

    def __init__(
        self,
        text: str,
        *,
        at: str | None = None,
        details: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(text)
        self.issues: Sequence[Issue] = (Issue("error", code or self.code, text, at, details),)

    @classmethod
    def of(cls, issues: Iterable[Issue]) -> YilianError:
        """Return one error that reports all `issues` (at least one)."""
        found = tuple(issues)
        error = cls(found[0].text)
        error.issues = found
        return error

    @property
    def at(self) -> str | None:
        return self.issues[0].at


class Malformed(YilianError):
    """It cannot be read at all: broken JSON, XML, ER7 or DICOM."""

    code = "structure"


class Invalid(YilianError):
    """It was read, but breaks a rule: value, required, invariant, code-invalid, business-rule."""

    code = "value"


class Unprocessable(Invalid):
    """Readable and valid R4, but against a profile, a guard rule or terminology content."""

    code = "business-rule"


class NotSupported(YilianError):
    """A type, parameter, method, format or message that this server does not offer."""

    code = "not-supported"


class UnknownParameter(NotSupported):
    """A search parameter that the type does not have."""


class MethodNotAllowed(NotSupported):
    """The address exists, but not with this method."""


class NotAcceptable(NotSupported):
    """None of the formats asked for can be produced."""


class UnsupportedMediaType(NotSupported):
    """The body comes in a format that cannot be read."""


class NotFound(YilianError):
    code = "not-found"


class UnknownType(NotFound, NotSupported):
    """A resource type or operation that R4 or this server does not know."""

    code = "not-supported"


class Deleted(YilianError):
    """It existed and was deleted."""

    code = "deleted"


class Conflict(YilianError):
    """The state of the store does not allow the change now."""

    code = "conflict"


class PreconditionFailed(Conflict):
    """If-Match, If-None-Match or the criteria of a conditional write do not hold."""


class NotSignedIn(YilianError):
    code = "login"


class Forbidden(YilianError):
    code = "forbidden"


class Misdirected(Forbidden):
    """It was sent to a server of another name."""


class TooMuch(YilianError):
    """Over a limit of size, depth, count or cost."""

    code = "too-long"


class TooCostly(TooMuch):
    """A query or expansion that would cost too much."""

    code = "too-costly"


class Unavailable(YilianError):
    """Not possible right now; the sender should try the same again later."""

    code = "transient"

    def __init__(self, text: str, *, retry_after_s: int = 1, code: str | None = None) -> None:
        super().__init__(text, code=code)
        self.retry_after_s = retry_after_s
