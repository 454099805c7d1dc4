"""`yilian demo`: a hub on a fresh database, and the sample data sent to it as real senders would.

The hub runs as `yilian serve` in a process of its own; what is sent goes through its listeners.
Then a table of what arrived and addresses to try, until Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from app import paths, settings
from app.errors import Invalid, Unavailable
from app.feeds import inbox
from app.feeds.inbox import Wanted
from app.store.database import Address, connect

_MOST = 1000  # entries counted for the table


@dataclass(frozen=True, slots=True)
class Sample:
    """Files of fixtures/demo that one sender sends to one listener."""

    listener: str
    pattern: str
    sender: str  # module with a `main(argv, stdin, stdout)` that takes HOST:PORT FILE...


SAMPLES = (Sample("mllp", "*.hl7", "app.feeds.hl7v2.send"),)

_TRY = (
    ("the patient, found by a Chinese name", "/fhir/Patient?name=%E5%BC%A0"),
    (
        "the patient's results, newest first",
        "/fhir/Observation?subject.identifier=DEMO-42&_sort=-date",
    ),
    ("all that this server can do", "/fhir/metadata"),
    ("is every listener ready", "/readyz"),
)


def main(argv: Sequence[str], stdin: IO[bytes], stdout: IO[str]) -> int:
    """Serve, feed and tell, until the hub ends; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="yilian demo",
        description="Start a hub on a fresh database and feed it the sample data. Settings as for"
        " `yilian serve`; without --data a temporary folder is used and removed at the end.",
        parents=[settings.flags()],
    )
    given = vars(parser.parse_args(argv))
    settings.gather(given)  # says what is wrong before anything is made
    with _fresh_folder(given.get("data")) as data:
        hub = _start([*argv, "--data", str(data)], data)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: hub.terminate())
        addresses = _ready(hub, data)
        _feed(addresses)
        database = settings.gather(given | {"data": str(data)}).database
        _tell(addresses, database, data, stdout)
        return hub.wait()


@contextmanager
def _fresh_folder(given: str | None) -> Iterator[Path]:
    if given is None:
        with tempfile.TemporaryDirectory(prefix="yilian-demo-") as folder:
            yield Path(folder)
        return
    data = Path(given)
    if data.exists() and any(data.iterdir()):
        raise Invalid(f"{data} is not empty; the demo wants a fresh folder")
    yield data


def _start(argv: Sequence[str], data: Path) -> subprocess.Popen[str]:
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data / "hub.log").open("w", encoding="utf-8") as log:
        return subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "app.cli", "serve", *argv],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
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


def _feed(addresses: Mapping[str, str]) -> None:
    files = [
        (sample, file)
        for sample in SAMPLES
        if sample.listener in addresses
        for file in sorted((paths.shipped("fixtures") / "demo").glob(sample.pattern))
    ]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for sample, file in progress.track(files, description="sending the sample data"):
            sender = importlib.import_module(sample.sender)
            sender.main([addresses[sample.listener], str(file)], io.BytesIO(), io.StringIO())


def _tell(addresses: Mapping[str, str], database: str, data: Path, stdout: IO[str]) -> None:
    db = connect(Address(database))
    entries = inbox.page(db, 0, Wanted(), count=_MOST)
    db.close()
    states = Counter((entry.feed, entry.kind, entry.state.name.lower()) for entry in entries)
    written = {version.partition("/_history/")[0] for entry in entries for version in entry.touched}
    types = Counter(name.partition("/")[0] for name in written)
    console = Console(file=stdout, width=100)
    received = Table("feed", "message", "state", "messages", title="Received", title_justify="left")
    for (feed, kind, state), count in sorted(states.items()):
        received.add_row(feed, kind, state, str(count))
    made = Table("resource", "made", title="What they became", title_justify="left")
    for name, count in sorted(types.items()):
        made.add_row(name, str(count))
    console.print(received, made)
    stdout.write("\nTry:\n")
    for what, path in _TRY:
        stdout.write(f"  http://{addresses['http']}{path}\n      {what}\n")
    stdout.write(f"\nThe hub runs (its log: {data / 'hub.log'}); Ctrl-C ends it.\n")
    stdout.flush()
