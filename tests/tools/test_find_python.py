"""Which Python the virtual environment is made of, with programs that answer as Pythons would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "find_python.py"


@pytest.fixture
def place(tmp_path: Path):
    def place(folder: str, name: str, version: str, seconds: float) -> str:
        program = tmp_path / folder / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho {version} {seconds} {program}\n")
        program.chmod(0o755)
        return str(program)

    return place


def found(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(str(tmp_path / one) for one in ("first", "second"))
    return subprocess.run(
        [sys.executable, TOOL], env={"PATH": path}, capture_output=True, text=True, timeout=60
    )


def test_the_usual_one_is_taken_unless_another_is_much_faster(place, tmp_path):
    usual = place("first", "python3", "3 11", 0.100)
    place("second", "python3", "3 11", 0.095)
    place("second", "python3.12", "3 12", 0.010)  # another version: other packages

    done = found(tmp_path)

    assert (done.stdout, done.stderr) == (f"{usual}\n", "")


def test_the_faster_build_of_the_same_version_is_taken(place, tmp_path):
    usual = place("first", "python3", "3 11", 0.3)
    faster = place("second", "python3", "3 11", 0.2)

    done = found(tmp_path)

    assert done.stdout == f"{faster}\n"
    assert done.stderr == f"{faster} is 1.5 times as fast as {usual}: taken.\n"


def test_one_that_is_too_old_is_passed_over(place, tmp_path):
    place("first", "python3", "3 9", 0.1)
    place("first", "python3.10", "3 10", 0.1)
    fit = place("first", "python3.12", "3 12", 0.1)

    assert found(tmp_path).stdout == f"{fit}\n"


def test_one_that_cannot_make_environments_is_passed_over(place, tmp_path):
    broken = place("first", "python3", "3 11", 0.1)
    Path(broken).write_text("#!/bin/sh\nexit 1\n")
    fit = place("second", "python3", "3 13", 0.1)

    assert found(tmp_path).stdout == f"{fit}\n"


def test_it_says_what_to_do_when_there_is_none(place, tmp_path):
    place("first", "python3", "3 9", 0.1)

    done = found(tmp_path)

    assert done.returncode == 1
    assert not done.stdout
    assert "make PYTHON=" in done.stderr
