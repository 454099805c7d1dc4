"""A vocabulary table may be a ConceptMap (app/mapping/conceptmaps.py)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.errors import Invalid
from app.mapping.library import merge, read_folder

WARDS = {
    "resourceType": "ConceptMap",
    "url": "urn:test:wards",
    "group": [
        {
            "source": "urn:test:his|1",
            "target": "urn:test:fhir",
            "element": [
                {"code": "S", "target": [{"code": "surg", "equivalence": "equivalent"}]},
                {"code": "X", "target": [{"code": "none", "equivalence": "disjoint"}]},
                {"code": "M", "target": [{"code": "med", "equivalence": "wider"}]},
            ],
        }
    ],
}


def folder(tmp_path: Path, text: str) -> Path:
    (tmp_path / "site.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "ConceptMap-wards.json").write_text(json.dumps(WARDS), encoding="utf-8")
    return tmp_path


def test_a_table_has_the_rows_of_the_map_it_names_and_its_own_before_them(tmp_path):
    text = "tables:\n  ward: {concept-map: 'urn:test:wards', rows: {M: [medicine, Medicine]}}\n"

    table = merge("x", read_folder(folder(tmp_path, text))).tables["ward"]

    assert table.rows == {
        "S": ("surg", None, "urn:test:fhir"),
        "M": ("medicine", "Medicine", None),
    }
    assert table.origin == "urn:test:his"


def test_the_maps_that_ship_are_found_and_count_for_the_digest(tmp_path):
    url = "https://yilian.example/fhir/ConceptMap/mdc-loinc"
    files = read_folder(folder(tmp_path, f"tables:\n  mdc:\n    concept-map: {url}\n"))

    library = merge("x", files)

    assert library.tables["mdc"].rows["147842"] == ("8867-4", "Heart rate", "http://loinc.org")
    (tmp_path / "ConceptMap-nearer.json").write_text(json.dumps(WARDS | {"url": url}))
    assert merge("x", files).digest != library.digest


def test_a_map_that_is_not_there_is_told_with_its_line(tmp_path):
    files = read_folder(folder(tmp_path, "tables:\n  ward:\n    concept-map: urn:none\n"))

    with pytest.raises(Invalid) as error:
        merge("x", files)

    assert error.value.at.endswith("site.yaml:3")
