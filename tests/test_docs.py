"""The documentation tells the truth: its `console` blocks are run against a hub.

In a block, `$ ` begins a command and the lines below are what it prints; `...` stands for anything,
a last line `[1]` for the exit code. Commands of one file run in order, in one folder, with the hub
of the page on the default ports. `python` blocks are a session of the interpreter, run in a folder
of its own.
"""

import doctest
import os
import re
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest

from app import settings
from tests.support import ROOT, running_hub

DEFAULTS = {"http": "127.0.0.1:8080", "mllp": "127.0.0.1:2575", "dicom": "127.0.0.1:11112"}
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page):
    """Return (line, command, expected output) for each command of a page."""
    text = page.read_text("utf-8")
    found = []
    for block in _BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1)) + 1
        for part in re.split(r"^\$ ", block.group(1), flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            found.append((line, command, expected))
            line += part.count("\n")
    return found


def matches(expected, printed):
    pattern = ".*?".join(re.escape(part) for part in expected.strip().split("..."))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def _here(text, hub):
    """Return the text with the addresses on which the hub of the test really listens."""
    for name, address in DEFAULTS.items():
        text = text.replace(address, hub.addresses.get(name, address))
    return text


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_hub(tmp_path_factory.mktemp("docs") / "yilian-data") as running:
        yield running


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if commands(page)],
)
def test_every_shown_command_prints_what_is_shown(page, hub, tmp_path):
    (tmp_path / "yilian-data").symlink_to(hub.data)
    (tmp_path / "fixtures").symlink_to(ROOT / "fixtures")
    (tmp_path / "yilian").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m app.cli "$@"\n')
    (tmp_path / "yilian").chmod(0o755)
    environ = os.environ | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    wrong = []
    for line, command, expected in commands(page):
        command, expected = (_here(text, hub) for text in (command, expected))
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        code = f"[{done.returncode}]" if done.returncode else ""
        printed = "\n".join(part for part in (done.stdout.strip(), code) if part)
        if not matches(expected, printed):
            wrong.append(f"{page.name}:{line}\n$ {command}\n{printed}\n{done.stderr}")

    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page in PAGES
        if ">>> " in page.read_text("utf-8")
    ],
)
def test_every_shown_session_prints_what_is_shown(page, tmp_path):
    with chdir(tmp_path):
        failed, tried = doctest.testfile(
            str(page), module_relative=False, optionflags=doctest.ELLIPSIS
        )

    assert tried
    assert not failed


def test_the_table_of_settings_is_the_one_that_is_true():
    page = (ROOT / "docs" / "operate.md").read_text("utf-8")

    assert settings.table() in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_documentation_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))

    assert [t for t in targets if not Path(page.parent, t).exists()] == []
