"""`yilian id trace CODE`: what a code is linked with, read from the database of a hub.

The hub may be running meanwhile. Exit status 1 when nothing carries the code.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import IO
from zoneinfo import ZoneInfo

import orjson

from app import settings
from app.errors import Invalid, Unavailable
from app.fhir import dates
from app.registry import drawing, traced
from app.registry.links import rules_of
from app.registry.trace import DEPTH_MAX, DIRECTIONS, NODES, NODES_MAX, Asked, Trace, follow, starts
from app.store import schema
from app.store.database import SQLITE, Address, connect
from app.store.graph import Graph

_WRITERS: Mapping[str, Callable[[Trace], str]] = {
    "text": lambda found: "".join(f"{line}\n" for line in traced.lines(found)),
    "json": lambda found: orjson.dumps(traced.as_json(found)).decode() + "\n",
    "csv": traced.as_csv,
    "svg": lambda found: drawing.as_svg(found) + "\n",
}


def main(argv: Sequence[str], stdin: IO[bytes], stdout: IO[str]) -> int:
    """Run the command and return its exit status."""
    given = _parser().parse_args(argv)
    chosen = settings.gather(vars(given))
    zone = ZoneInfo(chosen.time_zone)
    high = _bound(given.until, zone, 1, dates.OPEN_HIGH)
    asked = Asked(
        direction=given.direction,
        between=(
            _bound(given.since, zone, 0, dates.OPEN_LOW),
            min(high, _bound(given.at, zone, 1, dates.OPEN_HIGH)),
        ),
        kinds=[name for name in given.kinds.split(",") if name] or None,
        depth=min(given.depth, DEPTH_MAX),
        nodes=min(given.count, NODES_MAX),
    )
    address = Address(chosen.database)
    if address.dialect == SQLITE and not address.path.is_file():
        raise Unavailable(f"there is no database at {address.path}")
    with contextlib.closing(connect(address)) as db:
        schema.require_current(db)
        graph = Graph(db)
        start = starts(graph, given.code, given.scheme)
        if not start:
            stdout.write("nothing here carries this code, and no link names it\n")
            return 1
        stdout.write(
            _WRITERS[given.format](follow(graph, rules_of(chosen.overlay).kinds, start, asked))
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="yilian id trace",
        description="Follow the links of a code: where a thing came from and where it went.",
        parents=[settings.flags("data", "database_url", "overlay", "time_zone")],
    )
    parser.add_argument("code", metavar="CODE", help="a code as scanned or typed, or Device/123")
    parser.add_argument("--as", dest="scheme", metavar="SCHEME", help="read the code as this")
    parser.add_argument("--direction", choices=DIRECTIONS, default="both")
    parser.add_argument("--at", metavar="TIME", help="leave out what began later")
    parser.add_argument("--from", dest="since", metavar="TIME", help="only what held since then")
    parser.add_argument("--to", dest="until", metavar="TIME", help="only what held until then")
    parser.add_argument("--depth", type=int, default=DEPTH_MAX, help="how many links from the code")
    parser.add_argument("--count", type=int, default=NODES, help="how many things at most")
    parser.add_argument("--kinds", default="", metavar="KIND,...", help="only these kinds of links")
    parser.add_argument("--format", choices=list(_WRITERS), default="text")
    return parser


def _bound(text: str | None, zone: ZoneInfo, side: int, default: int) -> int:
    if not text:
        return default
    try:
        return dates.bounds(text, zone)[side]
    except Invalid as exc:
        raise Invalid("a time is a FHIR date or dateTime: 2026-03-01T08:00:00+08:00") from exc
