"""Chains to targets of several types: R4 search.html#chaining."""

from app.store.search.chain import _either
from app.store.search.conditions import Any_, Keys, Nothing, OwnerIn, Row


def test_targets_of_several_types_are_listed_together():
    devices, patients, group = Keys([7, 8]), OwnerIn(100, [1, 2]), Keys([3], owner=True)

    assert _either([devices, Nothing(), patients]) == Keys([7, 8, 101, 102])
    assert _either([patients, group]) == Keys([101, 102, 3], owner=True)
    assert _either([Nothing(), patients]) is patients
    assert _either([Nothing(), Nothing()]) == Nothing()


def test_what_cannot_be_listed_is_tested():
    test, many = Row("1=1", []), OwnerIn(0, range(300))

    assert _either([test, many]) == Any_([test, many])
    assert _either([Keys([1]), many]) == Any_([Keys([1]), many])


def test_who_refers_to_matches_of_two_types_is_found_once(kit):
    named = {"name": [{"family": "Meng"}]}
    for type_name in ("Patient", "Practitioner"):
        kit.update({"resourceType": type_name, "id": "m", **named})
    kit.update({"resourceType": "Practitioner", "id": "other", "name": [{"family": "Bai"}]})
    references = {
        "both": ("Patient/m", "Practitioner/m"),
        "one": ("Practitioner/m", "Practitioner/other"),
        "neither": ("Practitioner/other",),
    }
    for id_, performers in references.items():
        kit.update(
            {
                "resourceType": "Observation",
                "id": id_,
                "status": "final",
                "code": {"text": "x"},
                "performer": [{"reference": reference} for reference in performers],
            }
        )

    assert sorted(kit.found("Observation", "performer.name=meng")) == ["both", "one"]
    assert kit.found("Observation", "performer:Patient.name=meng") == ["both"]
    assert kit.found("Observation", "performer.name=nobody") == []
