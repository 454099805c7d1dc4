"""Says whether a resource is valid R4: a fast pass and a diagnostic pass with one verdict.

Checked: names, JSON kinds, cardinalities, choices, lexical rules, primitive extensions, required
bindings that can be listed, reference targets, contained and nested resources, narrative. Not
checked here: FHIRPath invariants (but for those that `rules` names), profiles, extensible
bindings. The fast pass is compiled by `validators`; `diagnose` says what is wrong and where.
"""

from __future__ import annotations

from typing import Any

from app.errors import Issue, Malformed
from app.fhir import diagnose, validators

Json = dict[str, Any]


def check(resource: Json, type_name: str) -> bool:
    """Say whether the resource is a valid R4 resource of that type.

    Raises NotFound for a type that R4 does not have and Malformed when it is nested too deeply.
    """
    try:
        return validators.check(resource, type_name)
    except validators.TooVaried:
        return not problems(resource, type_name)
    except RecursionError as exc:
        raise Malformed(diagnose.TOO_DEEP) from exc


def problems(resource: Json, type_name: str) -> list[Issue]:
    """Return everything that is wrong with the resource, with the place of each; [] if valid.

    Raises as `check` does.
    """
    return diagnose.problems(resource, type_name)
