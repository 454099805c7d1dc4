"""Compile facts about HL7 v2 into files of ours.

    build_v2_mappings.py tables MAPPINGS_FOLDER > mappings/hl7v2/tables-official.yaml
    build_v2_mappings.py devices IOT_FOLDER > mappings/hl7v2/tables-devices.yaml
    build_v2_mappings.py fields > app/feeds/hl7v2/fields.py

`tables` reads the code maps of the HL7 guide "Version 2 to FHIR" (folder `codesystems` of its
mappings) and prints vocabulary tables: only codes, displays and systems. `devices` reads the tables
of device codes (MDC numbers with LOINC and UCUM); pairs nobody confirmed are left out. `fields`
reads hl7apy's dictionaries and prints the data type of every field of every segment.
"""

from __future__ import annotations

import csv
import importlib
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

# Identity tables of hundreds of rows that no rule looks up.
LEFT_OUT = {"event-type", "message-structure", "touch-me-to-force-build"}

# Slips of the published tables: (table, source code) -> target code; None takes the row away.
ERRATA: dict[tuple[str, str], str | None] = {
    # HTTP and v3 codes: the guide gives R5 or draft codes that R4's required bindings lack.
    ("result-status.non-queries", "A"): "partial",
    ("address-type.use", "BA"): None,
}
# R4 codes behind what the guide writes in words.
_TARGETS = {"In Progress": "in-progress"}
_HEAD = """\
# Vocabulary tables, compiled by tools/build_v2_mappings.py from the code maps of the HL7 guide
# "HL7 Version 2 to FHIR" (HL7 International, hl7.fhir.uv.v2mappings). Do not edit: overlays and
# the other files of this folder add to these tables by name.
#
# row: target code, or [code, display], or [code, display, system]. `from` is the source system.
mapping: hl7v2
tables:
"""


def main(argv: list[str]) -> int:
    if argv[:1] == ["tables"] and len(argv) == 2:
        sys.stdout.write(tables(Path(argv[1]) / "codesystems"))
        return 0
    if argv[:1] == ["devices"] and len(argv) == 2:
        sys.stdout.write(devices(Path(argv[1])))
        return 0
    if argv == ["fields"]:
        sys.stdout.write(fields())
        return 0
    sys.stderr.write((__doc__ or "") + "\n")
    return 2


def tables(folder: Path) -> str:
    out = [_HEAD]
    for path in sorted(folder.glob("*.csv")):
        name = table_name(path.stem)
        if name in LEFT_OUT:
            continue
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))[2:]
        out.append(_table(name, rows))
    return "".join(out)


def table_name(stem: str) -> str:
    """Return our name for `HL7 Concept Map_ PatientClass[EncounterClass] - Sheet1`."""
    text = stem.removeprefix("HL7 Concept Map_ ").rpartition(" - ")[0]
    text, _, variant = text.partition("[")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+", "-", text).strip("-").lower()
    variant = re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+", "-", variant).strip("-").lower()
    return f"{words}.{variant}" if variant else words


def _table(name: str, rows: list[list[str]]) -> str:
    found: dict[str, tuple[str, str, str]] = {}
    origins: Counter[str] = Counter()
    systems: Counter[str] = Counter()
    for row in rows:
        cells = [cell.strip() for cell in row] + [""] * 12
        code, origin, target = cells[0], cells[2], cells[6]
        display, system = (cells[8], cells[9]) if cells[9] else (cells[7], cells[8])
        target = ERRATA.get((name, code), _TARGETS.get(target, target)) or ""
        if not code or not target or code in found or re.search(r"\s", target):
            continue
        if not system.startswith(("http", "urn")):
            system = ""
        found[code] = (target, display, system)
        origins[origin] += 1
        systems[system] += 1
    if not found:
        return ""
    main_system = systems.most_common(1)[0][0]
    origin = origins.most_common(1)[0][0]
    lines = [f"  {name}:\n"]
    if main_system:
        lines.append(f"    system: {main_system}\n")
    if number := re.fullmatch(r"HL7(\d{4})\d*", origin):
        uri = f"http://terminology.hl7.org/CodeSystem/v2-{number[1]}"
        lines.append(f"    from: {uri}\n")
    lines.append("    rows:\n")
    for code, (target, display, system) in found.items():
        other = system if system != main_system else ""
        lines.append(f"      {_quoted(code)}: {_row(target, display, other)}\n")
    return "".join(lines)


def _row(target: str, display: str, system: str) -> str:
    if system:
        return f"[{_quoted(target)}, {_quoted(display) if display else '~'}, {_quoted(system)}]"
    return f"[{_quoted(target)}, {_quoted(display)}]" if display else _quoted(target)


def _quoted(text: str) -> str:
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", text) and text.lower() not in _WORDS:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def devices(folder: Path) -> str:
    """Return the tables that turn MDC metrics into LOINC codes and MDC units into UCUM."""
    out = [
        "# Device codes (IEEE 11073-10101), compiled by tools/build_v2_mappings.py: only pairs\n"
        "# that were confirmed. Do not edit; overlays add rows to these tables by name.\n"
        "mapping: hl7v2\ntables:\n  mdc-to-loinc:\n    system: http://loinc.org\n    rows:\n"
    ]
    for row in _tsv(folder / "mdc-loinc-ucum.tsv"):
        refid, code, loinc, _, _, confirmed, *_ = [*row, "", "", "", ""]
        if confirmed == "y" and loinc and loinc != "-":
            out.append(f'      "{code}": "{loinc.partition("|")[0]}"  # {refid}\n')
    out.append("  mdc-units:\n    system: http://unitsofmeasure.org\n    rows:\n")
    for refid, code, ucum, *_ in _tsv(folder / "mdc-dim-ucum.tsv"):
        out.append(f'      "{code}": "{ucum}"  # {refid}\n')
    return "".join(out)


def _tsv(path: Path) -> list[list[str]]:
    lines = path.read_text("utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))


_VERSIONS = ("2_8_2", "2_7", "2_6", "2_5_1", "2_3_1")  # of hl7apy's dictionaries


def fields() -> str:
    """Return fields.py: the newest dictionary, with what older versions had in addition."""
    known: dict[str, list[str]] = {}
    for version in _VERSIONS:
        module: Any = importlib.import_module(f"hl7apy.v{version}")
        for name, definition in module.SEGMENTS.items():
            if not re.fullmatch(r"[A-Z][A-Z0-9]{2}", name):
                continue
            types = known.setdefault(name, [])
            if len(definition) < 2:
                continue
            for field_name, reference, *_ in definition[1]:
                number = int(field_name.rpartition("_")[2])
                while len(types) < number:
                    types.append("-")
                if types[number - 1] in ("-", "NUL", "varies"):
                    types[number - 1] = reference[2] or "-"
    lines = [
        '"""The data types of the fields of every segment; made by tools/build_v2_mappings.py.\n\n'
        "Newest first (2.8.2), completed from 2.7, 2.6, 2.5.1 and 2.3.1; `-` is not known.\n"
        "COMPONENTS: how many a data type has in the version in which it has most.\n"
        '"""\n\nFIELDS: dict[str, str] = {\n'
    ]
    for name in sorted(known):
        text = " ".join(known[name])
        if len(text) <= 84:
            lines.append(f'    "{name}": "{text}",\n')
        else:
            lines.append(f'    "{name}": (\n')
            for part in _wrapped(known[name]):
                lines.append(f'        "{part}"\n')
            lines.append("    ),\n")
    lines.append("}\n\nCOMPONENTS: dict[str, int] = {\n")
    used = {type_ for types in known.values() for type_ in types}
    lines += [f'    "{name}": {n},\n' for name, n in sorted(_components().items()) if name in used]
    lines.append("}\n")
    return "".join(lines)


def _components() -> dict[str, int]:
    """Return how many components each data type has that has any; not of NA, an array."""
    found: dict[str, int] = {}
    for version in _VERSIONS:
        module: Any = importlib.import_module(f"hl7apy.v{version}")
        for name, parts in module.DATATYPES_STRUCTS.items():
            found[name] = max(found.get(name, 0), len(parts))
    return {name: count for name, count in found.items() if count > 1 and name != "NA"}


def _wrapped(types: list[str]) -> list[str]:
    out = [""]
    for index, name in enumerate(types):
        word = name if index == len(types) - 1 else f"{name} "
        if len(out[-1]) + len(word) > 84:
            out.append("")
        out[-1] += word
    return out


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
