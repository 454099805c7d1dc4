"""FHIRPath Patch: R4 fhirpatch.html."""

from __future__ import annotations

import json

import pytest

from app.errors import Malformed, Unprocessable
from app.rest import fhirpath_patch, json_patch

PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "active": True,
    "name": [
        {"use": "official", "family": "Wang", "given": ["Li", "Mei"]},
        {"use": "nickname", "given": ["Lili"]},
    ],
    "birthDate": "1980-05-17",
    "_birthDate": {"id": "b"},
    "deceasedBoolean": False,
    "extension": [{"url": "http://example.org/height", "valueDecimal": 1.50}],
}


def operation(type: str, path: str, **parts: object) -> dict[str, object]:
    """Return one operation; a keyword `valueX` is its value, a number an index."""
    listed = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}]
    for name, value in parts.items():
        if isinstance(value, list):
            listed.append({"name": "value", "part": value})
        elif name.startswith("value"):
            listed.append({"name": "value", name: value})
        elif isinstance(value, int):
            listed.append({"name": name, "valueInteger": value})
        else:
            listed.append({"name": name, "valueString": value})
    return {"name": "operation", "part": listed}


def patched(*operations: dict[str, object], of: object = PATIENT) -> dict[str, object]:
    patch = json.dumps({"resourceType": "Parameters", "parameter": operations}).encode()
    tree = json_patch.tree(json.dumps(of).encode())
    return json.loads(json_patch.text(fhirpath_patch.apply(tree, json_patch.tree(patch))))


def test_replace_puts_another_value_in_the_place():
    found = patched(operation("replace", "Patient.birthDate", valueDate="1930-01-01"))

    assert found["birthDate"] == "1930-01-01"


def test_replace_of_a_choice_takes_the_name_of_the_new_type():
    found = patched(operation("replace", "Patient.deceased", valueDateTime="2020-01-01"))

    assert found["deceasedDateTime"] == "2020-01-01"
    assert "deceasedBoolean" not in found


def test_add_sets_an_element_or_appends_to_a_list():
    found = patched(
        operation("add", "Patient", name="gender", valueCode="female"),
        operation("add", "Patient.name[1]", name="given", valueString="Lulu"),
    )

    assert found["gender"] == "female"
    assert found["name"][1]["given"] == ["Lili", "Lulu"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("active", {"valueBoolean": False}),
        ("deceased", {"valueDateTime": "2020-01-01"}),
        ("birthDate", {"valueDate": "1930-01-01"}),
    ],
)
def test_add_is_no_replace(name, value):
    with pytest.raises(Unprocessable):
        patched(operation("add", "Patient", name=name, **value))


def test_extensions_stay_with_their_values():
    extended = {"id": "of-mei"}
    resource = PATIENT | {"name": [{"given": ["Li", "Mei"], "_given": [None, extended]}]}

    inserted = patched(
        operation("insert", "Patient.name[0].given", index=0, valueString="Xi"), of=resource
    )
    moved = patched(
        operation("move", "Patient.name[0].given", source=1, destination=0), of=resource
    )
    added = patched(
        operation("add", "Patient.name[0]", name="given", valueString="Xi"), of=resource
    )

    assert inserted["name"] == [{"given": ["Xi", "Li", "Mei"], "_given": [None, None, extended]}]
    assert moved["name"] == [{"given": ["Mei", "Li"], "_given": [extended, None]}]
    assert added["name"] == [{"given": ["Li", "Mei", "Xi"], "_given": [None, extended, None]}]


def test_add_of_a_backbone_element_takes_nested_parts():
    parts = [
        {"name": "gender", "valueCode": "male"},
        {"name": "name", "valueHumanName": {"text": "Li"}},
    ]

    found = patched(operation("add", "Patient", name="contact", value=parts))

    assert found["contact"] == [{"gender": "male", "name": {"text": "Li"}}]


def test_nested_parts_make_lists_and_choices_as_the_element_has_them():
    extension = [{"name": "url", "valueUri": "urn:x"}, {"name": "value", "valueString": "v"}]
    telecom = {"name": "telecom", "valueContactPoint": {"system": "phone", "value": "1"}}

    found = patched(
        operation("add", "Patient", name="extension", value=extension),
        operation("add", "Patient", name="contact", value=[telecom]),
    )

    assert found["extension"][-1] == {"url": "urn:x", "valueString": "v"}
    assert found["contact"] == [{"telecom": [{"system": "phone", "value": "1"}]}]


def test_delete_takes_the_extension_of_a_primitive_and_empty_lists_along():
    found = patched(
        operation("delete", "Patient.birthDate"),
        operation("delete", "Patient.name.where(use = 'nickname').given[0]"),
        operation("delete", "Patient.photo"),
    )

    assert "birthDate" not in found
    assert "_birthDate" not in found
    assert found["name"][1] == {"use": "nickname"}


def test_a_primitive_with_extensions_only_is_there():
    absent = {"extension": [{"url": "http://example.org/why", "valueCode": "unknown"}]}
    resource = {
        "resourceType": "Patient",
        "_birthDate": absent,
        "name": [{"family": "Li", "_given": [absent, absent]}],
    }

    deleted = patched(
        operation("delete", "Patient.birthDate"),
        operation("delete", "Patient.name.given[0]"),
        of=resource,
    )
    replaced = patched(
        operation("replace", "Patient.birthDate", valueDate="1930"),
        operation("replace", "Patient.name.given[1]", valueString="Mei"),
        of=resource,
    )

    assert deleted == {
        "resourceType": "Patient",
        "name": [{"family": "Li", "_given": [absent]}],
    }
    assert (replaced["birthDate"], replaced["_birthDate"]) == ("1930", absent)
    assert replaced["name"][0]["given"] == [None, "Mei"]
    with pytest.raises(Unprocessable):
        patched(operation("add", "Patient", name="birthDate", valueDate="1930"), of=resource)


def test_insert_and_move_in_a_list():
    found = patched(
        operation("insert", "Patient.name.first().given", index=1, valueString="Xiu"),
        operation("move", "Patient.name[0].given", source=2, destination=0),
    )

    assert found["name"][0]["given"] == ["Mei", "Li", "Xiu"]


@pytest.mark.parametrize(
    "path",
    [
        "Patient.name.where(use = 'official').family",
        "name.where(use = 'official' and family.exists()).family",
        "Patient.name.where(family.empty().not()).family",
        "Patient.name[0].family",
        "Patient.name.first().family",
        "DomainResource.name[0].family",
    ],
)
def test_paths_lead_to_the_same_place(path):
    assert patched(operation("replace", path, valueString="Li"))["name"][0]["family"] == "Li"


def test_this_is_the_item_that_a_condition_is_about():
    found = patched(operation("delete", "Patient.name[0].given.where($this = 'Mei')"))

    assert found["name"][0]["given"] == ["Li"]


@pytest.mark.parametrize(
    "given",
    [
        operation("delete", "Patient"),
        operation("delete", "Patient.where(active = true)"),
        operation("replace", "Patient", valueString="x"),
    ],
)
def test_the_resource_itself_is_no_element_of_it(given):
    with pytest.raises(Unprocessable):
        patched(given)


def test_extensions_are_reached_by_url_and_numbers_keep_their_text():
    patch = operation(
        "replace", "Patient.extension('http://example.org/height').value", valueDecimal=2
    )

    assert patched(patch)["extension"][0]["valueDecimal"] == 2


@pytest.mark.parametrize(
    "given",
    [
        operation("replace", "Patient.gender", valueCode="male"),
        operation("replace", "Patient.name", valueHumanName={}),
        operation("delete", "Patient.name"),
        operation("insert", "Patient.name", index=9, valueHumanName={}),
        operation("insert", "Patient.gender", index=0, valueCode="male"),
        operation("move", "Patient.name", source=0, destination=5),
        operation("delete", "Patient.name.repeat(given)"),
        operation("add", "Patient.birthDate", name="x", valueString="y"),
    ],
)
def test_what_cannot_be_done_is_unprocessable(given):
    with pytest.raises(Unprocessable):
        patched(given)


@pytest.mark.parametrize(
    "given",
    [
        operation("spam", "Patient.gender"),
        operation("replace", "Patient.gender"),
        operation("replace", "Patient..gender", valueCode="male"),
        {"name": "other", "part": []},
        {"name": "operation", "part": [{"name": "type", "valueCode": "add"}]},
    ],
)
def test_what_is_no_patch_is_malformed(given):
    with pytest.raises(Malformed):
        patched(given)
