"""Build `app/registry/data/gs1_ais.json` from the GS1 Barcode Syntax Dictionary.

    python tools/build_gs1_table.py gs1-syntax-dictionary.txt "commit ff2eb4b, 2026-07-27"

One row per application identifier or range: the facts of the dictionary (Apache-2.0) in our own
form. Row: flags, components, requirements, exclusions, Digital Link qualifiers, title.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "app" / "registry" / "data" / "gs1_ais.json"
SOURCE = "GS1 Barcode Syntax Dictionary, gs1/gs1-syntax-dictionary, Apache-2.0"

_AIS = re.compile(r"^(\d{2,4})(?:-(\d{2,4}))?\s+(.*)$")
_COMPONENT = re.compile(r"^(\[)?([NXYZ])(\.\.)?(\d+)\]?((?:,\w+)*)$")
_FLAGS = re.compile(r"^([*?!\"$%&'()+,\-./:;<=>@\\^_`{|}~]+)\s+(.*)$")


def component(word: str) -> list[Any] | None:
    """Return [type, shortest, longest, rules] of "N13,csum,gcppos1" or "[X..17]"."""
    found = _COMPONENT.match(word)
    if found is None:
        return None
    optional, kind, variable, size, rules = found.groups()
    longest = int(size)
    shortest = 0 if optional else 1 if variable else longest
    return [kind, shortest, longest, rules[1:].split(",") if rules else []]


def row(line: str) -> tuple[str, dict[str, Any]] | None:
    """Return the key ("01" or "3100-3105") and the row of one dictionary line."""
    body, _, title = line.partition("#")
    found = _AIS.match(body.strip())
    if found is None:
        return None
    first, last, rest = found.groups()
    flags = ""
    if marked := _FLAGS.match(rest):
        flags, rest = marked.groups()
    out: dict[str, Any] = {"title": title.strip(), "parts": []}
    if "*" in flags:
        out["predefined"] = True
    if "?" in flags:
        out["attribute"] = True
    for word in rest.split():
        part = component(word)
        name, _, value = word.partition("=")
        if part is not None:
            optional_exact = word.startswith("[") and ".." not in word
            out["parts"].append([*part, True] if optional_exact else part)
        elif name == "req":
            out.setdefault("req", []).append([way.split("+") for way in value.split(",")])
        elif name == "ex":
            out.setdefault("ex", []).extend(value.split(","))
        elif name == "dlpkey":
            out["key"] = [way.split(",") for way in value.split("|")] if value else [[]]
        else:
            raise ValueError(f"not understood: {word}")
    return (f"{first}-{last}" if last else first), out


def build(text: str, version: str) -> str:
    """Return the JSON text of the table: one row a line, so that a new edition reads as a diff."""
    rows = dict(found for line in text.splitlines() if line[:1].isdigit() and (found := row(line)))
    lines = [
        f"    {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in rows.items()
    ]
    head = f'{{\n  "source": {json.dumps(SOURCE)},\n  "version": {json.dumps(version)},\n'
    return head + '  "ais": {\n' + ",\n".join(lines) + "\n  }\n}\n"


def main(argv: list[str]) -> int:
    if len(argv) != 2:
        print("usage: build_gs1_table.py DICTIONARY VERSION", file=sys.stderr)
        return 2
    text = Path(argv[0]).read_text(encoding="utf-8")
    TARGET.write_text(build(text, argv[1]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
