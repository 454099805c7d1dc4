"""Device messages under a little load: nothing is lost and nothing doubled.

    iot.py IOT_LOAD.py --base URL --mqtt HOST:PORT|off --report FILE

Runs the load generator for each way in, with redelivery and disorder, and writes one result a way.
Speed is not judged here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

_WAIT_S = 120  # for what was acknowledged to be found
_LIMIT_S = 400  # both are only reached by what fails
_COMMON = [
    *("--disorder", "0.2", "--devices", "20", "--patients", "7"),
    *("--watchers", "1", "--sample-every", "0.5", "--wait", str(_WAIT_S)),
]
# Chance decides what is sent again: the share is such that it is nothing once in a thousand million
# runs (0.9 ** 200, 0.5 ** 40).
WAYS = {
    "http-single": ["--http", "--count", "200", "--workers", "4", "--redeliver", "0.1"],
    "http-batches": [
        *("--http", "--count", "2000", "--batch", "50", "--workers", "4"),
        *("--redeliver", "0.5"),
    ],
    "mqtt-single": [
        *("--mqtt", "{mqtt}", "--count", "1000", "--workers", "2"),
        *("--redeliver", "0.1"),
    ],
    "mqtt-batches": [
        *("--mqtt", "{mqtt}", "--count", "1000", "--batch", "20", "--workers", "2"),
        *("--redeliver", "0.5"),
    ],
}


def faults(said: dict[str, object], count: int) -> list[str]:
    """Return what is wrong with a run; empty when all that was sent is there, once."""
    wanted: dict[str, object] = {
        "acknowledged": count,
        "found": count,
        "lost": 0,
        "duplicates": 0,
        "unexpected": 0,
        "unacked": 0,
        "errors": {},
    }
    wrong = [
        f"{name} is {said.get(name)}, not {value}"
        for name, value in wanted.items()
        if said.get(name) != value
    ]
    return wrong if said.get("redelivered") else [*wrong, "nothing was redelivered"]


def run(script: str, base: str, ways: list[str]) -> list[str]:
    """Run the generator once and return what is wrong; if anything is, all that it said last."""
    command = [sys.executable, script, "--base", base, *ways, *_COMMON]
    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True) as generator:
        try:
            output, complaints = generator.communicate(timeout=_LIMIT_S)
            ended = f"exit code {generator.returncode}"
        except subprocess.TimeoutExpired:
            generator.kill()
            output, complaints = generator.communicate()
            ended = f"killed after {_LIMIT_S} s"
    heard = complaints[-2000:].strip() or "nothing"
    try:
        said = json.JSONDecoder().raw_decode(output)[0]
    except ValueError:
        return [f"no result, {ended}; on its error output: {heard}"]
    wrong = faults(said, int(ways[ways.index("--count") + 1]))
    return [*wrong, f"all of it: {json.dumps(said)}, {heard} on its error output"] if wrong else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("script")
    parser.add_argument("--base", required=True)
    parser.add_argument("--mqtt", default="off")
    parser.add_argument("--report", type=Path, required=True)
    args = parser.parse_args()
    results = []
    for name, way in WAYS.items():
        if "--mqtt" in way and args.mqtt == "off":
            print(f"{name}: not run, there is no broker")
            continue
        wrong = run(args.script, args.base, [part.format(mqtt=args.mqtt) for part in way])
        print(f"{name}: {'; '.join(wrong) or 'all there, once'}", flush=True)
        results.append({"id": name, "result": "fail" if wrong else "pass"})
    args.report.write_text(json.dumps({"results": results}), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
