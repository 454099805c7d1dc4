"""Files and overlays put together (app/mapping/library.py)."""

import pytest

from app.errors import Invalid
from app.mapping.library import merge, parse_file, place

BASE = """
tables:
  sex: {M: male, F: female}
rules:
  - rule: patient
    resource: Patient
    each: PID
    set:
      gender: PID-8
      name:
        - PID-5 | XPN
      contact: {gender: a}
  - rule: other
    resource: Account
    each: PID
"""


def merged(overlay):
    files = [parse_file(BASE.encode(), "base.yaml"), parse_file(overlay.encode(), "site.yaml")]
    return merge("x", files)


def test_rows_of_a_table_are_added_replaced_and_removed():
    table = merged("overlay: x\ntables:\n  sex: {W: female, M: ~, F: other}\n").tables["sex"]

    assert {code: row[0] for code, row in table.rows.items()} == {"F": "other", "W": "female"}


def test_extending_a_rule_merges_objects_appends_to_arrays_and_removes():
    overlay = """
overlay: x
rules:
  - extend: patient
    when: PID-3
    set:
      gender: ~
      name: [ZPI-2 | XPN]
      contact: {text: b}
"""
    rule = merged(overlay).rules[0].body

    assert rule["when"] == "PID-3"
    assert rule["set"] == {
        "name": ["PID-5 | XPN", "ZPI-2 | XPN"],
        "contact": {"gender": "a", "text": "b"},
    }
    assert place(rule["set"]["name"], 1, "?") == "site.yaml:8"
    assert place(rule, "when", "?") == "site.yaml:5"


def test_an_exclamation_mark_replaces_instead_of_merging():
    overlay = "overlay: x\nrules:\n  - extend: patient\n    set: {name!: [ZPI-2 | XPN]}\n"

    assert merged(overlay).rules[0].body["set"]["name"] == ["ZPI-2 | XPN"]


def test_rules_are_removed_replaced_and_added():
    overlay = """
overlay: x
rules:
  - remove: other
  - {rule: patient, resource: Person, each: PID}
  - {rule: new, resource: Flag, each: PID, before: patient}
"""
    rules = merged(overlay).rules

    assert [(rule.name, rule.body["resource"]) for rule in rules] == [
        ("new", "Flag"),
        ("patient", "Person"),
    ]


@pytest.mark.parametrize(
    ("overlay", "at"),
    [
        ("overlay: x\nruls: []\n", "site.yaml:2"),
        ("overlay: x\nrules:\n  - extend: nobody\n", "site.yaml:3"),
        ("overlay: x\nrules:\n  - {rule: a, whn: b}\n", "site.yaml:3"),
        ("overlay: x\ntables: [1]\n", "site.yaml:2"),
    ],
)
def test_a_slip_is_reported_with_file_and_line(overlay, at):
    with pytest.raises(Invalid) as caught:
        merged(overlay)

    assert caught.value.at == at
