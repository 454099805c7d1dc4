"""Build the terminology of medical devices from what the feeds' mappings say.

    python tools/build_device_terms.py

`mappings/iot/vocabulary.yaml` is the one source of which code stands for which: MDC (IEEE
11073-10101) numbers and reference ids, LOINC, UCUM. From it and the names in `mdc_names.txt` (our
own words) come `app/terminology/data/mdc.tsv` and the concept maps in `profiles/`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
VOCABULARY = ROOT / "mappings" / "iot" / "vocabulary.yaml"
BASE = "https://yilian.example/fhir/ConceptMap/"
MDC, LOINC, UCUM = (
    "urn:iso:std:iso:11073:10101",
    "http://loinc.org",
    "http://unitsofmeasure.org",
)
VERSION = "0.1.0"

Rows = Mapping[str, Any]
Json = dict[str, Any]


def main() -> None:
    for path, text in built().items():
        path.write_text(text, encoding="utf-8")


def built() -> Mapping[Path, str]:
    """Return file -> what it has to hold."""
    tables = yaml.safe_load(VOCABULARY.read_text("utf-8"))["tables"]
    rows = {name: table["rows"] for name, table in tables.items()}
    profiles = ROOT / "profiles"
    return {
        ROOT / "app" / "terminology" / "data" / "mdc.tsv": _concepts(rows),
        profiles / "ConceptMap-mdc-loinc.json": _text(_loinc(rows)),
        profiles / "ConceptMap-mdc-ucum.json": _text(_ucum(rows)),
    }


# --- the code system -----------------------------------------------------------------------------


def _concepts(rows: Mapping[str, Rows]) -> str:
    names = dict(_names())
    lines = [
        "# source: numbers and reference ids of IEEE 11073-10101 in mappings/iot/vocabulary.yaml;"
        " names: our own",
        f"# version: {VERSION}",
        "# written by tools/build_device_terms.py; do not edit",
        "code\treference id\tname\tzh\tunit",
    ]
    for refid, code in rows["mdc"].items():
        english, chinese = names[refid]
        lines.append(_line(code, refid, english, chinese, rows["usual-unit"].get(code, "")))
    for refid, code, unit in _dimensions(rows["unit"]):
        english, chinese = names.get(refid, ("", ""))
        lines.append(_line(code, refid, english, chinese, unit))
    return "\n".join(lines) + "\n"


def _names() -> Iterable[tuple[str, tuple[str, str]]]:
    for line in (HERE / "mdc_names.txt").read_text("utf-8").splitlines():
        refid, english, chinese = line.split("|")
        yield refid, (english, chinese)


def _line(*cells: str) -> str:
    return "\t".join(cells).rstrip("\t")


def _dimensions(units: Rows) -> Iterable[tuple[str, str, str]]:
    """Yield (reference id, number, UCUM) of each unit of MDC: they follow each other in the table.

    A reference id may have two numbers, a number belongs to the reference id before it.
    """
    refid = ""
    for key, unit in units.items():
        if key.startswith("MDC_DIM_"):
            refid = key
        elif key.isdigit() and refid:
            yield refid, key, unit


# --- the concept maps ----------------------------------------------------------------------------


def _loinc(rows: Mapping[str, Rows]) -> Json:
    """MDC -> LOINC. Where LOINC has a code for each kind of unit, each is narrower than MDC's."""
    molar, preferred = rows["mdc-loinc-molar"], rows["loinc-mdc"]
    names = dict(rows["loinc"].values())
    elements = []
    for code, loinc in rows["mdc-loinc"].items():
        split = code in molar
        targets = [_target(loinc, "narrower" if split else _relation(code, loinc, preferred))]
        if split:
            targets.append(_target(molar[code], "narrower"))
        for target in targets:
            if target["code"] in names:
                target["display"] = names[target["code"]]
        elements.append({"code": code, "target": targets})
    return _map("mdc-loinc", "MdcToLoinc", "MDC to LOINC", (MDC, LOINC), elements)


def _relation(code: str, loinc: str, preferred: Rows) -> str:
    """Return equivalent for the MDC code that LOINC's leads back to; for others LOINC is wider."""
    return "equivalent" if preferred.get(loinc) == code else "wider"


def _ucum(rows: Mapping[str, Rows]) -> Json:
    elements = [
        {"code": code, "target": [_target(unit, "equivalent")]}
        for _, code, unit in _dimensions(rows["unit"])
    ]
    return _map("mdc-ucum", "MdcUnitsToUcum", "MDC units to UCUM", (MDC, UCUM), elements)


def _target(code: str, equivalence: str) -> Json:
    return {"code": code, "equivalence": equivalence}


def _map(
    id_: str, name: str, title: str, systems: tuple[str, str], elements: Sequence[Json]
) -> Json:
    return {
        "resourceType": "ConceptMap",
        "id": id_,
        "url": BASE + id_,
        "version": VERSION,
        "name": name,
        "title": title,
        "status": "active",
        "experimental": False,
        "description": "What the mappings of device messages take for the same.",
        "group": [{"source": systems[0], "target": systems[1], "element": list(elements)}],
    }


def _text(resource: Json) -> str:
    return json.dumps(resource, ensure_ascii=False, indent=2) + "\n"


if __name__ == "__main__":
    main()
