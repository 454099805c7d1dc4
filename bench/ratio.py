"""Does the hub fall behind the bare driver as the data grow? Two sizes side by side.

    python -m bench.ratio --keep FOLDER [--sizes 10000,1000000] [--secs 3] [--rounds 3] [--only ...]

A hub over each size runs at the same time and kind after kind is asked in turns: driver and hub of
the one size, driver and hub of the other, several rounds of it. A machine that is slow for a
minute is slow for all four. `ratio` is hub to driver, the median of the rounds; `kept` the ratio at
the last size to that at the first. Creates come last: the driver writes the same rows to a copy of
the same database, sixteen a commit, as the writer process commits what waits.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import data, limit
from bench.__main__ import SETTLE_S, addresses, kept, wrk
from tests.support import RunningHub, running_hub

SAMPLE = 1000  # searches of the driver, in one round
CREATES = 2000  # rows of so many creates, in one round
CREATE = "create"


@dataclass(frozen=True)
class Side:
    """A hub, its database and a copy of it for the driver's writes."""

    size: int
    hub: RunningHub
    database: Path
    copy: Path


def _search(side: Side, kind: str, secs: int) -> tuple[float, float]:
    patients = data.patients_of(side.size)
    bare = limit.searches_per_second(
        f"sqlite:///{side.database}", data.searches(kind, SAMPLE, patients)
    )
    file = side.database.with_name("addresses.txt")
    file.write_text("\n".join(addresses(side.hub, kind, side.size)) + "\n")
    return wrk(side.hub.base, "read.lua", str(file), 8, secs).rate, bare


def _create(side: Side, secs: int, seed: int) -> tuple[float, float]:
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


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", type=Path, required=True, help="folder of filled databases")
    parser.add_argument("--sizes", default="10000,1000000")
    parser.add_argument("--secs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="parts of the names of the kinds to run")
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is needed: the Debian package wrk has it", file=sys.stderr)
        return 2
    with ExitStack() as stack:
        sides = []
        for size in map(int, args.sizes.split(",")):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            (folder / "data").mkdir()
            database, copy = folder / "data" / "yilian.db", folder / "copy.db"
            for target in (database, copy):
                shutil.copyfile(kept(args.keep, size), target)
            hub = stack.enter_context(running_hub(folder / "data"))
            sides.append(Side(size, hub, database, copy))
        threading.Event().wait(SETTLE_S)
        heads = "".join(f"{side.size:>12,}{'ratio':>8}" for side in sides)
        print(f"{'requests per second at':28}{heads}{'kept':>8}")
        for kind in (*data.SEARCHES, CREATE):
            if args.only and not any(each in kind for each in args.only.split(",")):
                continue
            found = measure(sides, kind, args.secs, args.rounds)
            cells = "".join(f"{rate:12,.0f}{ratio:8.2f}" for rate, ratio in found)
            print(f"{kind:28}{cells}{found[-1][1] / found[0][1]:8.2f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
