"""Identifier parsing: codes a second through the batch door, start-up, and the worst single code.

    python bench/id_parse.py [CODES]

Targets (identifiers.md 2): 10,000 codes a second on one core, 150 ms for the command, 5 ms for any
code of 4,096 characters.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from itertools import cycle, islice
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.registry import parse  # noqa: E402  (after the path is set)
from app.registry.command import main as command  # noqa: E402

FIXTURES = ROOT / "fixtures" / "identifiers"
REPEATED = ("9", "1.", "(21)", "/01/", "%41", "^", "10A\x1d", "&a=1", "=<E0791V00", "_", "+", "械")
STARTS = ("", "https://id.gs1.org/", "\x1d0109521234000037", "+Y951", "urn:epc:id:sgtin:", "30")


def requests() -> list[bytes]:
    """Return every authored case as a line of input."""
    lines = []
    for path in sorted(FIXTURES.glob("*.json")):
        for case in json.loads(path.read_text(encoding="utf-8")):
            asked = {"code": case["code"], **({"as": case["as"]} if "as" in case else {})}
            lines.append(json.dumps(asked).encode())
    return lines


def batch(lines: list[bytes], count: int) -> float:
    """Return codes a second through `--jsonl`, input and output included."""
    given = io.BytesIO(b"\n".join(islice(cycle(lines), count)) + b"\n")
    began = time.process_time()
    command(["--jsonl"], given, io.StringIO())
    return count / (time.process_time() - began)


def slowest() -> tuple[float, str]:
    """Return the milliseconds of the slowest code of 4,096 characters, best of five."""
    worst = (0.0, "")
    for start in STARTS:
        for repeated in REPEATED:
            code = (start + repeated * 4096)[:4096]
            best = min(_once(code) for _ in range(5))
            worst = max(worst, (best * 1000, f"{start!r} + {repeated!r}"))
    return worst


def _once(code: str) -> float:
    began = time.process_time()
    parse(code)
    return time.process_time() - began


def start_up() -> float:
    """Return the milliseconds of `yilian id parse CODE`, median of eleven."""
    words = [sys.executable, "-m", "app.cli", "id", "parse", "(01)09521234000037(21)P100"]
    taken = []
    for _ in range(11):
        began = time.perf_counter()
        subprocess.run(words, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        taken.append((time.perf_counter() - began) * 1000)
    return sorted(taken)[5]


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
    lines = requests()
    batch(lines, len(lines))  # loads the schemes
    print(f"batch     {batch(lines, count):10,.0f} codes/s of CPU, {len(lines)} kinds")
    milliseconds, code = slowest()
    print(f"slowest   {milliseconds:10.2f} ms, 4,096 characters of {code}")
    print(f"start-up  {start_up():10.1f} ms wall")
    return 0


if __name__ == "__main__":
    sys.exit(main())
