"""The command line: help that teaches, clear errors with exit code 2, a quick start."""

import subprocess
import sys

import pytest

from app import cli

_HEAVY = ("flask", "sqlalchemy", "pydicom", "hl7apy", "granian", "psycopg", "lxml", "app.store")


def test_help_lists_every_command_with_a_sentence(capsys):
    assert cli.main(["--help"]) == 0

    shown = capsys.readouterr().out
    for name, command in cli.COMMANDS.items():
        assert f"  {name}" in shown
        assert command.help in shown


def test_a_group_lists_its_commands(capsys):
    assert cli.main(["convert", "--help"]) == 0

    shown = capsys.readouterr().out
    assert "convert hl7v2" in shown
    assert "inbox" not in shown


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["frobnicate"], "yilian: there is no command `frobnicate`; `yilian --help` lists them"),
        (["id", "guess"], "yilian: `yilian id` knows parse, trace, not `guess`"),
    ],
)
def test_a_wrong_command_is_one_clear_line_and_exit_code_2(words, line, capsys):
    assert cli.main(words) == 2

    assert capsys.readouterr().err == line + "\n"


def test_a_command_of_a_later_version_says_so(capsys, monkeypatch):
    missing = cli.Command("not there yet", "app.not_there_yet")
    monkeypatch.setitem(cli.COMMANDS, "later", missing)

    assert cli.main(["later"]) == 2
    assert capsys.readouterr().err == "yilian: `yilian later` is not available in this version\n"


def test_a_bad_setting_is_one_line_for_each_bad_value(capsys):
    assert cli.main(["serve", "--http", "8080", "--workers", "0"]) == 2

    assert capsys.readouterr().err.splitlines() == [
        "yilian: --http: '8080' is not usable; expected HOST:PORT or off",
        "yilian: --workers: '0' is not usable; expected 1 to 256",
    ]


def test_the_command_line_loads_only_what_the_command_needs():
    code = f"import app.cli, sys; print([m for m in {_HEAVY!r} if m in sys.modules])"

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert shown.stdout == "[]\n"


def test_help_loads_none_of_the_heavy_packages():
    heavy = ("flask", "sqlalchemy", "lxml", "pydicom", "hl7apy", "fhir", "granian", "psycopg")
    code = (
        "import runpy, sys\n"
        "sys.argv = ['yilian', '--help']\n"
        "try:\n    runpy.run_module('app.cli', run_name='__main__')\n"
        f"except SystemExit:\n    print(sorted(set({heavy!r}) & set(sys.modules)))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.splitlines()[-1] == "[]"
