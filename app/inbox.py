"""`yilian inbox`: what was received, what became of it, and another try for what failed.

Works on the database, whether a hub runs on it or not: a running hub takes up replays within a
second, another at its next start. The bytes of a message are patient data; only `show --raw` prints
them, and says so in the log.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import IO, Any
from zoneinfo import ZoneInfo

from app import clock, settings
from app.errors import Invalid, NotFound
from app.feeds import inbox, received
from app.feeds.inbox import Entry, State, Wanted
from app.store import schema
from app.store.database import SQLITE, Address, Connection, connect

log = logging.getLogger(__name__)

_TENANT = 0
_FEEDS = ("hl7v2", "dicom", "iot")


def main(argv: Sequence[str], stdin: IO[bytes], stdout: IO[str]) -> int:
    """List, show, replay or discard; return 1 when an entry could not be moved."""
    args = _parser().parse_args(argv)
    chosen = settings.gather(vars(args))
    address = Address(chosen.database)
    if address.dialect == SQLITE and not address.path.is_file():
        raise NotFound(f"there is no database at {address.path}; --data says where to look")
    with closing(connect(address, write=args.act in (_replay, _discard))) as db:
        schema.require_current(db)
        args.zone = ZoneInfo(chosen.time_zone)
        code: int = args.act(db, args, stdout)
        return code


def _parser() -> argparse.ArgumentParser:
    common = settings.flags("data", "database_url", "time_zone")
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument("--feed", choices=_FEEDS)
    which.add_argument("--state", action="append", choices=sorted(received.STATES), default=[])
    which.add_argument("--source", help="the sender, as its feed names it")
    which.add_argument("--control-id", help="the message's own id (MSH-10)")
    which.add_argument("--since", metavar="TIME", help="received then or later: 2025-03-10T08:00")
    which.add_argument("--until", metavar="TIME", help="received then or earlier: 2025-03-10")
    parser = argparse.ArgumentParser(
        prog="yilian inbox",
        description="Messages received by all feeds, newest first, and what became of them.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    listing = actions.add_parser("list", parents=[common, which], help="entries, a line each")
    listing.add_argument("--count", type=_number, default=20, help="how many [20]")
    listing.add_argument("--before", type=_number, metavar="ID", help="go on after this entry")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.set_defaults(act=_list)

    show = actions.add_parser("show", parents=[common], help="one entry with its issues")
    show.add_argument("id", type=_number)
    show.add_argument("--raw", action="store_true", help="the bytes received (patient data)")
    show.set_defaults(act=_show)

    replay = actions.add_parser(
        "replay",
        parents=[common, which],
        help="apply entries again: by id, or those that --failed or the other flags name",
    )
    replay.add_argument("ids", nargs="*", type=_number, metavar="ID")
    replay.add_argument("--failed", action="store_true", help="all that failed")
    replay.set_defaults(act=_replay)

    discard = actions.add_parser("discard", parents=[common], help="put failed entries aside")
    discard.add_argument("ids", nargs="+", type=_number, metavar="ID")
    discard.add_argument("--reason", required=True, help="why; kept with the entry")
    discard.set_defaults(act=_discard)
    return parser


def _number(text: str) -> int:
    if text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 63:
        return int(text)
    raise argparse.ArgumentTypeError("expected a positive whole number")


def _wanted(args: argparse.Namespace) -> Wanted:
    return received.wanted(
        feed=args.feed,
        source=args.source,
        control_id=args.control_id,
        states=args.state,
        since=args.since,
        until=args.until,
        zone=args.zone,
        at="--",
    )


def _list(db: Connection, args: argparse.Namespace, stdout: IO[str]) -> int:
    for entry in inbox.page(db, _TENANT, _wanted(args), count=args.count, before=args.before):
        if args.json:
            stdout.write(json.dumps(_facts(entry), ensure_ascii=False) + "\n")
            continue
        row = (
            entry.id,
            clock.instant(entry.received_us),
            entry.state.name.lower(),
            entry.feed,
            entry.kind,
            entry.source,
            entry.control_id,
            entry.issues[0].text if entry.issues else "",
        )
        stdout.write("\t".join(map(str, row)).rstrip() + "\n")
    return 0


def _show(db: Connection, args: argparse.Namespace, stdout: IO[str]) -> int:
    entry = inbox.get(db, _TENANT, args.id)
    if not args.raw:
        stdout.write(json.dumps(_facts(entry), ensure_ascii=False, indent=2) + "\n")
        return 0
    log.warning("inbox.shown", extra={"inbox_id": entry.id, "feed": entry.feed})
    stdout.flush()
    stdout.buffer.write(entry.raw)  # type: ignore[attr-defined]
    return 0


def _replay(db: Connection, args: argparse.Namespace, stdout: IO[str]) -> int:
    wanted = _wanted(args)
    by_flags = args.failed or wanted != Wanted()
    if bool(args.ids) == by_flags:
        raise Invalid("say which entries to replay: their ids, or --failed, --source, --since ...")
    ids = list(args.ids)
    if by_flags:
        if args.failed:
            wanted = replace(wanted, states=())  # those that failed
        ids = received.to_replay(db, _TENANT, wanted)
    return _moved(db, ids, State.REPLAY, None, stdout)


def _discard(db: Connection, args: argparse.Namespace, stdout: IO[str]) -> int:
    return _moved(db, args.ids, State.DISCARDED, args.reason, stdout)


def _moved(
    db: Connection, ids: Sequence[int], to: State, reason: str | None, stdout: IO[str]
) -> int:
    count = received.move_all(db, _TENANT, ids, to, reason=reason)
    stdout.write(f"{count} of {len(ids)} entries: {to.name.lower()}\n")
    return 0 if count == len(ids) else 1


def _facts(entry: Entry) -> dict[str, Any]:
    """Return an entry without its bytes and answers."""
    return {
        "id": entry.id,
        "received": clock.instant(entry.received_us),
        "state": entry.state.name.lower(),
        "feed": entry.feed,
        "source": entry.source,
        "peer": entry.peer,
        "kind": entry.kind,
        "control_id": entry.control_id,
        "repeats": entry.repeats,
        "issues": [
            {"severity": i.severity, "code": i.code, "text": i.text, "at": i.at}
            for i in entry.issues
        ],
        "touched": list(entry.touched),
    }
