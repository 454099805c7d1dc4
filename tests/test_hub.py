"""The Python API: a hub in a Python program, alone or beside a running one."""

from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.patient import Patient

from app.api import create, delete, update
from app.errors import Deleted, Invalid, NotFound, NotSupported, PreconditionFailed, Unavailable
from app.fhir import definitions, models
from app.folder import Folder
from app.hub import Hub
from app.store.types import Result
from tests.support import MARKER, ROOT, running_hub

ADT = (
    "MSH|^~\\&|HIS|EAST|YILIAN|YILIAN|20260301080000||ADT^A01|7|P|2.5.1\r"
    "PID|1||1001^^^EAST^MR||Wang^Fang||19900228|F\r"
    "PV1|1|I\r"
)
RUNNING = ["near", "far" * 40]  # a name that makes the path of a socket too long


def patient(**members):
    return {"resourceType": "Patient", "name": [{"family": "Wang"}], **members}


def weight(value, **members):
    quantity = {"value": value, "unit": "kg"}
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "weight"},
        "valueQuantity": quantity,
        **members,
    }


@pytest.fixture
def opened(database_url, tmp_path):
    with Hub.open(database_url, data=tmp_path / "data") as hub:
        yield hub


def test_a_resource_is_read_as_it_was_committed(opened):
    (made,) = opened.commit(create(weight(Decimal("70.50"))))

    read = opened.read("Observation", made.id)

    assert made.result is Result.CREATED
    assert str(read["valueQuantity"]["value"]) == "70.50"
    assert read["meta"]["versionId"] == "1"


def test_a_version_is_read_and_a_deleted_one_is_said_to_be(opened):
    opened.commit(update(patient(id="p1", gender="male")))
    opened.commit(update(patient(id="p1", gender="female"), if_match=1))
    opened.commit(delete("Patient", "p1"))

    assert opened.read("Patient", "p1", version=1)["gender"] == "male"
    with pytest.raises(Deleted):
        opened.read("Patient", "p1")
    with pytest.raises(Deleted):
        opened.read("Patient", "p1", version=3)
    with pytest.raises(NotFound):
        opened.read("Patient", "p2")


def test_what_is_committed_together_happens_whole_or_not_at_all(opened):
    with pytest.raises(Invalid) as caught:
        opened.commit(create(patient(id="a")), create({"resourceType": "Patient", "gender": "x"}))

    assert caught.value.at == "Bundle.entry[1].resource.gender"
    assert opened.search("Patient").total() == 0


def test_changes_of_one_commit_refer_to_each_other(opened):
    name = "urn:uuid:5d2f1f1e-1a0a-4a51-8b1c-6a3f52a50001"
    opened.commit(create(patient(), full_url=name), create(weight(1, subject={"reference": name})))

    (found,) = opened.search("Observation", "patient.family=wang")

    assert found["subject"]["reference"].startswith("Patient/")


def test_conditions_of_changes_hold(opened):
    named = patient(identifier=[{"system": "urn:x-a", "value": "1 2&3"}])
    criteria = {"identifier": "urn:x-a|1 2&3"}

    first, second = (opened.commit(create(named, if_none_exist=criteria))[0] for _ in range(2))
    (third,) = opened.commit(update(named | {"gender": "male"}, criteria=criteria))

    assert (first.result, second.result, third.result) == (
        Result.CREATED,
        Result.UNCHANGED,
        Result.UPDATED,
    )
    assert first.id == second.id == third.id
    with pytest.raises(PreconditionFailed):
        opened.commit(update(named | {"id": first.id}, if_match=1))
    opened.commit(delete("Patient", criteria=criteria))
    assert opened.search("Patient", criteria).first() is None


@pytest.mark.parametrize("change", [{}, {"id": "1", "criteria": "name=a"}])
def test_a_delete_names_its_resource_in_one_way(change):
    with pytest.raises(Invalid):
        delete("Patient", **change)


@pytest.mark.parametrize(
    "resource", [{"id": "1"}, {"resourceType": "Patient", "id": object()}, "Patient"]
)
def test_what_is_no_resource_is_refused_at_once(resource):
    with pytest.raises(Invalid):
        create(resource)


def test_a_search_fetches_its_pages_as_it_is_read(opened):
    opened.commit(*(create(patient(birthDate=f"19{n:02}-01-01")) for n in range(10, 17)))
    search = opened.search("Patient", {"name": "wang", "_sort": "birthdate", "_count": "3"})

    assert [found["birthDate"][:4] for found in search] == [str(n) for n in range(1910, 1917)]
    assert [len(page.matches) for page in search.pages()] == [3, 3, 1]
    assert search.total() == 7
    assert opened.search("Patient", [("birthdate", "ge1912"), ("birthdate", "lt1914")]).total() == 2
    assert opened.search("Patient", {"birthdate": ["ge1912", "lt1914"]}).total() == 2


def test_a_search_brings_what_it_includes_and_only_what_is_asked_for(opened):
    opened.commit(update(patient(id="p", gender="male")))
    opened.commit(create(weight(1, subject={"reference": "Patient/p"})))

    (page,) = opened.search("Observation", "_include=Observation:subject").pages()
    (short,) = opened.search("Patient", "_elements=gender")

    assert [found["id"] for found in page.included] == ["p"]
    assert short["gender"] == "male"
    assert "name" not in short
    assert list(opened.search("Patient", "_summary=count")) == []
    with pytest.raises(NotSupported):
        opened.search("Patient", "birthdae=1990").first()


def test_models_are_taken_and_given(opened):
    model = Observation.model_validate(weight(Decimal("1.50"), effectiveDateTime="2026-03"))

    (made,) = opened.commit(create(model))
    read = opened.read("Observation", made.id, as_model=True)
    (found,) = opened.search("Observation", as_model=True)
    found.valueQuantity.value = Decimal("2.00")
    opened.commit(update(found))

    assert isinstance(read, Observation)
    assert str(read.valueQuantity.value) == "1.50"
    assert read.effectiveDateTime == "2026-03"
    assert str(opened.read("Observation", made.id)["valueQuantity"]["value"]) == "2.00"


def test_types_that_have_no_model_are_said_to_have_none(opened):
    (made,) = opened.commit(create({"resourceType": "SubstanceProtein"}))

    assert opened.read("SubstanceProtein", made.id)["id"] == made.id
    with pytest.raises(NotSupported) as caught:
        opened.read("SubstanceProtein", made.id, as_model=True)
    assert caught.value.at == "SubstanceProtein"


def test_every_other_type_has_a_model():
    without = {
        name
        for name in definitions.resource_types()
        if find_spec(f"fhir.resources.R4B.{name.lower()}") is None
    }

    assert without == models.MISSING
    assert len(without) == 18


def test_what_a_model_does_not_allow_is_told_without_the_value():
    with pytest.raises(Invalid) as caught:
        models.load("Patient", patient(gender=[MARKER], contact=[{"name": MARKER}]))

    assert {issue.at for issue in caught.value.issues} >= {"Patient.gender"}
    assert MARKER not in repr(caught.value.issues)


def test_a_model_keeps_extensions_and_contained_resources():
    resource = patient(
        contained=[{"resourceType": "Organization", "id": "o", "name": "East"}],
        birthDate="1990-02-28",
        _birthDate={"extension": [{"url": "urn:x-e", "valueDecimal": Decimal("0.10")}]},
    )

    dumped = models.dump(models.load("Patient", resource))

    assert dumped == resource
    assert str(dumped["_birthDate"]["extension"][0]["valueDecimal"]) == "0.10"


def test_a_transaction_answers_entry_by_entry(opened):
    opened.commit(update(patient(id="p")))
    entries = [
        {"request": {"method": "POST", "url": "Observation"}, "resource": weight(Decimal("1.0"))},
        {"request": {"method": "GET", "url": "Patient?name=wang"}},
    ]

    answer = opened.transaction({"resourceType": "Bundle", "type": "transaction", "entry": entries})

    made, found = answer["entry"]
    assert made["response"]["status"] == "201 Created"
    assert [entry["resource"]["id"] for entry in found["resource"]["entry"]] == ["p"]


def test_messages_of_each_feed_are_converted(opened):
    message = ADT.encode()
    vitals = (ROOT / "fixtures/iot/monitor.json").read_bytes()
    image = (ROOT / "fixtures/dicom/dx-undeclared.dcm").read_bytes()

    for feed, data in (("hl7v2", message), ("iot", vitals), ("dicom", image)):
        converted = opened.convert(feed, data)

        assert converted
        assert all(one.bundle["type"] == "transaction" for one in converted)
    (refused,) = opened.convert("hl7v2", b"no message")
    (broken,) = opened.convert("iot", b"{")
    assert refused.refused
    assert broken.refused
    assert broken.issues
    with pytest.raises(NotSupported):
        opened.convert("fax", b"")


def test_what_was_converted_can_be_committed(opened):
    vitals = (ROOT / "fixtures/iot/monitor.json").read_bytes()
    (converted,) = opened.convert("iot", vitals)

    opened.transaction(converted.bundle)

    assert opened.search("Observation").total() > 0


def test_a_code_is_resolved_to_who_carries_it(opened):
    udi = "(01)06901234567892(21)S1"
    device = {"resourceType": "Device", "id": "d", "udiCarrier": [{"carrierHRF": udi}]}
    opened.commit(update(device))

    answer = opened.resolve(udi)

    assert answer["valid"] is True
    assert [one["id"] for one in answer["resolved"]] == ["d"]


@pytest.mark.parametrize("name", RUNNING, ids=["in the folder", "linked from it"])
def test_a_running_hub_is_handed_what_is_written(name, tmp_path):
    folder = tmp_path / name[:100]
    flags = ("--mllp", "off", "--dicom", "off", "--workers", "1")
    with running_hub(folder, *flags) as running, Hub.open(folder) as hub:
        (made,) = hub.commit(create(Patient.model_validate(patient())))
        status, _, _ = running.request("GET", f"/fhir/Patient/{made.id}")

        assert status == 200
        assert hub.read("Patient", made.id)["name"] == [{"family": "Wang"}]
    assert not (folder / "writer.sock").is_symlink()


def test_a_folder_is_held_by_one_program_and_then_let_go(tmp_path):
    with Hub.open(tmp_path / "data"), pytest.raises(Unavailable):
        Hub.open(tmp_path / "data")

    Folder(tmp_path / "data").close()


def test_a_database_file_is_written_by_one_program_whatever_its_folder(tmp_path):
    (tmp_path / "data").mkdir()
    url = f"sqlite:///{tmp_path / 'data' / 'yilian.db'}"
    with Hub.open(url, data=tmp_path / "other"):
        with pytest.raises(Unavailable):
            Hub.open(tmp_path / "data")
        with pytest.raises(Unavailable):
            Hub.open(url)

    Hub.open(tmp_path / "data").close()


def test_a_folder_is_let_go_when_its_hub_cannot_be_opened(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "id.key").write_text("short")

    with pytest.raises(Invalid):
        Hub.open(tmp_path / "data")

    Folder(tmp_path / "data").close()


def test_a_folder_with_other_things_is_not_taken_for_a_data_folder(tmp_path):
    (tmp_path / "thesis.txt").touch()

    with pytest.raises(Invalid):
        Hub.open(f"sqlite:///{tmp_path / 'yilian.db'}")
    assert [found.name for found in Path(tmp_path).iterdir()] == ["thesis.txt"]


def test_a_sqlite_file_brings_its_folder(tmp_path):
    with Hub.open(f"sqlite:///{tmp_path / 'data' / 'yilian.db'}") as hub:
        hub.commit(update(patient(id="p")))
    with Hub.open(tmp_path / "data") as hub:
        assert hub.read("Patient", "p")["id"] == "p"
