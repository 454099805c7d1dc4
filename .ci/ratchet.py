"""What a conformance suite has passed before must pass again.

    ratchet.py SUITE REPORT.json PASSING.txt [--update]

PASSING.txt holds one case a line. Exit code 1 when one of them did not pass this time; with
`--update` the cases that pass now are added (and none is ever removed).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Passed = Callable[[Any], Iterator[str]]


def _by_id(report: Any) -> Iterator[str]:
    """fhir_suite, mllp_suite, iot: results with an id and pass, fail or skip."""
    yield from (case["id"] for case in report["results"] if case["result"] == "pass")


def _vectors(report: Any) -> Iterator[str]:
    yield from (case["id"] for case in report["results"] if case["ok"])


def _cases(report: Any) -> Iterator[str]:
    """device_suite: whole cases, and how many facts of the others."""
    for case in report["report"]:
        if case.get("of") and case["ok"] == case["of"] and not (case["error"] or case["faults"]):
            yield case["id"]


def _messages(report: Any) -> Iterator[str]:
    """hl7v2_suite: for each file its outcome, its structure and each fact."""
    for found in report["findings"]:
        if found.get("outcome_ok"):
            yield f"{found['file']} outcome"
        if found.get("bundles") and not found.get("structure"):
            yield f"{found['file']} structure"
        for fact in found.get("facts", ()):
            if fact["ok"]:
                yield f"{found['file']} {fact['path']} {fact['op']} {fact['want']!r}"


def _terminology(report: Any) -> Iterator[str]:
    """tx_suite: tests with the name of their group."""
    yield from (f"{t['suite']}/{t['test']}" for t in report["tests"] if t["status"] == "pass")


SUITES: Mapping[str, Passed] = {
    "fhir": _by_id,
    "mllp": _by_id,
    "iot": _by_id,
    "id": _vectors,
    "id-http": _vectors,
    "device": _cases,
    "hl7v2": _messages,
    "terminology": _terminology,
}


def compare(suite: str, report: Path, passing: Path, *, update: bool) -> list[str]:
    """Return the cases that passed before and do not in the report; say what changed."""
    before = set(passing.read_text("utf-8").splitlines()) if passing.is_file() else set()
    now = {case.replace("\n", " ") for case in SUITES[suite](json.loads(report.read_text("utf-8")))}
    lost, gained = sorted(before - now), sorted(now - before)
    for case in lost:
        print(f"passed before and does not now: {case}")
    print(f"{passing.name}: {len(now)} pass, {len(gained)} of them new, {len(lost)} lost")
    if update and gained:
        passing.parent.mkdir(parents=True, exist_ok=True)
        passing.write_text("".join(f"{case}\n" for case in sorted(before | now)), "utf-8")
    return lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", choices=sorted(SUITES))
    parser.add_argument("report", type=Path)
    parser.add_argument("passing", type=Path)
    parser.add_argument("--update", action="store_true")
    args = parser.parse_args()
    return 1 if compare(args.suite, args.report, args.passing, update=args.update) else 0


if __name__ == "__main__":
    sys.exit(main())
