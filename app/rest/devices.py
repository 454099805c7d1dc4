"""`POST /iot/{mapping}`: device messages over HTTP. iot.md section 1.

202 with a receipt for each entry of the inbox when all messages are safe (those of one body that
can be told as one are one entry), 200 when all of them were here before, 400 for a body without a
message, 404 for an unknown mapping, 413 over the limit of size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import orjson
from flask import Blueprint, Response, request

from app.errors import Malformed, NotFound, TooMuch, YilianError

_LINES = frozenset(("application/x-ndjson", "application/ndjson", "application/jsonl"))


class Intake(Protocol):
    """Reads the messages of a body and makes them safe."""

    def knows(self, mapping: str) -> bool: ...

    def take(
        self, body: bytes, mapping: str, peer: str, *, lines: bool | None
    ) -> Sequence[tuple[int, str, int, YilianError | None]]:
        """Return id, state, number of messages and problem of each entry of the inbox.

        Raises Malformed or TooMuch when nothing in the body is a message, Unavailable.
        """
        ...


def blueprint(intake: Intake, max_bytes: int) -> Blueprint:
    """Return the route of the device door."""
    routes = Blueprint("devices", __name__)

    @routes.post("/iot/<mapping>")
    def take(mapping: str) -> Response:
        if not intake.knows(mapping):
            raise NotFound("there is no device mapping of that name", at="http.mapping")
        if (request.content_length or 0) > max_bytes:
            raise TooMuch("the body is larger than allowed")
        body = request.get_data()
        if not body.strip():
            raise Malformed("the body is empty")
        lines = True if request.mimetype in _LINES else None
        receipts = intake.take(body, mapping, request.remote_addr or "", lines=lines)
        seen = all(state == "duplicate" for _, state, _, _ in receipts)
        answer = {"receipts": [_receipt(*receipt) for receipt in receipts]}
        return Response(orjson.dumps(answer), 200 if seen else 202, content_type="application/json")

    return routes


def _receipt(id_: int, state: str, count: int, problem: YilianError | None) -> dict[str, Any]:
    told: dict[str, Any] = {"id": id_, "state": state, "messages": count}
    if problem is not None:
        told["problem"] = str(problem)
    return told
