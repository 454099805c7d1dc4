"""Identifier parsing at full size: fuzzed codes, and the longest ones that may come.

    python -m bench.codes [--fuzzed 200000] [--seed 1]

Every authored code, torn, doubled, mixed and mistyped, under every hint: no exception, an answer
that is JSON. Then codes of 4,096 characters, which may take 5 ms each, and codes of 1,024, 2,048
and 4,096, whose time may grow no faster than they do. `tests/registry/test_hostile.py` does the
same with Hypothesis, and smaller.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

from app.registry import parse
from app.registry.normalise import LIMIT
from app.registry.schemes import SCHEMES

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "identifiers"
HINTS = [None, *SCHEMES]
PIECES = (
    "\x1d", "\x1e\x04", "\x1c", "(01)", "(21)", "^", "|", "%", "%41", "+", "++", "=", "=<", "&",
    "/", "/01/", ".", ".L", ".S", "-", "~", "]d2", "]C1", "{", "}", "urn:", "oid:", "hdl:",
    "http://", "?a=1", "#", "É", "０１", "国药准字", "国械",
    "\u202e", "\ud800", "\u3000", "9", "0", "A",
)  # fmt: skip
REPEATED = (
    "9", "1.", "a", "F", "/", "/01/", "%25", "(21)", "(", "^", "&", "|x", "\\T\\", "+", "10A\x1d",
    "=<E0791V00", "&a=1", ".L1", "9 ", "- ", "械", "00:", "é", "~1", "_", "<GS>", "(1)", "}", ":",
)  # fmt: skip
STARTS = (
    "", "https://id.gs1.org/", "https://id.gs1.org/01/09521234000037?", "(01)09521234000037",
    "\x1d0109521234000037", "urn:epc:id:sgtin:", "urn:epc:tag:sgtin-96:", "+Y951", "=", "{",
    "MA.156.M0.100001.12345678", "hdl:1", "mrn-a:", "30", "F7", "10.1/", "urn:oid:1.2", "A^^^B&",
)  # fmt: skip
LONGEST_MS = 5.0


def authored() -> list[str]:
    """Return every code of the fixtures."""
    return sorted(
        {
            case["code"]
            for path in sorted(FIXTURES.glob("*.json"))
            for case in json.loads(path.read_text(encoding="utf-8"))
            if len(case["code"]) <= LIMIT
        }
    )


def fuzzed(draw: random.Random, codes: list[str]) -> str:
    """Return a code that somebody may have got wrong."""
    code = draw.choice(codes)
    for _ in range(draw.randrange(4)):
        at = draw.randrange(len(code) + 1)
        match draw.randrange(6):
            case 0:
                code = code[:at]
            case 1:
                code = code[at:]
            case 2:
                code = code[:at] + draw.choice(PIECES) + code[at:]
            case 3:
                code = code[:at] + chr(draw.choice((draw.randrange(128), draw.randrange(0x3000))))
            case 4:
                code = code[:at] + draw.choice(codes) + code[at:]
            case _:
                code = code[:at] + code[at + 1 :]
    return code


def fuzz(count: int, seed: int) -> float:
    """Read `count` fuzzed codes; return codes a second of processor time."""
    draw, codes = random.Random(seed), authored()
    asked = [(fuzzed(draw, codes), draw.choice(HINTS)) for _ in range(count)]
    began = time.process_time()
    for code, hint in asked:
        parsed = parse(code, as_=hint)
        if parsed.valid is bool(parsed.errors) or (parsed.canonical and not parsed.valid):
            raise AssertionError(f"{parsed.scheme}: {[each.code for each in parsed.errors]}")
        json.dumps(parsed.as_dict())
    return count / (time.process_time() - began)


def milliseconds(code: str, hint: str | None, rounds: int = 1) -> float:
    best = 1e9
    for _ in range(rounds):
        began = time.process_time()
        parse(code, as_=hint)
        best = min(best, time.process_time() - began)
    return best * 1000


def longest() -> list[tuple[float, str]]:
    """Return the slowest codes of 4,096 characters with their milliseconds, best of seven."""
    found: list[tuple[float, str, str | None, str]] = []
    for start in STARTS:
        for repeated in REPEATED:
            code = (start + repeated * LIMIT)[:LIMIT]
            for hint in HINTS:
                took = milliseconds(code, hint)
                found.append((took, code, hint, f"{start!r} + {repeated!r} as {hint}"))
    found.sort(reverse=True, key=lambda each: each[0])
    again = [(milliseconds(code, hint, 7), name) for _, code, hint, name in found[:40]]
    return sorted(again, reverse=True)


def growth() -> tuple[float, str]:
    """Return by how much time grows from 1,024 to 4,096 characters, at worst, and for what."""
    worst = (0.0, "")
    for start in STARTS:
        for repeated in REPEATED:
            small, large = ((start + repeated * size)[:size] for size in (LIMIT // 4, LIMIT))
            took = milliseconds(large, None, 5)
            if took > 0.5:
                ratio = took / max(milliseconds(small, None, 5), 0.05)
                worst = max(worst, (ratio, f"{start!r} + {repeated!r}"))
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fuzzed", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(
        f"fuzzed    {given.fuzzed:,} codes, {fuzz(given.fuzzed, given.seed):,.0f} a second of CPU"
    )
    slow = longest()
    for took, name in slow[:3]:
        print(f"longest   {took:.2f} ms, 4,096 characters of {name}")
    ratio, name = growth()
    print(f"growth    {ratio:.1f} times the time for 4 times the length, {name}")
    kinds = Counter(name.rpartition(" as ")[2] for took, name in slow if took > LONGEST_MS)
    if kinds:
        print(f"over {LONGEST_MS} ms: {dict(kinds)}")
    return 1 if kinds or ratio > 8 else 0


if __name__ == "__main__":
    sys.exit(main())
