"""The Expression Constraint Language of SNOMED CT, ECL 2, on any system with sets of concepts.

Constraint operators, reference sets, compound expressions, refinements with groups, cardinality,
reversed and dotted attributes, concrete values. Left out: filters in `{{ }}`, the fields of
reference sets, history supplements, alternate identifiers and the operators for the top and the
bottom of a set; they are refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.terminology.ecl.evaluate import Concepts, Evaluation
from app.terminology.ecl.parse import parse

__all__ = ["Concepts", "contains", "expand", "members", "parse"]


def members(system: Concepts, text: str) -> int:
    """Return the concepts that an expression selects, as a set. Raises Unprocessable."""
    return Evaluation(system).members(parse(text))


def expand(system: Concepts, text: str) -> Iterator[str]:
    """Yield the codes that an expression selects, in the system's order. Raises Unprocessable."""
    return system.codes(members(system, text))


def contains(system: Concepts, text: str, code: str) -> bool:
    """Whether an expression selects a code, without selecting all. Raises Unprocessable."""
    return Evaluation(system).has(parse(text), code)
