"""What operators and their tools ask: /healthz, /readyz, /metrics.

healthz says that this process answers at all; readyz that every listener accepts and the store
can be read, so that a balancer may send work; metrics is the Prometheus text format 0.0.4.
"""

from __future__ import annotations

import orjson
from flask import Blueprint, Response

from app.rest.services import Hub

_METRICS = "text/plain; version=0.0.4; charset=utf-8"


def blueprint(hub: Hub) -> Blueprint:
    """Return the routes for operators."""
    ops = Blueprint("ops", __name__)

    @ops.get("/healthz")
    def healthz() -> Response:
        return _said(200, {"status": "ok"})

    @ops.get("/readyz")
    def readyz() -> Response:
        missing = list(hub.not_ready())
        if missing:
            return _said(503, {"status": "starting", "waiting_for": missing})
        return _said(200, {"status": "ok"})

    @ops.get("/metrics")
    def metrics() -> Response:
        return Response(hub.metrics(), content_type=_METRICS)

    return ops


def _said(status: int, content: dict[str, object]) -> Response:
    response = Response(orjson.dumps(content), status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
