"""$subsumes: R4 codesystem-operation-subsumes.html.

Whether one concept of a code system is another one, above it, or below it. Every parent counts, but
only in systems whose hierarchy means is-a; one that does not say is taken to mean it.
"""

from __future__ import annotations

from app.errors import Invalid, NotFound, Unprocessable
from app.terminology.call import Call
from app.terminology.types import Json, System


def subsumes(call: Call) -> Json:
    """Return Parameters with the outcome: equivalent, subsumes, subsumed-by or not-subsumed.

    Raises NotFound for a system or a code that is not known, Invalid without two codes of one
    system.
    """
    one, other = _asked(call, "A"), _asked(call, "B")
    if one[0] != other[0]:
        raise Invalid("Both codes have to be of the same code system", at="http.system")
    version = call.text("version") or one[2] or other[2]
    system = call.scope.system(one[0], version)
    if system is None:
        raise NotFound("The code system is not known here", at="http.system")
    said = outcome(system, _known(system, one[1], "A"), _known(system, other[1], "B"))
    return {"resourceType": "Parameters", "parameter": [{"name": "outcome", "valueCode": said}]}


def outcome(system: System, one: str, other: str) -> str:
    """Return how two known codes of a system stand to each other."""
    if one == other:
        return "equivalent"
    if system.header.get("hierarchyMeaning", "is-a") != "is-a":
        raise Unprocessable(
            "The hierarchy of the code system does not say which concept is a kind of which",
            code="not-supported",
        )
    if system.is_a(other, one):
        return "subsumes"
    return "subsumed-by" if system.is_a(one, other) else "not-subsumed"


def _asked(call: Call, letter: str) -> tuple[str, str, str | None]:
    """Return system, code and version of one of the two."""
    code, coding = call.text(f"code{letter}"), call.object(f"coding{letter}") or {}
    system = call.text("system") or (call.object("codeSystem") or {}).get("url")
    found = (coding.get("system") or system, coding.get("code") or code)
    if not isinstance(found[1], str):
        raise Invalid("Two codes are needed", at=f"http.code{letter}", code="required")
    if not isinstance(found[0], str):
        raise Invalid("The system of the codes is needed", at="http.system", code="required")
    return found[0], found[1], coding.get("version")


def _known(system: System, code: str, letter: str) -> str:
    found = system.find(code)
    if found is None:
        raise NotFound("The code is not known in the code system", at=f"http.code{letter}")
    return found.code
