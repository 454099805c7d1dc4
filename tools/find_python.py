"""Print the Python that the virtual environment is made of: `make` asks when it is not told one.

`python3`, unless it is older than 3.11 or cannot make virtual environments: then another one on
PATH. Of one version the same machine may have builds that differ by a third in speed (those of
distributions are optimised with a profile, many that were built by hand are not), so the fastest
build of that version is taken. Runs with any Python 3.
"""

import glob
import os
import subprocess
import sys

OLDEST = (3, 11)
MUCH = 0.9  # of the time of the first one found: less is worth another Python than one may expect
# What a Python is asked: version, the least seconds for a piece of work, where it is.
QUESTION = """
import ensurepip, sys, time, venv
class Field:
    def __init__(self, text, at):
        self.text, self.at = text, at
    def key(self):
        return self.at, self.text
def work():
    known = {}
    for n in range(3000):
        field = Field("OBX", n & 63)
        known[field.key()] = known.get(field.key(), 0) + n
    return len(known)
def timed():
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
print(*sys.version_info[:2], min(timed() for _ in range(20)), sys._base_executable)
"""
TURNS = 8  # that each is asked, one after the other: other work slows some of them down


def answer(program: str) -> "tuple[tuple[int, int], float, str] | None":
    """Return (version, seconds, where it is); None of one that cannot make environments."""
    try:
        done = subprocess.run(  # noqa: S603 - it is on PATH
            [program, "-I", "-c", QUESTION],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=20,
        )
        major, minor, seconds, where = done.stdout.decode().rstrip("\n").split(" ", 3)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return (int(major), int(minor)), float(seconds), where


def programs() -> "list[str]":
    """Return the Pythons on PATH: `python3` first, each once."""
    places = os.environ.get("PATH", os.defpath).split(os.pathsep)
    found = [os.path.join(place, "python3") for place in places]
    for place in places:
        found += sorted(glob.glob(os.path.join(place, "python3.[0-9]*[0-9]")))
    return list(dict.fromkeys(one for one in found if os.access(one, os.X_OK)))


def main() -> None:
    known: dict[str, tuple[tuple[int, int], str]] = {}
    for program in programs():
        told = answer(program)
        if told is not None and told[0] >= OLDEST:
            known.setdefault(os.path.realpath(told[2]), (told[0], program))
    if not known:
        sys.exit(
            "No Python of 3.11 or later that can make virtual environments was found on PATH.\n"
            "Install one (on Debian: python3 and python3-venv), or say where it is:\n"
            "  make PYTHON=/path/to/python3.12"
        )
    first = next(iter(known.values()))
    same = [program for version, program in known.values() if version == first[0]]
    least = dict.fromkeys(same, float("inf"))
    for program in same * TURNS if len(same) > 1 else ():
        told = answer(program)
        least[program] = min(least[program], told[1] if told else float("inf"))
    usual, fastest = same[0], min(same, key=lambda one: least[one])
    if least[fastest] < MUCH * least[usual]:
        times = least[usual] / least[fastest]
        print(f"{fastest} is {times:.1f} times as fast as {usual}: taken.", file=sys.stderr)
        print(fastest)
    else:
        print(usual)


main()
