"""Run the conformance suites: those of commands as they are, those of a hub on each database.

    suites.py SHARED [--only REGEX] [--update]

Hubs listen on free ports, work in a temporary folder and are stopped at the end. What passed
before (.ci/passing/<suite>-<backend>.txt) must pass again; `--update` adds what passes now.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / ".ci")]

import ratchet  # noqa: E402  (beside this file)

from tests.support import (  # noqa: E402  (of this checkout)
    Postgres,
    RunningHub,
    free_port,
    running_hub,
    wait_for,
)

PASSING = ROOT / ".ci" / "passing"
YILIAN = str(Path(sys.executable).with_name("yilian"))
_NAMED = 5  # lost cases of a suite, on the last line
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


@dataclass(frozen=True)
class Suite:
    """A checker, what it judges, and its arguments.

    script: file under conformance/, or one of ours; needs: the module without which there is
    nothing to judge; arguments may name {shared}, {report}, {yilian} and, for a hub, {http} and its
    other addresses.
    """

    name: str
    script: str
    needs: str
    arguments: str
    hub: bool = False
    listener: str | None = None
    limit_s: int = 1200  # only reached by what hangs, however slow the machine


SUITES = (
    Suite(
        "id",
        "id_suite.py",
        "app.registry.command",
        "--vectors {shared}/conformance/identifiers/vectors.json --report {report}"
        " --cmd '{yilian} id parse --jsonl' --show 5",
    ),
    Suite(
        "device",
        "device_suite.py",
        "app.feeds.dicom.convert",
        "--corpus {shared}/corpus/dicom --corpus {shared}/corpus/iot --quiet"
        " --cmd '{yilian} convert' --json {report} --timeout 240",
    ),
    Suite(
        "hl7v2",
        "hl7v2_suite.py",
        "app.feeds.hl7v2.convert",
        "--dir {shared}/corpus/hl7v2 --cmd '{yilian} convert hl7v2' --report {report} --show 5"
        " --timeout 240",
    ),
    Suite(
        "id-http",
        "id_suite.py",
        "app.rest.identify",
        "--vectors {shared}/conformance/identifiers/vectors.json --report {report}"
        " --http http://{http} --show 5",
        hub=True,
    ),
    Suite(
        "fhir",
        "fhir_suite.py",
        "app.rest",
        "--base http://{http}/fhir --json {report} --fails --timeout 240",
        hub=True,
    ),
    Suite(
        "terminology",
        "tx_suite.py",
        "app.terminology.expand",
        "--base http://{http}/fhir --tests {shared}/conformance/terminology --json {report}"
        " --timeout 240",
        hub=True,
    ),
    Suite(
        "iot",
        str(ROOT / ".ci" / "iot.py"),
        "app.feeds.iot.mqtt",
        "{shared}/conformance/iot_load.py --base http://{http} --mqtt {mqtt} --report {report}",
        hub=True,
    ),
    Suite(
        "mllp",
        "mllp_suite.py",
        "app.feeds.hl7v2.mllp",
        "--mllp {mllp} --base http://{http}/fhir --json {report} --fails --seed 1 --timeout 120",
        hub=True,
        listener="mllp",
    ),
)


class Runner:
    """Runs suites and keeps count of what was lost."""

    def __init__(self, shared: Path, work: Path, *, update: bool) -> None:
        self._shared = shared
        self._work = work
        self._update = update
        self.failed: list[str] = []

    def run(self, suite: Suite, backend: str | None = None, hub: RunningHub | None = None) -> None:
        """Run one suite and hold its report against what passed before."""
        name = f"{suite.name}-{backend}" if backend else suite.name
        passing = PASSING / f"{name}.txt"
        listens = suite.listener is None or (hub is not None and suite.listener in hub.addresses)
        print(f"-- {name}", flush=True)
        if find_spec(suite.needs) is None or not listens:
            print("   not in this version")
            if passing.is_file():
                self.failed.append(f"{name} (not in this version)")
            return
        report = self._work / f"{name}.json"
        known = {"shared": self._shared, "report": report, "yilian": YILIAN}
        values = known | dict(hub.addresses if hub else {})
        script = self._shared / "conformance" / suite.script
        command = [
            sys.executable,
            str(script),
            *(a.format(**values) for a in shlex.split(suite.arguments)),
        ]
        try:
            subprocess.run(command, timeout=suite.limit_s, check=False, cwd=self._work)
        except subprocess.TimeoutExpired:
            print(f"   not done after {suite.limit_s} s")
        if not report.is_file():
            self.failed.append(f"{name} (no report)")
        elif lost := ratchet.compare(suite.name, report, passing, update=self._update):
            named = lost[:_NAMED] + ["..."] * (len(lost) > _NAMED)
            self.failed.append(f"{name} ({', '.join(named)})")


@contextmanager
def _hub(backend: str, work: Path) -> Iterator[RunningHub]:
    data = work / backend
    with ExitStack() as running:
        broker = running.enter_context(_broker(work)) if MOSQUITTO else "off"
        flags = ("--mqtt", f"mqtt://{broker}") if MOSQUITTO else ()
        url = None
        if backend == "postgres":
            server = Postgres()
            running.callback(server.stop)
            url = running.enter_context(server.database())
        hub = running.enter_context(running_hub(data, *flags, database_url=url))
        if MOSQUITTO:  # a broker keeps nothing for who has never subscribed
            wait_for(lambda: "mqtt.subscribed" in hub.log.read_text("utf-8"))
        yield replace(hub, addresses={**hub.addresses, "mqtt": broker})


@contextmanager
def _broker(work: Path) -> Iterator[str]:
    """An MQTT broker with its own defaults, but for how many messages may wait."""
    port = free_port()
    config = work / "broker.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\n"
    )
    process = subprocess.Popen([MOSQUITTO or "", "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _listens(process, port))
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    assert process.poll() is None, f"the broker ended with {process.returncode}"
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--only", default="", help="suites whose name matches")
    parser.add_argument("--update", action="store_true", help="add what passes now")
    args = parser.parse_args()
    chosen = [suite for suite in SUITES if re.search(args.only, suite.name)]
    with tempfile.TemporaryDirectory(prefix="yilian-ci-") as folder:
        runner = Runner(args.shared.resolve(), Path(folder), update=args.update)
        for suite in chosen:
            if not suite.hub:
                runner.run(suite)
        of_hub = [suite for suite in chosen if suite.hub]
        for backend in ("sqlite", "postgres") if of_hub else ():
            with _hub(backend, Path(folder)) as hub:
                for suite in of_hub:
                    runner.run(suite, backend, hub)
    print("lost or not run: " + (", ".join(runner.failed) or "nothing"))
    return 1 if runner.failed else 0


if __name__ == "__main__":
    sys.exit(main())
