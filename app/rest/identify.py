"""`/id`: what a code is, and what is registered under it. identifiers.md sections 2 and 7.

Any code gets an answer with status 200: that it cannot be read, or that nobody is registered under
it, is the answer. `resolved` holds the resources that carry the code at the finest level anybody
carries it; of a device it tells in the same answer what it measured, on whom, and whose it is.

A plain `GET /id?code=` is answered without Flask, whose own cost is more than that of the answer,
and what a code is, is remembered: the same codes are scanned again and again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson
from flask import Blueprint, Response, request

from app.clock import from_us
from app.errors import Deleted, Invalid, Malformed, NotFound, TooMuch, YilianError
from app.fhir import dates, definitions
from app.fhir.display import display, value
from app.registry import Parsed, parse
from app.registry.naming import Naming
from app.registry.peers import DEADLINE, HOP, Question
from app.rest.exchange import parse_query
from app.rest.services import Hub, Store
from app.store.entries import local_reference
from app.store.resolve import Around, Guess, Thing, Wanted
from app.store.types import Stored

LISTED = 10  # observations told with a device
COUNTED = 1000  # how far they are counted
USES = 5  # statements of use told with a device
_RESOURCES = 20  # resources told of one code
_CODES = 10_000  # codes in one request
_LINES = ("application/x-ndjson", "application/jsonl", "application/ndjson")
_REMEMBERED = 4096  # codes whose reading is kept
_REMEMBERED_LENGTH = 256
_KEPT_BYTES = 4096  # of a resource; waves and attachments may have megabytes
_READINGS = 8192  # readings of devices, and those they are about, that are kept as they are told
_DAY_S = 86400
# Headers of requests of other hubs.
_UNUSUAL = tuple("HTTP_" + name.upper().replace("-", "_") for name in (HOP, DEADLINE))
_CACHING = ("Cache-Control", "private, no-cache")

Json = dict[str, Any]
Environ = Mapping[str, Any]


def plain(resolver: Resolver) -> Callable[[Environ], bytes | None]:
    """Return what answers a plain `GET /id` as JSON; None for all that is not quite so plain."""

    def answer(environ: Environ) -> bytes | None:
        if environ["REQUEST_METHOD"] != "GET" or any(name in environ for name in _UNUSUAL):
            return None
        try:
            asked = dict(reversed(parse_query(environ.get("QUERY_STRING", ""))))
            return _dumped(resolver.answer(asked)) if "code" in asked else None
        except YilianError:
            return None  # the other way tells what is wrong

    return answer


def headers(body: bytes) -> list[tuple[str, str]]:
    """Return the headers of an answer of `plain`."""
    return [("Content-Type", "application/json"), ("Content-Length", str(len(body))), _CACHING]


def blueprint(resolver: Resolver) -> Blueprint:
    """Return the routes of the resolver."""
    routes = Blueprint("identify", __name__)

    def question() -> Question:
        return Question.received(request.headers.get(HOP), request.headers.get(DEADLINE))

    @routes.get("/id")
    def one() -> Response:
        asked = request.args
        if "code" not in asked:
            raise Invalid("say which code: /id?code=", at="http.code", code="required")
        return _json(resolver.answer(dict(asked.items()), question()))

    @routes.post("/id")
    def many() -> Response:
        body, late = request.get_data(), question()
        if request.mimetype in _LINES:
            lines = [line for line in body.splitlines() if line.strip()]
            answers = [resolver.answer_or_refusal(_line(line), late) for line in _bounded(lines)]
            written = b"".join(_dumped(answer) + b"\n" for answer in answers)
            return _response(written, "application/x-ndjson")
        asked = _parsed(body)
        if isinstance(asked, list):
            return _json([resolver.answer_or_refusal(each, late) for each in _bounded(asked)])
        if not isinstance(asked, dict) or not isinstance(asked.get("code"), str):
            raise Invalid("a JSON object with a `code` is needed", at="$.code", code="required")
        return _json(resolver.answer(asked, late))

    return routes


class Resolver:
    """Answers codes from the store of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._naming = Naming(hub.store)
        self._peers = hub.http.peers
        self._guesses: dict[str, Guess] = {}

    def answer_or_refusal(self, asked: Any, question: Question) -> Json:
        """Answer one of many: what is no request is told in its place."""
        if not isinstance(asked, dict) or not isinstance(asked.get("code"), str):
            return _refused("no JSON object with a code")
        try:
            return self.answer(asked, question)
        except Invalid as exc:
            return _refused(str(exc))

    def answer(self, asked: Mapping[str, Any], question: Question | None = None) -> Json:
        """Return what a code is and who carries it; `at` asks for a time in the past.

        What nobody here carries is asked of the hub that owns it, as it is there now.
        """
        at = self._time(asked.get("at"))
        hint = asked.get("as")
        parsed, told = _read(asked["code"], str(hint) if hint else None, at[0] if at else None)
        out = {"n": asked["n"]} if "n" in asked else {}
        out |= told
        out["resolved"] = list(self._resolved(parsed, at[1] if at else None))
        if self._peers is not None and not out["resolved"] and at is None:
            asking = question or Question.received(None, None)
            out |= self._peers.resolve(parsed, asking, str(hint) if hint else None) or {}
        return out

    def _time(self, text: Any) -> tuple[datetime, int] | None:
        """Return the end of the time asked for, for codes and in microseconds for the store."""
        if text is None or text == "":
            return None
        try:
            _, end = dates.bounds(str(text).replace(" ", "+"), self._hub.http.zone)
        except Invalid as exc:
            raise Invalid("`at` is a FHIR date or dateTime", at="http.at") from exc
        return from_us(end - 1), end - 1

    def _resolved(self, parsed: Parsed, at_us: int | None) -> Iterator[Json]:
        store = self._hub.store
        for key in _by_preference(parsed):
            spelled = self._naming.spellings(key)
            guess = self._guesses.get(key) if at_us is None else None
            around: Around | None = None
            if guess is None:
                found = store.things(spelled, limit=_RESOURCES)
            else:
                found, around = store.things_and_around(
                    spelled, _OF_A_DEVICE, guess, limit=_RESOURCES
                )
            if found:
                if len(found) == 1 and around is None and at_us is None:
                    self._guess(key, found[0])
                for thing in found:
                    then = thing.stored if at_us is None else _as_of(store, thing.stored, at_us)
                    if then is not None:
                        yield _told(store, Thing(then, thing.pks), key, at_us, around)
                return

    def _guess(self, key: str, thing: Thing) -> None:
        """Remember what a code leads to: it is asked for again, and then all is read at once."""
        if thing.stored.type == "Device":
            if len(self._guesses) >= _REMEMBERED:
                self._guesses.clear()
            self._guesses[key] = Guess(thing.pks, _named(orjson.loads(thing.stored.body)))


def _read(code: str, hint: str | None, at: datetime | None) -> tuple[Parsed, Json]:
    if at is None and len(code) <= _REMEMBERED_LENGTH:
        return _remembered(code, hint, int(time.time()) // _DAY_S)
    parsed = parse(code, as_=hint, at=at)
    return parsed, parsed.as_dict()


@lru_cache(maxsize=_REMEMBERED)
def _remembered(code: str, hint: str | None, day: int) -> tuple[Parsed, Json]:
    """Return what a code is on a day: whether it has expired depends on it."""
    parsed = parse(code, as_=hint)
    return parsed, parsed.as_dict()


def _by_preference(parsed: Parsed) -> Iterable[str]:
    """Return the keys to look up: finest first, then those of the other readings.

    A reading that is registered beats one that is likelier (identifiers.md 2.2).
    """
    others = (one.canonical for one in parsed.candidates if one.canonical is not None)
    return dict.fromkeys((*reversed(parsed.keys), *others))


def _as_of(store: Store, stored: Stored, at_us: int) -> Stored | None:
    """Return the version that was current at a time, None when there was none."""
    page = store.history(stored.type, stored.id, at=(at_us, at_us + 1), count=1)
    return next((one for one in page.versions if not one.deleted), None)


def _told(
    store: Store, thing: Thing, key: str, at_us: int | None, around: Around | None = None
) -> Json:
    stored = thing.stored
    resource = orjson.loads(stored.body)
    told = _summary(stored.type, stored.id, resource) | {"key": key}
    more = _MORE.get(stored.type)
    return told | more(store, thing, resource, at_us, around) if more else told


def _summary(type_: str, id_: str, resource: Mapping[str, Any]) -> Json:
    told = {"resource": f"{type_}/{id_}", "type": type_, "id": id_, "display": display(resource)}
    return {name: text for name, text in told.items() if text is not None}


# --- devices -------------------------------------------------------------------------------------


_OF_A_DEVICE = (
    Wanted("Observation", "device", LISTED, COUNTED, patients=True),
    Wanted("DeviceUseStatement", "device", USES, USES),
)


def _named(device: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a device refers to and is told with it."""
    return [
        each
        for name in ("patient", "owner")
        if (each := _local(device.get(name))) and definitions.is_resource_type(each[0])
    ]


def _of_device(
    store: Store,
    thing: Thing,
    device: Mapping[str, Any],
    at_us: int | None,
    around: Around | None,
) -> Json:
    """Return what a device measured (newest first), the patient it is on, and its owner."""
    around = around or store.around(thing, _OF_A_DEVICE, _named(device), until_us=at_us)
    found = around.referring["Observation"]
    listed = [_reading(each) for each in found.newest]
    more = found.count >= COUNTED
    told: Json = {"observations": {"total": found.count, "more": more, "listed": listed}}
    stated = around.referring["DeviceUseStatement"].newest
    uses = [(each, orjson.loads(each.body)) for each in stated]
    if uses:
        told["uses"] = [_use(each, statement) for each, statement in uses]
    patient = (
        device.get("patient")
        or next((s["subject"] for _, s in uses if _is_in_use(s)), None)
        or next(({"reference": each["subject"]} for each in listed if _on_patient(each)), None)
    )
    for name, reference in (("patient", patient), ("owner", device.get("owner"))):
        if reference:
            told[name] = _followed(store, reference, around.read)
    return told


def _use(stored: Stored, statement: Mapping[str, Any]) -> Json:
    """Return on whom and when a device is used (R4 deviceusestatement.html)."""
    period = statement.get("timingPeriod") or {}
    told = _summary(stored.type, stored.id, statement)
    told["status"] = statement.get("status")
    told["subject"] = (statement.get("subject") or {}).get("reference")
    told["start"] = period.get("start") or statement.get("timingDateTime")
    told["end"] = period.get("end")
    return {name: text for name, text in told.items() if text is not None}


def _is_in_use(statement: Mapping[str, Any]) -> bool:
    ended = "end" in (statement.get("timingPeriod") or {})
    return (
        statement.get("status") == "active" and not ended and _is_patient(statement.get("subject"))
    )


def _reading(stored: Stored) -> Json:
    """Return what is told of an Observation."""
    return _known_reading(stored) if len(stored.body) <= _KEPT_BYTES else _read_reading(stored)


def _read_reading(stored: Stored) -> Json:
    observation = orjson.loads(stored.body)
    told = _summary(stored.type, stored.id, observation)
    effective = observation.get("effectivePeriod") or {}
    told["effective"] = (
        observation.get("effectiveDateTime")
        or observation.get("effectiveInstant")
        or effective.get("start")
    )
    told["value"] = value(observation)
    told["subject"] = (observation.get("subject") or {}).get("reference")
    return {name: text for name, text in told.items() if text is not None}


# The same for as long as it is the same version.
_known_reading = lru_cache(maxsize=_READINGS)(_read_reading)


def _on_patient(reading: Json) -> bool:
    return str(reading.get("subject")).startswith("Patient/")


def _is_patient(reference: Any) -> bool:
    return isinstance(reference, dict) and str(reference.get("reference")).startswith("Patient/")


def _target(stored: Stored) -> Json:
    """Return what is told of a resource that a device refers to."""
    return _known_target(stored) if len(stored.body) <= _KEPT_BYTES else _read_target(stored)


def _read_target(stored: Stored) -> Json:
    return _summary(stored.type, stored.id, orjson.loads(stored.body))


_known_target = lru_cache(maxsize=_READINGS)(_read_target)


def _followed(
    store: Store, reference: Mapping[str, Any], known: Mapping[tuple[str, str], Stored]
) -> Json:
    """Return what a reference leads to; what is not here stays as it is written."""
    local = _local(reference)
    if local is not None:
        try:
            target = known.get(local) or store.read(*local)
        except (NotFound, Deleted):
            return dict(reference)
        return _target(target)
    return dict(reference)


def _local(reference: Any) -> tuple[str, str] | None:
    """Return type and id of a reference to something of this hub."""
    text = reference.get("reference") if isinstance(reference, dict) else None
    return local_reference(text) if isinstance(text, str) else None


# What is told beyond the resource itself.
_MORE = {"Device": _of_device}


# --- bodies --------------------------------------------------------------------------------------


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError:
        pass
    try:
        return json.loads(body)  # JSON allows an escaped lone surrogate, the fast reader does not
    except (ValueError, RecursionError) as exc:
        raise Malformed("the body is not JSON") from exc


def _line(line: bytes) -> Any:
    try:
        return _parsed(line)
    except Malformed:
        return None


def _bounded(asked: list[Any]) -> list[Any]:
    if len(asked) > _CODES:
        raise TooMuch(f"more than {_CODES} codes in one request")
    return asked


def _refused(text: str) -> Json:
    problem = {"code": "format", "message": text}
    nothing: Json = {"keys": [], "fields": {}, "candidates": [], "errors": [problem]}
    return {"valid": False, "scheme": "unknown", **nothing, "warnings": [], "resolved": []}


def _dumped(answer: Any) -> bytes:
    try:
        return orjson.dumps(answer)
    except orjson.JSONEncodeError:  # a lone surrogate, which UTF-8 cannot hold
        return json.dumps(answer, separators=(",", ":")).encode()


def _json(answer: Any) -> Response:
    return _response(_dumped(answer), "application/json")


def _response(body: bytes, content_type: str) -> Response:
    response = Response(body, 200, content_type=content_type)
    response.headers.add(*_CACHING)
    return response
