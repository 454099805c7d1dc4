"""`yilian serve`: takes the data folder and starts the hub's processes on it."""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Sequence
from typing import IO

from app import logs, settings
from app.folder import Folder
from app.store.database import SQLITE, Address


def main(argv: Sequence[str], stdin: IO[bytes], stdout: IO[str]) -> int:
    """Serve until SIGTERM or SIGINT; return 0 when that was the reason to end."""
    begun = time.perf_counter()
    parser = argparse.ArgumentParser(
        prog="yilian serve",
        description="Start the hub: FHIR R4 on HTTP, and the listeners for the feeds.",
        parents=[settings.flags()],
    )
    chosen = settings.gather(vars(parser.parse_args(argv)))
    os.umask(0o077)  # what the hub writes is its owner's alone
    logs.configure()
    database = Address(chosen.database)
    folder = Folder(chosen.data, database.path if database.dialect == SQLITE else None)
    try:
        _share_numbers(folder)
        # Only now: it takes a third of a second, and the metrics library must find its folder.
        from app import supervise

        return supervise.run(chosen, folder, begun, stdout)
    finally:
        folder.close()


def _share_numbers(folder: Folder) -> None:
    """Let all processes of this hub count into one place, from nothing."""
    numbers = folder.path / "metrics"
    shutil.rmtree(numbers, ignore_errors=True)
    numbers.mkdir()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(numbers)
