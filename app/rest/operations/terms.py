"""How the terminology operations are called: inputs, what the request brings along, refusals.

An operation of `app/terminology` takes a `Call` and returns a resource; here is what makes a
`Call` of a request. Refusals are answered with the OperationOutcome that terminology clients know:
message ids and issue types of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from app.errors import Invalid, YilianError
from app.fhir import json, validate
from app.rest import problems
from app.rest.exchange import Reply, Request
from app.rest.operations.call import Operation, core, inputs
from app.rest.services import Hub
from app.terminology import issues
from app.terminology.call import Call
from app.terminology.lookup import NotKnown
from app.terminology.scope import Scope
from app.terminology.types import Json

Run = Callable[[Call], Json]

_RESOURCES = ("codeSystem", "conceptMap", "valueSet", "thisValueSet", "otherValueSet")
_KINDS = frozenset(("CodeSystem", "ConceptMap", "ValueSet"))
# What reading a resource of another shape than FHIR's ends in.
_MISSHAPEN = (AttributeError, KeyError, TypeError, ValueError)


def operation(
    run: Run | Mapping[str, Run],
    definition: str,
    *,
    types: Sequence[str] = (),
    levels: Sequence[str] = ("type",),
    subject: Mapping[str, str] | None = None,
) -> Operation:
    """Return the operation that `run` carries out, or the one for the resource type.

    definition: its url, or the name of one of R4's. subject: resource type -> the parameter that
    stands for the resource of an instance-level call.
    """

    def answer(hub: Hub, request: Request) -> Reply:
        chosen = run[request.type] if isinstance(run, Mapping) else run
        return answered(hub, request, chosen, (subject or {}).get(request.type))

    url = definition if "://" in definition else core(definition)
    return Operation(answer, url, frozenset(levels), frozenset(types))


def answered(hub: Hub, request: Request, run: Run, subject: str | None = None) -> Reply:
    """Run an operation, or say why it cannot be run."""
    try:
        given = dict(inputs(request))
        if request.id and subject:
            given[subject] = [json.load(hub.store.read(request.type, request.id).body)]
        try:
            answer = run(call(hub, request, given))
        except _MISSHAPEN as exc:
            raise _misshapen(hub, request, given) or exc from exc
    except YilianError as error:
        return refused(error, _language(request))
    return Reply(200, orjson.dumps(answer))


def _misshapen(
    hub: Hub, request: Request, given: Mapping[str, Sequence[Any]]
) -> YilianError | None:
    """Return what is wrong with the resources that came along, None when it is our fault.

    They are not checked beforehand: many are sent that a request does not need.
    """
    sent = [
        *hub.terminology.remembered.resources(given, request.header("X_CACHE_ID")),
        *(r for name in _RESOURCES for r in given.get(name, ()) if isinstance(r, dict)),
    ]
    found = [
        issue
        for resource in sent
        if (kind := str(resource.get("resourceType"))) in _KINDS
        for issue in validate.problems(resource, kind)
    ]
    return Invalid.of(found) if found else None


def refused(error: YilianError, language: str = "en") -> Reply:
    """Return the answer to an operation that cannot be carried out. Raises faults again."""
    status = 404 if isinstance(error, NotKnown) else problems.status(error)
    if status >= 500:
        raise error
    return Reply(status, orjson.dumps(issues.outcome_of(error, language)))


def call(hub: Hub, request: Request, given: Mapping[str, Sequence[Any]]) -> Call:
    """Return what an operation is given of a request."""
    scope = hub.terminology.catalogue(given, cache_id=request.header("X_CACHE_ID"))
    limit = request.header("X_TOO_COSTLY_THRESHOLD")
    return Call(
        given,
        scope,
        accept_language=request.header("ACCEPT_LANGUAGE"),
        limit=int(limit) if limit and limit.isdecimal() else None,
    )


def _language(request: Request) -> str:
    """Return the language of a refusal, which may come before there is a `Call`."""
    return Call({}, Scope(()), request.header("ACCEPT_LANGUAGE")).message_language
