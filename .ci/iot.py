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

_HARD = ["--redeliver", "0.1", "--disorder", "0.2", "--devices", "20", "--patients", "7"]
_QUIET = ["--watchers", "1", "--sample-every", "0.5", "--wait", "30"]
WAYS = {
    "http-single": ["--http", "--count", "200", "--workers", "4"],
    "http-batches": ["--http", "--count", "2000", "--batch", "50", "--workers", "4"],
    "mqtt-single": ["--mqtt", "{mqtt}", "--count", "1000", "--workers", "2"],
    "mqtt-batches": ["--mqtt", "{mqtt}", "--count", "1000", "--batch", "20", "--workers", "2"],
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
        f"{name} {said.get(name)}" for name, value in wanted.items() if said.get(name) != value
    ]
    return wrong if said.get("redelivered") else [*wrong, "nothing was redelivered"]


def run(script: str, base: str, ways: list[str]) -> list[str]:
    """Run the generator once and return what is wrong."""
    command = [sys.executable, script, "--base", base, *ways, *_HARD, *_QUIET]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        said = json.JSONDecoder().raw_decode(done.stdout)[0]
    except (subprocess.TimeoutExpired, ValueError) as exc:
        return [f"no result: {type(exc).__name__}"]
    return faults(said, int(ways[ways.index("--count") + 1]))


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
        print(f"{name}: {', '.join(wrong) or 'all there, once'}", flush=True)
        results.append({"id": name, "result": "fail" if wrong else "pass"})
    args.report.write_text(json.dumps({"results": results}), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
