"""The `yilian` command: finds the module behind a command and hands over.

Each command is one function `main(argv, stdin, stdout) -> exit code` in the part it belongs to,
imported only when it is called, so that `yilian --help` and `yilian id parse` start at once.
Exit codes: 0 done, 1 done but something in the input was wrong, 2 it could not be done.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from app.errors import YilianError


@dataclass(frozen=True, slots=True)
class Command:
    """A command, its one line of help, and the module that holds its `main`."""

    help: str
    module: str
    prepend: tuple[str, ...] = ()  # arguments put first: one module may serve several commands
    binary: bool = False  # it writes bytes


COMMANDS: Mapping[str, Command] = {
    "serve": Command("start the hub", "app.serve"),
    "demo": Command("start a hub on a fresh database and feed it the sample data", "app.demo"),
    "convert hl7v2": Command(
        "HL7 v2 messages to FHIR transaction Bundles, one a line",
        "app.feeds.hl7v2.convert",
        binary=True,
    ),
    "convert dicom": Command(
        "DICOM files to FHIR, one Bundle per study", "app.feeds.dicom.convert"
    ),
    "convert iot": Command("device messages to FHIR, one Bundle per message", "app.feeds.devices"),
    "send hl7v2": Command("send messages over MLLP and print the answers", "app.feeds.hl7v2.send"),
    "send dicom": Command("store files in a hub as a modality would", "app.feeds.dicom.send"),
    "send iot": Command("send device messages over HTTP or MQTT", "app.feeds.iot.send"),
    "load": Command("load resources, Bundles, NDJSON, FHIR packages", "app.load"),
    "validate": Command("check FHIR resources or HL7 v2 messages", "app.validate"),
    "id parse": Command("read identifiers and barcodes, one JSON a line", "app.registry.command"),
    "id trace": Command("what an identifier is linked with", "app.registry.trace_command"),
    "inbox": Command("messages received: list, show, replay, discard", "app.inbox"),
    "db upgrade": Command("bring the database to this release's schema", "app.db", ("upgrade",)),
    "db relink": Command("add the links that older resources state", "app.db", ("relink",)),
    "db check": Command("check the database's integrity", "app.db", ("check",)),
    "db backup": Command("copy the database while it is in use", "app.db_backup", ("backup",)),
    "db restore": Command("put a backup back", "app.db_backup", ("restore",)),
    "db distribute": Command("spread the tables with Citus", "app.db_distribute"),
    "bench": Command("measure this machine and this hub for a minute", "app.bench"),
}

_HEAD = """\
usage: yilian COMMAND [ARGUMENT...]

Yilian (医联) connects what hospitals have: HL7 v2, DICOM, device data and barcodes come in,
and one FHIR R4 server, terminology service and identifier resolver answers.
"""

_TAIL = """\
Start here:
  yilian demo                       a hub with sample data, and what to try
  yilian serve                      a hub on http://127.0.0.1:8080/fhir, data in ./yilian-data
  yilian convert hl7v2 adt.hl7      what a message becomes, without a hub

`yilian COMMAND --help` explains each. Settings: flags, YILIAN_... variables, or yilian.toml.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8")
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help(""))
        return 0 if words else 2
    if words[0] == "--version":
        print(f"yilian {version()}")
        return 0
    name, rest = _find(words)
    if name is None:
        return _complain(words)
    command = COMMANDS[name]
    if not available(command):
        return _fail(f"`yilian {name}` is not available in this version")
    return _run(command, rest)


def version() -> str:
    """Return the version of the installed distribution."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("yilian")
    except PackageNotFoundError:
        return "0 (checkout)"


def available(command: Command) -> bool:
    """Whether the module behind a command is part of this version."""
    try:
        return importlib.util.find_spec(command.module) is not None
    except ModuleNotFoundError:
        return False


def _find(words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in COMMANDS:
            return name, words[length:]
    return None, words


def _run(command: Command, rest: Sequence[str]) -> int:
    try:
        module = importlib.import_module(command.module)
        stdout = sys.stdout.buffer if command.binary else sys.stdout
        code = module.main([*command.prepend, *rest], sys.stdin.buffer, stdout)
        sys.stdout.flush()
        return cast(int, code)
    except YilianError as exc:
        return _fail(
            *(f"{issue.at}: {issue.text}" if issue.at else issue.text for issue in exc.issues)
        )
    except BrokenPipeError:  # `yilian ... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as exc:
        return _fail(f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc))


def _help(group: str) -> str:
    """Return the commands whose name begins with `group`."""
    rows = [(name, entry) for name, entry in COMMANDS.items() if name.startswith(group)]
    lines = [
        f"  {name:<15} {entry.help}{'' if available(entry) else ' (not in this version)'}"
        for name, entry in rows
    ]
    if group:
        return "\n".join([f"usage: yilian {group}COMMAND [ARGUMENT...]", "", *lines])
    return "\n".join([_HEAD, "Commands:", *lines, "", _TAIL.rstrip()])


def _complain(words: Sequence[str]) -> int:
    group = f"{words[0]} "
    members = [name for name in COMMANDS if name.startswith(group)]
    if not members:
        return _fail(f"there is no command `{words[0]}`; `yilian --help` lists them")
    if len(words) == 1 or words[1] in ("-h", "--help"):
        print(_help(group))
        return 0 if len(words) > 1 else 2
    known = ", ".join(name.removeprefix(group) for name in members)
    return _fail(f"`yilian {words[0]}` knows {known}, not `{words[1]}`")


def _fail(*lines: str) -> int:
    for line in lines:
        print(f"yilian: {line}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
