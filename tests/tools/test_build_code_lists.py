"""The tables of code lists: what the tool makes of the facts it is given."""

from __future__ import annotations

import pytest

from app.terminology.systems.facts import table
from tools import build_code_lists as tool


def test_a_subtag_of_the_registry_becomes_a_row_with_its_chinese_name():
    entry = {
        "Type": "language",
        "Subtag": "es",
        "Description": ["Spanish", "Castilian"],
        "Added": "2005-10-16",
        "Suppress-Script": "Latn",
    }

    row = tool._subtag(entry, {"language": {"es": "西班牙语"}})

    assert row == ("language", "es", "Spanish|Castilian", "西班牙语", "", "", "", "*")
    assert tool._subtag(entry | {"Deprecated": "2008-01-01"}, {})[-1] == ""
    assert tool._subtag(entry | {"Subtag": "qaa..qtz"}, {})[-1] == ""


def test_a_file_says_where_its_facts_are_from_and_of_which_version():
    text = tool._file("7", "somewhere", ("code", "name"), [("a", "A"), ("b", "")])

    assert text.splitlines()[:2] == ["# source: somewhere", "# version: 7"]
    assert text.splitlines()[3:] == ["code\tname", "a\tA", "b"]


TABLES = ("languages", "iso639", "countries", "subdivisions", "currencies", "time_zones", "dicom")


@pytest.mark.parametrize("name", [*TABLES, "mdc", "ucum_names"])
def test_each_table_that_ships_has_a_version_and_whole_rows(name):
    found = table(name)

    assert found.version
    assert len({len(row) for row in found.rows}) == 1
    assert all(row[0] for row in found.rows)
