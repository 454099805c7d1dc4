"""Logs without patients: JSON lines on standard error.

A message is a constant (`inbox.accepted`), facts are fields. Only the field names listed here are
written, and only plain short values; anything else is dropped, so that no value of a message or
resource can slip into a log. An exception is written as its type and the places it passed; its
text only when it is one of ours (`app/errors.py`) or the system's, because other texts repeat their
input.
Libraries' messages are written as a fact ("this logger warned") without their text.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TextIO

from app.errors import YilianError

FIELDS = frozenset(
    {
        # which entry, request, process or listener
        "inbox_id", "request_id", "control_id", "feed", "listener", "address",
        "mapping", "rule", "command", "backend", "method", "route", "state",
        # what and how it went
        "code", "details", "status", "resource_type", "operation", "issue", "version",
        # how much and how long
        "count", "changes", "size_bytes", "took_ms", "wait_ms", "queue", "attempt",
        "exit_code", "limit", "workers", "done", "total",
    }
)  # fmt: skip

LONGEST = 200  # characters of a field's value: longer ones are input, not facts

_OURS = ("app", "yilian")
_TEXT_IS_SAFE = ("_granian",)  # the HTTP server's own life: workers, addresses


class JsonLines(logging.Formatter):
    """One record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": _event(record),
            "logger": record.name,
            "pid": record.process,
        }
        for name in FIELDS & record.__dict__.keys():
            value = record.__dict__[name]
            if isinstance(value, str):
                value = str(value)
                if len(value) > LONGEST:
                    continue
            elif not isinstance(value, int | float):
                continue
            line[name] = value
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = describe(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


def configure(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send all logs, warnings and unhandled errors of this process to `stream` as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)
    sys.excepthook = _unhandled
    threading.excepthook = lambda args: _unhandled(
        args.exc_type, args.exc_value, args.exc_traceback
    )


def describe(exc: BaseException) -> list[dict[str, object]]:
    """Return an exception and what led to it, innermost cause last, without any value."""
    chain: list[dict[str, object]] = []
    current: BaseException | None = exc
    while current is not None and len(chain) < 10:
        entry: dict[str, object] = {
            "type": type(current).__qualname__,
            "where": [
                f"{_short(frame.filename)}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(current.__traceback__)[-12:]
            ],
        }
        if isinstance(current, YilianError | ImportError):  # what ours say, and names of modules
            entry["text"] = str(current)
        elif isinstance(current, OSError) and current.strerror:
            entry["text"] = current.strerror
        chain.append(entry)
        current = current.__cause__ or current.__context__
    return chain


def _event(record: logging.LogRecord) -> str:
    logger = record.name.partition(".")[0]
    if logger in _OURS:
        return str(record.msg)  # never with arguments filled in
    if logger in _TEXT_IS_SAFE:
        return record.getMessage().partition("\n")[0][:LONGEST]
    return "library.message"


def _short(filename: str) -> str:
    return "/".join(Path(filename).parts[-3:])


def _unhandled(
    kind: type[BaseException], exc: BaseException | None, tb: TracebackType | None
) -> None:
    if exc is None or issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    logging.getLogger("app").critical("process.fault", exc_info=(kind, exc, tb))
