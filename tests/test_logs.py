"""Logs carry facts by allowed names, and never a value of the input."""

import io
import json
import logging
import os
import sys
import threading
import warnings

import pytest

from app import logs
from app.errors import Malformed

MARKER = "Zhang-Marker-San"


@pytest.fixture
def written():
    """Configure logging into a buffer; gives a function that reads the lines so far."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    hooks = sys.excepthook, threading.excepthook
    stream = io.StringIO()
    logs.configure(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.captureWarnings(capture=False)
    root.handlers[:], level = before
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks


def test_a_line_has_time_level_event_and_the_allowed_fields(written):
    logging.getLogger("app.feeds").info(
        "inbox.accepted", extra={"feed": "hl7v2", "size_bytes": 812, "took_ms": 1.5}
    )

    (line,) = written()
    assert line.pop("at").endswith("+00:00")
    assert line.pop("pid") == os.getpid()
    assert line == {
        "level": "info",
        "event": "inbox.accepted",
        "logger": "app.feeds",
        "feed": "hl7v2",
        "size_bytes": 812,
        "took_ms": 1.5,
    }


def test_other_fields_long_values_and_structures_are_dropped(written):
    extra = {"patient": MARKER, "status": {"name": MARKER}, "code": MARKER * 50}
    logging.getLogger("app.x").warning("thing.happened", extra=extra)

    assert MARKER not in json.dumps(written())


def test_a_foreign_exceptions_text_is_left_out_and_ours_is_kept(written):
    try:
        try:
            int(MARKER)
        except ValueError as exc:
            raise Malformed("PID-7: 9 characters, not a date") from exc
    except Malformed:
        logging.getLogger("app.x").exception("door.fault")

    (line,) = written()
    assert [part["type"] for part in line["exception"]] == ["Malformed", "ValueError"]
    assert line["exception"][0]["text"] == "PID-7: 9 characters, not a date"
    assert "/tests/test_logs.py:" in line["exception"][0]["where"][-1]
    assert MARKER not in json.dumps(line)


def test_a_librarys_text_and_a_warnings_text_are_left_out(written):
    logging.getLogger("pynetdicom.acse").error("got %s", MARKER)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(MARKER, stacklevel=1)

    events = written()
    assert [line["event"] for line in events][:1] == ["library.message"]
    assert MARKER not in json.dumps(events)
