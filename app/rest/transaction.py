"""Transaction: all entries or none. R4 http.html#trules.

The writes become one change set in the order DELETE, POST, PUT, PATCH; ids, references and
conditions are the store's work. GET and HEAD entries see the result, so what can be wrong with
them is found out before anything is written. They are answered after the commit: of a resource
that the transaction wrote they show the version it wrote, of all else what is there by then. What
somebody else has deleted in between is that entry's own answer, for the writes are done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from app.errors import Deleted, Invalid, MethodNotAllowed, YilianError
from app.fhir import bundle
from app.rest import (
    create,
    delete,
    entries,
    operations,
    patch,
    problems,
    read,
    route,
    search,
    update,
    write,
)
from app.rest.exchange import Reply, Request
from app.rest.services import Hub
from app.store.types import Change, Outcome, Result

_ORDER = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 3}
_HERE = frozenset((Result.CREATED, Result.UPDATED, Result.UNCHANGED))

# shape and method -> the change it asks for
_CHANGES: Mapping[tuple[str, str], Callable[[Hub, Request], Change]] = {
    ("type", "POST"): lambda _, request: create.change(request),
    ("type", "PUT"): lambda _, request: update.conditional_change(request),
    ("type", "PATCH"): patch.conditional_change,
    ("type", "DELETE"): lambda _, request: delete.conditional_change(request),
    ("instance", "PUT"): lambda _, request: update.change(request),
    ("instance", "PATCH"): patch.change,
    ("instance", "DELETE"): lambda _, request: delete.change(request),
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """One entry with the request it stands for."""

    entry: bundle.Entry
    request: Request
    segments: Sequence[str]
    shape: str

    @property
    def writes(self) -> bool:
        return (self.shape, self.request.method) in _CHANGES


def answers(hub: Hub, outer: Request, sent: Sequence[bundle.SentEntry]) -> Sequence[bundle.Parts]:
    """Return the response entries of a transaction.

    Raises the error of the first entry that cannot be done; then nothing was written.
    """
    asked = [_asked(bundle.entry(index, one), outer) for index, one in enumerate(sent)]
    _refuse_equal_urls(one.entry for one in asked)
    writes = sorted((a for a in asked if a.writes), key=lambda a: _ORDER[a.request.method])
    reads = [a for a in asked if not a.writes]
    for one in reads:
        with entries.Placed(one.entry.index):
            _try(hub, one, writes)
    outcomes = _commit(hub, writes)
    done = {
        one.entry.index: entries.answered(one.request, write.told(hub, one.request, outcome))
        for one, outcome in zip(writes, outcomes, strict=True)
    }
    versions = {(o.type, o.id): o.version_id for o in outcomes if o.result in _HERE}
    for one in reads:
        try:
            with entries.Placed(one.entry.index):
                done[one.entry.index] = entries.answered(one.request, _seen(hub, one, versions))
        except YilianError as error:
            if not writes:
                raise
            done[one.entry.index] = entries.failed(problems.status(error), error)
    return [done[index] for index in sorted(done)]


def _seen(hub: Hub, one: _Asked, versions: Mapping[tuple[str, str], int]) -> Reply:
    """Return the reply to a read: of what the transaction wrote the version it wrote."""
    written = versions.get((one.request.type, one.request.id)) if one.shape == "instance" else None
    if written is None:
        return route.answer(hub, one.request, one.segments)
    return read.of_version(hub, one.request, written)


def _asked(entry: bundle.Entry, outer: Request) -> _Asked:
    with entries.Placed(entry.index):
        request, segments = entries.request_of(entry, outer)
        request.index, request.full_url = entry.index, entry.full_url
        asked = _Asked(entry, request, segments, route.locate(request, segments))
        if not asked.writes and not _only_reads(asked):
            raise MethodNotAllowed("This cannot be part of a transaction", at="request.method")
    return asked


def _only_reads(asked: _Asked) -> bool:
    request = asked.request
    if asked.shape == "operation":
        return not operations.changes(request)
    return request.method in ("GET", "HEAD") or asked.shape == "search"


def _refuse_equal_urls(sent: Iterable[bundle.Entry]) -> None:
    """Refuse a fullUrl that stands twice: R4 bdl-7."""
    seen: set[str] = set()
    for entry in sent:
        if entry.full_url in seen:
            raise Invalid(
                "Two entries have the same fullUrl", at=f"{entry.at}.fullUrl", code="invariant"
            )
        if entry.full_url:
            seen.add(entry.full_url)


def _try(hub: Hub, one: _Asked, writes: Sequence[_Asked]) -> None:
    """Raise what would be wrong with a read; what this transaction writes itself may be missing."""
    request = one.request
    target = (request.type, request.id)
    written = [w.request.method for w in writes if (w.request.type, w.request.id) == target]
    if one.shape == "instance" and written == ["DELETE"]:
        raise Deleted("The transaction itself deletes the resource", at="request.url")
    if one.shape == "instance" and not written:
        hub.store.read(*target)
    elif one.shape in ("version", "history") and not written:
        route.answer(hub, request, one.segments)
    elif one.shape in ("type", "base", "compartment", "search"):
        wanted = search.asked(request)
        few = [pair for pair in wanted.params if pair[0] != "_count"]
        hub.store.search(replace(wanted, params=[*few, ("_count", "1")]))


def _commit(hub: Hub, writes: Sequence[_Asked]) -> Sequence[Outcome]:
    """Commit the writes as one set.

    A patch is computed from the version that was read, as are the matches of a delete of several;
    when another writer was faster, all is computed anew, as for a patch alone.
    """
    if not writes:
        return []

    def attempt() -> Sequence[Outcome]:
        sets = [_changes(hub, one) for one in writes]
        asked = [change for changes in sets for change in changes]
        done = iter(hub.store.commit(asked) if asked else ())
        return [
            delete.one_of(one.request, list(islice(done, len(changes))))
            for one, changes in zip(writes, sets, strict=True)
        ]

    if any(one.request.method == "PATCH" or _deletes_all(hub, one) for one in writes):
        return patch.repeatedly(attempt)
    return attempt()


def _changes(hub: Hub, one: _Asked) -> Sequence[Change]:
    with entries.Placed(one.entry.index):
        if _deletes_all(hub, one):
            return delete.matched_changes(hub, one.request)
        return [_CHANGES[one.shape, one.request.method](hub, one.request)]


def _deletes_all(hub: Hub, one: _Asked) -> bool:
    """Say whether an entry is a conditional delete that may delete several resources."""
    conditional = (one.shape, one.request.method) == ("type", "DELETE")
    return conditional and hub.http.multiple_delete
