"""Files and overlays put together (app/mapping/library.py)."""

import pytest

from app.errors import Invalid
from app.mapping.library import (
    belonging,
    merge,
    parse_file,
    place,
    read_folder,
    shipped_only,
    unconditional,
)
from app.paths import shipped

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
        ("overlay: x\nrules: 5\n", "site.yaml:2"),
        ("overlay: x\nrules: {extend: patient}\n", "site.yaml:2"),
        ("overlay: x\nrules:\n\n  - 5\n", "site.yaml:4"),
        ("overlay: x\nexamples: 5\n", "site.yaml:2"),
        ("overlay: x\nrules:\n  - {extend: patient, rule: a}\n", "site.yaml:3"),
        ("overlay: x\nrules:\n  - rule: a\n    before: nobody\n", "site.yaml:4"),
        ("overlay: x\nrules:\n  - extend: patient\n    set: [gender]\n", "site.yaml:4"),
        ("overlay: x\nrules:\n  - extend: patient\n    mention: yes\n", "site.yaml:4"),
        ("overlay: x\nrules:\n  - extend: patient\n    same: nmber\n", "site.yaml:4"),
        ("overlay: x\nrules:\n  - extend: patient\n    memo: PID-3\n", "site.yaml:4"),
        ("overlay: x\nmaps:\n  a:\n    gvies: string\n", "site.yaml:4"),
        ("overlay: x\nmaps:\n  a:\n    extend: true\n", "site.yaml:4"),
        ("overlay: x\nfragments:\n  a: {extend: true, text: b}\n", "site.yaml:3"),
        ("overlay: x\nmentions:\n  a:\n    resource: Flag\n    set: b\n", "site.yaml:5"),
        ("overlay: x\nformulas:\n  a: b |\n", "site.yaml:3"),
        ("overlay: x\ntables:\n  a:\n    rows: 5\n", "site.yaml:4"),
        ("overlay: x\ntables:\n  a:\n    sytem: s\n    rows: {b: c}\n", "site.yaml:4"),
        ("overlay: x\ntables:\n  a:\n    b: {code: c}\n", "site.yaml:4"),
        ("overlay: x\ntables:\n  a: [b, c]\n", "site.yaml:3"),
    ],
)
def test_a_slip_is_reported_with_file_and_line(overlay, at):
    with pytest.raises(Invalid) as caught:
        merged(overlay)

    assert caught.value.at == at


def test_a_name_that_is_nearly_right_is_told():
    with pytest.raises(Invalid, match="there is no rule `patiant`: is it `patient`\\?"):
        merged("overlay: x\nrules:\n  - extend: patiant\n")


def test_two_overlays_may_remove_the_same_rule():
    overlay = "overlay: x\nrules:\n  - remove: other\n"
    files = [parse_file(one.encode(), "t.yaml") for one in (BASE, overlay, overlay)]

    assert [rule.name for rule in merge("x", files).rules] == ["patient"]


def test_replaced_by_nothing_is_removed():
    overlay = "overlay: x\nrules:\n  - extend: patient\n    set: {gender!: ~}\n"

    assert "gender" not in merged(overlay).rules[0].body["set"]


@pytest.mark.parametrize(
    ("head", "at"), [("overlay: y", "t.yaml:1"), ("overlay:", "t.yaml:1"), ("note: z", "t.yaml:1")]
)
def test_a_file_says_which_feed_it_is_for(head, at):
    right, wrong = (parse_file(one.encode(), "t.yaml") for one in ("overlay: x", head))

    assert belonging([right], "x") == [right]
    with pytest.raises(Invalid, match="begins with `overlay: x`") as caught:
        belonging([right, wrong], "x")
    assert caught.value.at == at


def test_a_condition_where_a_feed_has_none_is_refused():
    with pytest.raises(Invalid) as caught:
        unconditional([parse_file(b"overlay: x\ntitle: t\nfor: a\n", "t.yaml")])

    assert caught.value.at == "t.yaml:3"


def test_files_of_a_site_are_told_from_those_that_ship(tmp_path):
    site = tmp_path / "site" / "hl7v2"
    site.mkdir(parents=True)
    (site / "base.yaml").write_text("overlay: hl7v2\n")
    shipped_ones, own = read_folder(shipped("mappings") / "hl7v2"), read_folder(site)

    assert shipped_only(shipped_ones)
    assert not shipped_only([*shipped_ones, *own])
    assert "hl7v2/base.yaml" in [file.name for file in shipped_ones]
    assert [file.name for file in own] == ["site/hl7v2/base.yaml"]
