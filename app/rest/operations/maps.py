"""$translate, $subsumes, $closure, $compare: how codes and value sets stand."""

from __future__ import annotations

from functools import partial

from app.rest.exchange import Reply, Request
from app.rest.operations import terms
from app.rest.operations.call import Operation, core
from app.rest.services import Hub
from app.terminology import closure, unmapped
from app.terminology.call import Call
from app.terminology.compare import compare
from app.terminology.subsumes import subsumes
from app.terminology.translate import translate
from app.terminology.types import Json


def _translate(hub: Hub, request: Request) -> Reply:
    return terms.answered(hub, request, partial(_translated, hub), "conceptMap")


def _translated(hub: Hub, call: Call) -> Json:
    """Return the translations of a call; codes without one are kept for people to see."""
    answer = translate(call)
    if answer.unmapped:
        unmapped.met(hub.store, answer.unmapped)
    return answer.resource


def _closure(hub: Hub, request: Request) -> Reply:
    return terms.answered(hub, request, partial(closure.closure, hub.store))


TRANSLATE = Operation(
    _translate,
    core("ConceptMap-translate"),
    frozenset(("type", "instance")),
    frozenset(("ConceptMap",)),
)
CLOSURE = Operation(
    _closure,
    core("ConceptMap-closure"),
    frozenset(("system",)),
    methods=("POST",),
    changes=True,
)
SUBSUMES = terms.operation(
    subsumes,
    "CodeSystem-subsumes",
    types=("CodeSystem",),
    levels=("type", "instance"),
    subject={"CodeSystem": "codeSystem"},
)
COMPARE = terms.operation(
    compare,
    "http://hl7.org/fhir/uv/tx-ecosystem/OperationDefinition/ValueSet-compare",
    types=("ValueSet",),
)
