"""Links are followed forward and back, in time, without going round (identifiers.md 8)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.clock import to_us
from app.errors import Invalid
from app.fhir import dates
from app.registry.links import shipped_rules
from app.registry.trace import Asked, follow, is_shared, starts

GTIN = "https://www.gs1.org/gtin"
PACK = "https://yilian.example/fhir/sid/pack-c"


def ref(text):
    return {"reference": text}


def stay(place, start, end):
    return {"location": ref(f"Location/{place}"), "period": {"start": start, "end": end}}


def traced(registry, code, **asked):
    graph = registry.store.graph
    return follow(graph, shipped_rules().kinds, starts(graph, code), Asked(**asked))


def reached(registry, code, **asked):
    found = traced(registry, code, **asked)
    return {found.name(node) for node in found.places}


def pack(registry, n, load, patient=None, day="2026-03-02"):
    registry.put("Device", f"pack-{n}", identifier=[{"system": PACK, "value": f"P{n}"}])
    if patient:
        registry.put(
            "Procedure",
            f"operation-{n}",
            status="completed",
            subject=ref(f"Patient/{patient}"),
            usedReference=[ref(f"Device/pack-{n}")],
            performedDateTime=day,
        )


@pytest.fixture
def plant(registry):
    """Two loads of two packs; patients a and b met packs of one load, c of the other."""
    for name in "abc":
        registry.put("Patient", name)
    registry.put("Device", "autoclave")
    for load, packs in (("one", (1, 2)), ("two", (3, 4))):
        registry.put(
            "Group",
            load,
            type="device",
            actual=True,
            member=[{"entity": ref(f"Device/pack-{n}")} for n in packs],
        )
        registry.put(
            "Procedure",
            f"cycle-{load}",
            status="completed",
            subject=ref(f"Group/{load}"),
            usedReference=[ref("Device/autoclave")],
            performedDateTime="2026-03-01",
        )
    pack(registry, 1, "one", "a", "2026-03-02")
    pack(registry, 2, "one", "b", "2026-03-03")
    pack(registry, 3, "two", "c", "2026-03-04")
    pack(registry, 4, "two")
    return registry


def test_from_an_infected_patient_to_everybody_who_met_the_same_load(plant):
    found = traced(plant, "Patient/a")

    names = {found.name(node) for node in found.places}
    assert {"Device/pack-1", "Group/one", "Device/pack-2", "Patient/b"} <= names
    assert not names & {"Patient/c", "Group/two", "Device/pack-3"}  # the machine is not crossed
    assert "Device/autoclave" in names


def test_back_leads_to_the_origins_alone(plant):
    names = reached(plant, "Patient/a", direction="back")

    assert names == {
        "Patient/a", "Device/pack-1", "Group/one", "Procedure/cycle-one", "Device/autoclave",
    }  # fmt: skip


def test_forward_from_the_machine_leads_to_all_patients(plant):
    names = reached(plant, "Device/autoclave", direction="forward")

    assert {"Patient/a", "Patient/b", "Patient/c"} <= names


def test_a_printed_code_starts_where_its_resource_does(plant):
    names = reached(plant, f"{PACK}|P1", direction="forward")

    assert names == {f"id:{PACK}|P1", "Device/pack-1", "Patient/a", "Procedure/operation-1"}


def test_only_links_that_held_in_the_window_are_followed(plant):
    between = (
        to_us(datetime(2026, 3, 3, tzinfo=UTC)),
        to_us(datetime(2026, 3, 5, tzinfo=UTC)),
    )

    names = reached(plant, "Group/one", direction="forward", between=between)

    assert "Patient/b" in names
    assert "Patient/a" not in names


def test_depth_kinds_and_number_of_nodes_bound_the_answer(plant):
    assert reached(plant, "Patient/a", depth=1) == {
        "Patient/a", "Device/pack-1",
    }  # fmt: skip
    assert "Group/one" not in reached(plant, "Patient/a", kinds=["used-on"])
    few = traced(plant, "Patient/a", nodes=3)
    assert few.truncated
    assert len(few.places) == 3
    assert all(e.source in few.places and e.target in few.places for e in few.edges)


def test_an_unknown_kind_is_refused(plant):
    with pytest.raises(Invalid):
        traced(plant, "Patient/a", kinds=["eaten-by"])


def test_a_cycle_ends(registry):
    for here, there in (("1", "2"), ("2", "3"), ("3", "1")):
        registry.put("Device", here, parent=ref(f"Device/{there}"))

    found = traced(registry, "Device/1")

    assert {found.name(n) for n in found.places} == {"Device/1", "Device/2", "Device/3"}
    assert len(found.edges) == 3


def test_links_change_with_the_resource_that_states_them(registry):
    registry.put("Device", "x", owner=ref("Organization/1"))
    registry.put("Device", "x", owner=ref("Organization/2"))
    assert reached(registry, "Device/x") == {"Device/x", "Organization/2"}

    registry.delete("Device", "x")
    assert reached(registry, "Organization/2") == {"Organization/2"}


def test_an_unchanged_link_survives_an_update(registry):
    registry.put("Device", "x", owner=ref("Organization/1"))
    registry.put("Device", "x", owner=ref("Organization/1"), lotNumber="7")

    assert reached(registry, "Device/x") == {"Device/x", "Organization/1"}


def test_a_lot_leads_to_its_items_and_an_item_not_to_its_lot_mates(registry):
    for serial in ("A", "B"):
        registry.put(
            "Device",
            serial,
            udiCarrier=[{"carrierHRF": f"(01)09521234000037(10)L7(21){serial}"}],
            patient=ref(f"Patient/{serial}"),
        )

    lot = reached(registry, "(01)09521234000037(10)L7", direction="forward")
    item = reached(registry, "(01)09521234000037(21)A")

    assert {"Device/A", "Device/B", "Patient/A", "Patient/B"} <= lot
    assert item == {"gs1:01:09521234000037:21:A", "Device/A", "Patient/A"}


def test_what_is_only_named_by_its_number_meets_the_resource_that_carries_it(registry):
    sscc = {"system": "https://www.gs1.org/sscc", "value": "006141411234567890"}
    registry.put(
        "SupplyDelivery",
        "1",
        status="completed",
        suppliedItem={"itemReference": {"identifier": sscc}},
        destination=ref("Location/ward"),
    )
    assert [g.code for g in traced(registry, "(00)006141411234567890").gaps] == [
        "not-here",
        "unregistered",
    ]

    registry.put("Location", "ward")
    registry.put("Device", "case", identifier=[sscc])

    found = traced(registry, "Device/case")
    assert {found.name(n) for n in found.places} == {
        "Device/case", "gs1:00:006141411234567890", "Location/ward",
    }  # fmt: skip
    assert found.gaps == []


def test_the_time_between_two_places_is_a_gap(registry):
    for name in ("er", "icu"):
        registry.put("Location", name)
    registry.put("Patient", "p")
    registry.put(
        "Encounter",
        "e",
        status="finished",
        **{"class": {"code": "IMP"}},
        subject=ref("Patient/p"),
        location=[
            {
                "location": ref("Location/er"),
                "period": {"start": "2026-03-01", "end": "2026-03-01"},
            },
            {
                "location": ref("Location/icu"),
                "period": {"start": "2026-03-04", "end": "2026-03-05"},
            },
        ],
    )

    (gap,) = traced(registry, "Patient/p").gaps

    assert gap.code == "whereabouts-unknown"
    assert (gap.low, gap.high) == (
        dates.bounds("2026-03-01", UTC)[1],
        dates.bounds("2026-03-04", UTC)[0],
    )


def test_an_unknown_item_is_not_taken_for_its_model(registry):
    registry.put("Device", "x", udiCarrier=[{"carrierHRF": "(01)09521234000037(21)A"}])

    assert starts(registry.store.graph, "(01)09521234000037(21)B") == {}


@pytest.mark.parametrize(
    ("key", "shared"),
    [
        ("gs1:01:09521234000037", True),
        ("gs1:01:09521234000037:10:L:7", True),
        ("gs1:01:09521234000037:21:A", False),
        ("gs1:01:09521234000037:21:A:10:x", False),
        ("gs1:00:006141411234567890", False),
        ("hibc:A999PRODUCT1", True),
        ("hibc:A999PRODUCT1:L:7", True),
        ("hibc:A999PRODUCT1:S:7", False),
        ("cn-dtc-di:8888888", True),
        ("id:urn:x|1", False),
    ],
)
def test_keys_of_models_and_lots_are_shared(key, shared):
    assert is_shared(key) is shared
