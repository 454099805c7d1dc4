"""`yilian inbox`: what was received, what became of it, and another try for what failed.

Works on the database, whether a hub runs on it or not: a running hub takes up replays within a
second, another at its next start. The bytes of a message are patient data; only `show --raw` prints
them, and says so in the log.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import IO, Any

from app import clock, settings
from app.errors import Invalid, NotFound
from app.feeds import inbox
from app.feeds.inbox import Entry, State, Wanted
from app.store import schema
from app.store.database import SQLITE, Address, Connection, connect, transaction

log = logging.getLogger(__name__)

_TENANT = 0
_STATES: Mapping[str, State] = {state.name.lower(): state for state in State}


def main(argv: Sequence[str], stdin: IO[bytes], stdout: IO[str]) -> int:
    """List, show, replay or discard; return 1 when an entry could not be moved."""
    args = _parser().parse_args(argv)
    address = Address(settings.gather(vars(args)).database)
    if address.dialect == SQLITE and not address.path.is_file():
        raise NotFound(f"there is no database at {address.path}; --data says where to look")
    with closing(connect(address, write=args.act in (_replay, _discard))) as db:
        schema.require_current(db)
        code: int = args.act(db, args, stdout)
        return code


def _parser() -> argparse.ArgumentParser:
    common = settings.flags("data", "database_url")
    parser = argparse.ArgumentParser(
        prog="yilian inbox",
        description="Messages received by all feeds, newest first, and what became of them.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    listing = actions.add_parser("list", parents=[common], help="entries, a line each")
    listing.add_argument("--feed", help="hl7v2, dicom or iot")
    listing.add_argument("--state", action="append", choices=sorted(_STATES), default=[])
    listing.add_argument("--source", help="the sender, as its feed names it")
    listing.add_argument("--control-id", help="the message's own id (MSH-10)")
    listing.add_argument("--count", type=int, default=20, help="how many [20]")
    listing.add_argument("--before", type=int, metavar="ID", help="go on after this entry")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.set_defaults(act=_list)

    show = actions.add_parser("show", parents=[common], help="one entry with its issues")
    show.add_argument("id", type=int)
    show.add_argument("--raw", action="store_true", help="the bytes received (patient data)")
    show.set_defaults(act=_show)

    replay = actions.add_parser("replay", parents=[common], help="apply entries again")
    replay.add_argument("ids", nargs="*", type=int, metavar="ID")
    replay.add_argument("--failed", action="store_true", help="all that failed")
    replay.set_defaults(act=_replay)

    discard = actions.add_parser("discard", parents=[common], help="put failed entries aside")
    discard.add_argument("ids", nargs="+", type=int, metavar="ID")
    discard.add_argument("--reason", required=True, help="why; kept with the entry")
    discard.set_defaults(act=_discard)
    return parser


def _list(db: Connection, args: argparse.Namespace, stdout: IO[str]) -> int:
    wanted = Wanted(
        feed=args.feed,
        source=args.source,
        control_id=args.control_id,
        states=[_STATES[name] for name in args.state],
    )
    for entry in inbox.page(db, _TENANT, wanted, count=max(1, args.count), before=args.before):
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
    if bool(args.ids) == args.failed:
        raise Invalid("say which entries to replay: their ids, or --failed")
    ids = list(args.ids)
    if args.failed:
        failed = Wanted(states=[State.FAILED])
        ids = [entry.id for entry in inbox.page(db, _TENANT, failed, count=100_000)]
    return _moved(db, ids, State.REPLAY, None, stdout)


def _discard(db: Connection, args: argparse.Namespace, stdout: IO[str]) -> int:
    return _moved(db, args.ids, State.DISCARDED, args.reason, stdout)


def _moved(
    db: Connection, ids: Sequence[int], to: State, reason: str | None, stdout: IO[str]
) -> int:
    with transaction(db):
        count = inbox.move(db, _TENANT, ids, to, reason=reason)
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
