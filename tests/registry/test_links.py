"""What resources state of each other becomes links (mappings/links.yaml, identifiers.md 6)."""

from __future__ import annotations

from datetime import UTC

import pytest

from app.clock import from_us
from app.errors import Invalid
from app.registry.links import load, shipped_rules

KINDS = "kinds:\n  a: {number: 1, flow: forward}\n"


def stated(type_name, **members):
    """Return the links of a resource as (kind, source, target)."""
    rules = shipped_rules()
    names = {kind.number: name for name, kind in rules.kinds.items()}
    found = rules.links_of(type_name, {"resourceType": type_name, **members}, UTC)
    return [(names[link.kind], link.source, link.target) for link in found]


def ref(text):
    return {"reference": text}


def test_a_pack_used_in_an_operation_is_linked_with_patient_and_operation():
    found = stated(
        "Procedure",
        subject=ref("Patient/p"),
        usedReference=[ref("Device/pack")],
        performedDateTime="2026-03-01",
    )

    assert found == [("used-on", "Device/pack", "Patient/p"), ("used-in", "Device/pack", "")]


def test_a_sterilisation_links_the_load_with_the_cycle_and_the_machine():
    found = stated("Procedure", subject=ref("Group/load"), usedReference=[ref("Device/autoclave")])

    assert found == [
        ("sterilised-in", "Group/load", ""),
        ("processed-with", "Group/load", "Device/autoclave"),
    ]


def test_the_period_of_a_member_is_when_the_link_holds():
    group = {
        "member": [
            {"entity": ref("Device/1"), "period": {"start": "2026-03-01T08:00:00Z"}},
            {"entity": ref("Device/2")},
        ]
    }

    first, second = shipped_rules().links_of("Group", group, UTC)

    assert from_us(first.low).isoformat() == "2026-03-01T08:00:00+00:00"
    assert (first.high, second.low) == (1 << 61, -(1 << 61))


def test_a_logical_reference_names_the_finest_key():
    item = {"identifier": {"system": "https://www.gs1.org/sscc", "value": "006141411234567890"}}

    found = stated(
        "SupplyDelivery", suppliedItem={"itemReference": item}, destination=ref("Location/ward")
    )

    assert found == [("located-at", "gs1:00:006141411234567890", "Location/ward")]


@pytest.mark.parametrize(
    ("code", "link"),
    [
        ("replaces", ("replaces", "", "Patient/o")),
        ("replaced-by", ("replaces", "Patient/o", "")),
        ("seealso", ("same-as", "", "Patient/o")),
    ],
)
def test_the_type_of_a_patient_link_decides_kind_and_direction(code, link):
    assert stated("Patient", link=[{"other": ref("Patient/o"), "type": code}]) == [link]


def test_contained_resources_and_links_to_oneself_are_left_out():
    assert stated("Specimen", parent=[ref("#x")]) == []
    assert stated("MedicationAdministration", medicationReference=ref("#m")) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (KINDS + "rules:\n  Group:\n    - {kind: b, from: self, to: x}", "no such kind"),
        (KINDS + "rules:\n  Group:\n    - {kind: a, from: self}", "kind, from and to"),
        (KINDS + "rules:\n  Group:\n    - {kind: a, from: self, to: x, too: y}", "kind, from"),
        (KINDS + "  b: {number: 1, flow: back}", "same number"),
        ("kinds:\n  a: {number: 1, flow: up}", "flow is"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_place(tmp_path, text, said):
    (tmp_path / "links.yaml").write_text(text)

    with pytest.raises(Invalid, match=said) as caught:
        load([tmp_path / "links.yaml"])

    assert caught.value.at


def test_a_site_adds_kinds_from_its_own_numbers_on(tmp_path):
    shipped = tmp_path / "shipped.yaml"
    shipped.write_text(KINDS)
    site = tmp_path / "site.yaml"
    site.write_text("kinds:\n  near: {number: 1000, flow: both}")

    assert load([shipped, site]).kinds["near"].number == 1000

    site.write_text("kinds:\n  near: {number: 5, flow: both}")
    with pytest.raises(Invalid, match="begin at 1000"):
        load([shipped, site])
