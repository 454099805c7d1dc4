"""A code system of 300,000 concepts: loaded into a running hub, then asked over HTTP.

    python -m bench.terminology [--size 300000] [--backends sqlite,postgresql] [--secs 8]
                                [--only lookup,expand,...] [--postgres URL] [--write FILE]

The list is made up: every concept has an English and a Chinese name, a property and up to two
parents, eight below one. The load is `yilian load` beside the hub: seconds, its largest memory.
Requests a second are for one HTTP worker; `us cpu` is the processor time of all processes of the
hub per request. --write only writes the list.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

from bench.__main__ import ROOT, wrk
from tests.support import Postgres, RunningHub, running_hub

URL = "urn:x-yilian:bench"
ASKED = 10_000
_HEADER = "code,display,parent,parent,kind:code,designation:zh-CN\n"
_KINDS = ("process", "structure", "event", "agent", "state")
_FORMS = ("acute", "chronic", "primary", "secondary", "mild", "severe", "upper", "lower")
_HAN = "急慢性原继发轻重上下左右内外部前后心肝肾肺胃肠骨关节皮肤神经血管肌腱淋巴腺体炎症痛肿损伤"


def concepts(size: int) -> Iterator[str]:
    """Yield the lines of the list."""
    rnd = random.Random(7)
    words = [_word(rnd) for _ in range(4000)]
    yield _HEADER
    for number in range(size):
        parent = code((number - 1) // 8) if number else ""
        other = code(rnd.randrange(number // 2)) if number > 1000 and rnd.random() < 0.1 else ""
        if other == parent:
            other = ""
        english = f"{rnd.choice(_FORMS)} {rnd.choice(words)} {rnd.choice(words)} {number}"
        chinese = "".join(rnd.choices(_HAN, k=7))
        yield f"{code(number)},{english},{parent},{other},{rnd.choice(_KINDS)},{chinese}\n"


def code(number: int) -> str:
    """Return the code of a concept."""
    return f"B{number:07d}"


def _word(rnd: random.Random) -> str:
    size = rnd.choice((3, 4))
    return "".join(rnd.choice("bdfgklmnprstv") + rnd.choice("aeiou") for _ in range(size))


def write(path: Path, size: int) -> None:
    """Write the list."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(concepts(size))


# --- what is asked -------------------------------------------------------------------------------


def _lookups(rnd: random.Random, size: int) -> str:
    return "CodeSystem/$lookup?" + urlencode({"system": URL, "code": code(rnd.randrange(size))})


def _validations(rnd: random.Random, size: int) -> str:
    return "CodeSystem/$validate-code?" + urlencode({"url": URL, "code": code(rnd.randrange(size))})


def _memberships(rnd: random.Random, size: int) -> str:
    within = f"{URL}?fhir_vs=isa/{code(rnd.randrange(1, 500))}"
    asked = {"url": within, "system": URL, "code": code(rnd.randrange(size))}
    return "ValueSet/$validate-code?" + urlencode(asked)


def _subsumptions(rnd: random.Random, size: int) -> str:
    asked = {"system": URL, "codeA": code(rnd.randrange(500)), "codeB": code(rnd.randrange(size))}
    return "CodeSystem/$subsumes?" + urlencode(asked)


def _english(rnd: random.Random, size: int) -> str:
    return _expansion(f"{rnd.choice(_FORMS)[:4]} {_word(rnd)[:3]}")


def _chinese(rnd: random.Random, size: int) -> str:
    return _expansion("".join(rnd.choices(_HAN, k=2)))


def _pinyin(rnd: random.Random, size: int) -> str:
    return _expansion("".join(rnd.choices("bdfgjlnpsx", k=3)))


def _pages(rnd: random.Random, size: int) -> str:
    asked = {"url": f"{URL}?fhir_vs=isa/{code(rnd.randrange(1, 70))}", "count": "20"}
    return "ValueSet/$expand?" + urlencode(asked | {"offset": str(rnd.randrange(100))})


def _expansion(text: str) -> str:
    return f"ValueSet/$expand?url={quote(URL + '?fhir_vs', safe='')}&count=20&filter={quote(text)}"


LOADS: dict[str, Callable[[random.Random, int], str]] = {
    "$lookup": _lookups,
    "CodeSystem/$validate-code": _validations,
    "ValueSet/$validate-code, is-a": _memberships,
    "$subsumes": _subsumptions,
    "$expand 20, words": _english,
    "$expand 20, Chinese": _chinese,
    "$expand 20, initials": _pinyin,
    "$expand 20, is-a": _pages,
}


# --- measuring -----------------------------------------------------------------------------------


def load(hub: RunningHub, path: Path, database: str | None) -> tuple[float, float, float]:
    """Load the list beside the hub; return seconds, seconds of processor time, MB at most."""
    command = [sys.executable, "-m", "app.cli", "load", str(path), "--url", URL]
    command += ["--version", "1", "--data", str(hub.data)]
    command += ["--database", database] if database else []
    begun, before = time.perf_counter(), os.times()
    process = subprocess.Popen(command, cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("the list could not be loaded")
    used = os.times().children_user - before.children_user
    used += os.times().children_system - before.children_system
    return time.perf_counter() - begun, used, usage.ru_maxrss / 1024


def processor_us(hub: RunningHub) -> int:
    """Return the processor time of all processes of a hub so far."""
    group, ticks = os.getpgid(hub.process.pid), 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            cells = stat.read_text().rpartition(") ")[2].split()
        except OSError:  # it has ended
            continue
        if int(cells[2]) == group:
            ticks += int(cells[11]) + int(cells[12])
    return ticks * 1_000_000 // os.sysconf("SC_CLK_TCK")


def measure(backend: str, url: str | None, path: Path, args: argparse.Namespace) -> None:
    """Load one hub and print its figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_hub(folder / "data", "--workers", "1", database_url=url) as hub:
            seconds, used, most = load(hub, path, url)
            print(f"\n{backend}, {args.size:,} concepts: loaded in {seconds:.1f} s", end="")
            print(f" ({used:.1f} s of processor time, {most:.0f} MB at most)")
            heads = f"{'per s':>10}{'p50':>8}{'p95':>8}{'p99 ms':>9}{'us cpu':>9}"
            print(f"{'':32}{heads}")
            for label, make in LOADS.items():
                if args.only and not any(each in label for each in args.only.split(",")):
                    continue
                rnd = random.Random(label)
                file = folder / "addresses.txt"
                file.write_text(
                    "".join(f"/fhir/{make(rnd, args.size)}\n" for _ in range(ASKED)), "ascii"
                )
                before = processor_us(hub)
                found = wrk(hub.base, "read.lua", str(file), args.connections, args.secs)
                each = (processor_us(hub) - before) / max(1, found.rate * args.secs)
                wrong = f"  {found.errors} errors" if found.errors else ""
                print(
                    f"{label:32}{found.rate:10,.0f}{found.p50:8.1f}{found.p95:8.1f}"
                    f"{found.p99:9.1f}{each:9,.0f}{wrong}",
                    flush=True,
                )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=300_000)
    parser.add_argument("--backends", default="sqlite,postgresql")
    parser.add_argument("--secs", type=int, default=8)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--only", help="parts of the names of the loads to run")
    parser.add_argument("--postgres", default=os.environ.get("YILIAN_TEST_POSTGRES"))
    parser.add_argument("--write", metavar="FILE", type=Path, help="only write the list")
    args = parser.parse_args()
    if args.write:
        write(args.write, args.size)
        return 0
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "list.csv"
        write(path, args.size)
        for backend in args.backends.split(","):
            if backend == "sqlite":
                measure(backend, None, path, args)
                continue
            server = Postgres(in_earnest=True)
            try:
                with server.database() as url:
                    measure(backend, args.postgres or url, path, args)
            finally:
                server.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
