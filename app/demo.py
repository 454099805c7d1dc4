"""`yilian demo`: a hub on a fresh database, and the sample data sent to it as real senders would.

The hub runs as `yilian serve` in a process of its own; what is sent goes through its listeners, by
the same code as `yilian send`. Then a table of what arrived and addresses to try, until Ctrl-C.
A production database, broker or id secret that the environment names is left alone.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib import import_module
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from app import paths, settings
from app.errors import Invalid, Unavailable

_MARK = "yilian-demo"  # in a folder that the demo made: it may begin anew there
_LISTED = 500  # messages of the table
_SETTLE_S = 120.0  # for what was accepted to be applied: less than a second
_NEVER_INHERITED = ("database_url", "data", "mqtt", "id_secret", "overlay")
_MAPPING = "monitor"

Send = Callable[[Mapping[str, str], Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class Sample:
    """Files of fixtures/demo that one sender sends to one listener.

    send: returns what the listener said, in a word or two; a code of 404 means that it is no part
    of this version. becomes: a resource type that is there once they are applied.
    """

    what: str
    listener: str
    pattern: str
    send: Send
    becomes: str


def main(argv: Sequence[str], stdin: IO[bytes], stdout: IO[str]) -> int:
    """Serve, feed and tell, until the hub ends; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="yilian demo",
        description="Start a hub on a fresh database and feed it the sample data. Settings as for"
        " `yilian serve`; without --data a temporary folder is used and removed at the end.",
        parents=[settings.flags(*_FLAGS)],
    )
    given = vars(parser.parse_args(argv))
    if settings.gather(given).http is None:  # says too what else is wrong, before anything is made
        raise Invalid("--http: the demo needs it")
    with _fresh_folder(given.get("data")) as data:
        return _run(given, data, stdout)


def _run(given: Mapping[str, str], data: Path, stdout: IO[str]) -> int:
    """Run the hub until it ends or this process is told to; return its exit code."""
    stopping = threading.Event()
    started: list[subprocess.Popen[str]] = []

    def stop(*_: object) -> None:
        stopping.set()
        for hub in started:
            hub.terminate()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    hub = _start(given, data)
    started.append(hub)
    if stopping.is_set():  # between the two lines above
        hub.terminate()
    broker = {"mqtt": given["mqtt"]} if "mqtt" in given else {}
    try:
        _show({**_ready(hub, data), **broker}, data, stdout)
    except BaseException:
        hub.terminate()
        hub.wait()
        if not stopping.is_set():
            raise
    return hub.wait()


_FLAGS = ("http", "mllp", "dicom", "allow", "mqtt", "data", "workers", "time_zone")


# --- the hub -------------------------------------------------------------------------------------


@contextmanager
def _fresh_folder(given: str | None) -> Iterator[Path]:
    if given is None:
        with tempfile.TemporaryDirectory(prefix="yilian-demo-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    data = Path(given)
    if data.exists() and any(data.iterdir()):
        if not (data / _MARK).is_file():
            raise Invalid(f"{data} is not empty; the demo wants a fresh folder")
        if (data / "hub.json").exists():
            raise Unavailable(f"a hub runs on {data}, or was killed there; choose another folder")
        shutil.rmtree(data)
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    (data / _MARK).touch(mode=0o600)
    yield data


def _start(given: Mapping[str, str], data: Path) -> subprocess.Popen[str]:
    """Start a hub of its own session: what ends it is decided here."""
    overlay = paths.shipped("fixtures") / "demo" / "overlay"
    told = {**given, "data": str(data), "overlay": str(overlay)}
    flags = [part for name, text in told.items() for part in (f"--{name.replace('_', '-')}", text)]
    barred = {settings.variable(name) for name in _NEVER_INHERITED}
    environ = {name: text for name, text in os.environ.items() if name not in barred}
    here = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, here))
    with (data / "hub.log").open("w", encoding="utf-8") as log:
        return subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-P", "-m", "app.cli", "serve", *flags],  # -P: not an `app` lying here
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environ,
            start_new_session=True,
        )


def _ready(hub: subprocess.Popen[str], data: Path) -> Mapping[str, str]:
    """Wait until the hub says that it is ready; return its addresses."""
    for line in hub.stdout or ():
        if "is ready" in line:
            addresses: Mapping[str, str] = json.loads((data / "hub.json").read_text("utf-8"))
            return addresses
    hub.wait()
    said = (data / "hub.log").read_text("utf-8").splitlines()
    told = [line.removeprefix("yilian: ") for line in said if line.startswith("yilian: ")]
    raise Unavailable("; ".join(told) or "the hub did not start")


# --- what is sent --------------------------------------------------------------------------------


def _hl7v2(addresses: Mapping[str, str], files: Sequence[str]) -> str:
    said = _said("app.feeds.hl7v2.send", [addresses["mllp"], *files])
    return _counted(line.split()[2] for line in said if line.startswith(tuple(files)))


def _dicom(addresses: Mapping[str, str], files: Sequence[str]) -> str:
    said = _said("app.feeds.dicom.send", ["--calling", "CT-2", addresses["dicom"], *files])
    return _counted(line.split()[0] for line in said)


def _iot(addresses: Mapping[str, str], files: Sequence[str]) -> str:
    url = f"http://{addresses['http']}"
    return _counted(
        line.split()[0]
        for line in _said("app.feeds.iot.send", ["--mapping", _MAPPING, url, *files])
    )


def _mqtt(addresses: Mapping[str, str], files: Sequence[str]) -> str:
    url = addresses["mqtt"]
    return "".join(
        line.partition("  ")[0]
        for line in _said("app.feeds.iot.send", ["--mapping", _MAPPING, url, *files])
    )


def _fhir(addresses: Mapping[str, str], files: Sequence[str]) -> str:
    http = addresses["http"]
    return _counted(
        str(_asked(http, "POST", "/fhir", Path(name).read_bytes())[0]) for name in files
    )


def _said(module: str, argv: Sequence[str]) -> list[str]:
    """Return what a command of `yilian send` printed."""
    out = io.StringIO()
    import_module(module).main(argv, io.BytesIO(), out)
    return out.getvalue().splitlines()


def _counted(answers: Iterator[str]) -> str:
    """Return equal answers counted: 6 x 0x0000."""
    return ", ".join(
        text if count == 1 else f"{count} x {text}" for text, count in Counter(answers).items()
    )


SAMPLES = (
    Sample("admission (ADT, GB 18030)", "mllp", "01-*.hl7", _hl7v2, "Patient"),
    Sample("laboratory results (ORU)", "mllp", "02-*.hl7", _hl7v2, "DiagnosticReport"),
    Sample("CT study", "dicom", "03-ct/*.dcm", _dicom, "ImagingStudy"),
    Sample("hospital and its monitor", "http", "04-*.json", _fhir, "Device"),
    Sample("monitor readings (HTTP)", "http", "05-*.ndjson", _iot, "Observation"),
    Sample("monitor readings (MQTT)", "mqtt", "05-*.ndjson", _mqtt, "Observation"),
)
_SCAN = "06-scan.txt"


def _show(addresses: Mapping[str, str], data: Path, stdout: IO[str]) -> None:
    """Send all samples, then tell what arrived and what to try."""
    console = Console(file=stdout, width=110, highlight=False)
    folder = paths.shipped("fixtures") / "demo"
    sent = Table("sample", "messages", "through", "answer", title="Sent", title_justify="left")
    wanted = set()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for sample in progress.track(SAMPLES, description="sending the sample data"):
            files = [str(file) for file in sorted(folder.glob(sample.pattern))]
            if sample.listener not in addresses:
                if sample.listener != "mqtt":  # that one is asked for, or not
                    sent.add_row(sample.what, "-", sample.listener, "skipped: nobody listens")
                continue
            answer = sample.send(addresses, files)
            if answer == "404":
                answer = "skipped: not in this version"
            else:
                wanted.add(sample.becomes)
            where = addresses[sample.listener].rpartition("@")[2]  # without a password
            sent.add_row(sample.what, str(_messages(files)), where, answer)
        _settled(addresses["http"], wanted)
    console.print(sent)
    _tell(addresses["http"], console, (folder / _SCAN).read_text("ascii").strip())
    stdout.write(f"\nThe hub runs (its log: {data / 'hub.log'}); Ctrl-C ends it.\n")
    stdout.flush()


def _messages(files: Sequence[str]) -> int:
    return sum(
        len(Path(name).read_bytes().splitlines()) if name.endswith(".ndjson") else 1
        for name in files
    )


# --- what arrived --------------------------------------------------------------------------------


def _tell(http: str, console: Console, scan: str) -> None:
    entries = _json(http, f"/inbox?count={_LISTED}")["messages"]
    states = Counter((entry["feed"], entry["kind"], entry["state"]) for entry in entries)
    received = Table("feed", "message", "state", "messages", title="Received", title_justify="left")
    for (feed, kind, state), count in sorted(states.items()):
        received.add_row(feed, kind, state, str(count))
    made = Table("resource", "number", title="What is stored now", title_justify="left")
    for name, count in sorted(_json(http, "/")["resources"].items()):
        made.add_row(name, str(count))
    console.print(received, made)
    console.print(f"Scanned the monitor's label: {_scanned(http, scan)}\n")
    console.print("Try:")
    for path, what in _TRY:
        console.print(f"  http://{http}{path}", soft_wrap=True)
        console.print(f"      {what}")


_TRY = (
    ("/", "the start page: what runs, what came, what became of it"),
    ("/fhir/Patient?name=%E5%BC%A0", "the patient, found by a Chinese name"),
    (
        "/fhir/Observation?subject.identifier=DEMO-42&category=vital-signs&_sort=-date",
        "what the monitor measured, newest first",
    ),
    (
        "/fhir/DiagnosticReport?subject.identifier=DEMO-42&_include=DiagnosticReport:result",
        "the laboratory's report with its results",
    ),
    ("/fhir/ImagingStudy?patient.identifier=DEMO-42", "the CT study of the same patient"),
    (
        f"/id?code={quote('(01)09521234000037(21)CM10-2201')}",
        "the scanned monitor: its readings, its patient, its owner",
    ),
    ("/fhir/metadata", "all that this server can do"),
)


def _scanned(http: str, code: str) -> str:
    """Return in one line what a scan finds."""
    found = _json(http, f"/id?code={quote(code)}")["resolved"]
    if not found:
        return "nobody is registered under it"
    device = found[0]
    parts = [f"{device['resource']} ({device.get('display', '?')})"]
    parts.append(f"{device['observations']['total']} observations")
    for name in ("patient", "owner"):
        if name in device:
            parts.append(f"{name} {device[name].get('display', '?')}")
    return ", ".join(parts)


def _settled(http: str, wanted: set[str]) -> None:
    """Wait until what was accepted is applied (a study is told when no more of it comes)."""
    pause = threading.Event()
    for _ in range(int(_SETTLE_S / 0.1)):
        counts = [_json(http, f"/fhir/{name}?_summary=count")["total"] for name in wanted]
        if all(counts) and not _json(http, "/inbox?state=received&count=1")["messages"]:
            return
        pause.wait(0.1)


def _json(http: str, path: str) -> Any:
    return json.loads(_asked(http, "GET", path)[1])


def _asked(http: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = HTTPConnection(http, timeout=30)
    headers = {"Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = "application/fhir+json"
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        with suppress(OSError):
            connection.close()
