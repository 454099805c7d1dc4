"""Does the hub fall behind the bare driver as the data grow? Two sizes side by side.

    python -m bench.ratio --keep FOLDER [--sizes 10000,1000000] [--secs 3] [--rounds 3] [--only ...]
    python -m bench.ratio --filled 10000=URL --filled 1000000=URL [...]

A hub over each size runs at the same time and kind after kind is asked in turns: driver and hub of
the one size, driver and hub of the other, several rounds of it. A machine that is slow for a
minute is slow for all four. `ratio` is hub to driver, the median of the rounds; `kept` the ratio at
the last size to that at the first. Creates come last: the driver writes the same rows to a copy of
the SQLite database, sixteen a commit, as the writer process commits what waits. --filled takes
databases that `bench/fill.py` has filled as they are, and only asks them.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from app.store import schema
from app.store.database import Address
from bench import data, limit
from bench.__main__ import SETTLE_S, addresses, kept, wrk
from tests.support import RunningHub, running_hub

SAMPLE = 1000  # searches of the driver, in one round
CREATES = 2000  # rows of so many creates, in one round
CREATE = "create"


@dataclass(frozen=True)
class Side:
    """A hub, its database, a folder for notes, and a copy for the driver's writes, if it may."""

    size: int
    hub: RunningHub
    url: str
    folder: Path
    copy: Path | None = None


def _search(side: Side, kind: str, secs: int) -> tuple[float, float]:
    sample = data.searches(kind, SAMPLE, data.patients_of(side.size))
    bare = limit.searches_per_second(side.url, sample)
    file = side.folder / "addresses.txt"
    file.write_text("\n".join(addresses(side.hub, kind, side.size)) + "\n")
    return wrk(side.hub.base, "read.lua", str(file), 8, secs).rate, bare


def _create(side: Side, secs: int, seed: int) -> tuple[float, float]:
    if side.copy is None:
        raise ValueError("no copy to write to")
    made = limit.rows_of(side.copy, CREATES, 1, seed, data.patients_of(side.size))
    bare = limit.writes_per_second(side.copy, made, 1, limit.GROUP)
    return wrk(side.hub.base, "create.lua", None, 16, secs).rate, bare


def measure(sides: list[Side], kind: str, secs: int, rounds: int) -> list[tuple[float, float]]:
    """Return the medians of (hub per second, hub to driver) for each side, measured in turns."""
    found: list[list[tuple[float, float]]] = [[] for _ in sides]
    for turn in range(rounds):
        for side, rates in zip(sides, found, strict=True):
            asked = _create(side, secs, 99 + turn) if kind == CREATE else _search(side, kind, secs)
            rates.append((asked[0], asked[0] / asked[1]))
    return [
        (statistics.median(r for r, _ in rates), statistics.median(r for _, r in rates))
        for rates in found
    ]


def _kept(stack: ExitStack, args: argparse.Namespace) -> Iterator[Side]:
    for size in map(int, args.sizes.split(",")):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "data").mkdir()
        database, copy = folder / "data" / "yilian.db", folder / "copy.db"
        for target in (database, copy):
            shutil.copyfile(kept(args.keep, size), target)
        schema.upgrade(Address(f"sqlite:///{copy}"))  # it may have been kept for long
        hub = stack.enter_context(running_hub(folder / "data"))
        yield Side(size, hub, f"sqlite:///{database}", folder, copy)


def _filled(stack: ExitStack, given: list[str]) -> Iterator[Side]:
    for each in given:
        size, _, url = each.partition("=")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "data").mkdir()
        hub = stack.enter_context(running_hub(folder / "data", database_url=url))
        yield Side(int(size), hub, url, folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", type=Path, help="folder of filled SQLite databases")
    parser.add_argument("--filled", action="append", default=[], metavar="SIZE=URL")
    parser.add_argument("--sizes", default="10000,1000000")
    parser.add_argument("--secs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="parts of the names of the kinds to run")
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is needed: the Debian package wrk has it", file=sys.stderr)
        return 2
    if not args.keep and not args.filled:
        parser.error("name a folder (--keep) or databases (--filled)")
    with ExitStack() as stack:
        sides = list(_filled(stack, args.filled) if args.filled else _kept(stack, args))
        threading.Event().wait(SETTLE_S)
        heads = "".join(f"{side.size:>12,}{'ratio':>8}" for side in sides)
        print(f"{'requests per second at':28}{heads}{'kept':>8}")
        for kind in (*data.SEARCHES, *(() if args.filled else (CREATE,))):
            if args.only and not any(each in kind for each in args.only.split(",")):
                continue
            found = measure(sides, kind, args.secs, args.rounds)
            cells = "".join(f"{rate:12,.0f}{ratio:8.2f}" for rate, ratio in found)
            print(f"{kind:28}{cells}{found[-1][1] / found[0][1]:8.2f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
