"""R4 definitions as data (http://hl7.org/fhir/R4/definitions.json.html), read type by type."""

import pytest

from app.errors import NotFound
from app.fhir import definitions


def test_there_are_146_resource_types_numbered_in_alphabetical_order():
    types = definitions.resource_types()

    assert len(types) == 146
    assert list(types) == sorted(types)
    assert definitions.type_number("Account") == 1
    assert definitions.type_number("Observation") == 96
    assert definitions.type_number("VisionPrescription") == 146
    assert [definitions.type_number(definitions.type_name(n)) for n in range(1, 147)] == list(
        range(1, 147)
    )


@pytest.mark.parametrize("number", [0, 147, -1])
def test_a_number_outside_1_to_146_is_no_type(number):
    with pytest.raises(NotFound):
        definitions.type_name(number)


@pytest.mark.parametrize("name", ["Resource", "DomainResource", "HumanName", "patient", "", "Foo"])
def test_abstract_types_and_datatypes_are_no_resource_types(name):
    assert not definitions.is_resource_type(name)
    with pytest.raises(NotFound):
        definitions.type_number(name)


def test_all_209_base_structures_and_444_profiles_can_be_loaded():
    structures = [definitions.structure(name) for name in definitions.structure_names()]
    urls = definitions._part("profiles").keys()
    profiles = [definitions.profile(url) for url in urls]

    assert len(structures) == 209
    assert len(profiles) == 444
    assert sum(s.kind == "primitive-type" for s in structures) == 20


def test_elements_keep_the_order_of_the_specification():
    names = list(definitions.structure("Period").elements)

    assert names == ["id", "extension", "start", "end"]


def test_an_element_tells_cardinality_type_binding_and_flags():
    status = definitions.structure("Observation").elements["status"]

    assert (status.min, status.max, status.is_modifier, status.is_summary) == (1, 1, True, True)
    assert [t.code for t in status.types] == ["code"]
    assert status.binding is not None
    assert status.binding.strength == "required"
    assert status.binding.value_set == "http://hl7.org/fhir/ValueSet/observation-status"
    assert status.binding.version == "4.0.1"


def test_a_reference_tells_its_target_types():
    subject = definitions.structure("Observation").elements["subject"]

    assert subject.types[0].targets == ("Patient", "Group", "Device", "Location")


def type_codes(path):
    return tuple(member.type.code for member in definitions.members(path))


def test_the_id_of_a_resource_is_an_id_and_that_of_an_element_a_string():
    assert type_codes("Patient.id") == ("id",)
    assert type_codes("Patient.name.id") == ("string",)


@pytest.mark.parametrize(
    ("path", "types"),
    [
        ("Patient.birthDate", ("date",)),
        ("Patient.name.family", ("string",)),
        ("Patient.name[0].given[1]", ("string",)),
        ("Observation.valueQuantity", ("Quantity",)),
        ("Observation.component.valueQuantity.value", ("decimal",)),
        ("Observation.component.referenceRange.low", ("Quantity",)),
        ("Observation.value.coding.code", ("code",)),
        ("Bundle.entry.resource", ("Resource",)),
        ("Resource.meta", ("Meta",)),
        ("Questionnaire.item.item.item.linkId", ("string",)),
        ("Patient.deceased[x]", ("boolean", "dateTime")),
        ("Patient.deceased", ("boolean", "dateTime")),
        ("Patient.nosuch", ()),
        ("Nosuch.id", ()),
        ("Patient.birthDate.value", ()),
    ],
)
def test_a_path_tells_its_types(path, types):
    assert type_codes(path) == types


def test_a_choice_element_is_one_member_for_each_type():
    members = definitions.members("Observation.value[x]")

    assert [m.name for m in members][:3] == ["valueQuantity", "valueCodeableConcept", "valueString"]
    assert len(members) == 11
    assert {m.element.name for m in members} == {"value"}


def test_mandatory_and_summary_elements_of_a_type():
    assert definitions.mandatory("Observation") == {"status", "code"}
    assert "valueQuantity" in definitions.summary("Observation")
    assert "note" not in definitions.summary("Observation")


def test_invariants_include_those_of_the_ancestors():
    keys = definitions.invariants("Observation")

    assert {"obs-6", "obs-7", "dom-2", "dom-3"} <= set(keys)
    assert keys["obs-6"].expression == "dataAbsentReason.empty() or value.empty()"
    assert keys["obs-6"].severity == "error"
    assert keys["dom-6"].best_practice


def test_base_types_lead_to_resource():
    assert list(definitions.base_types("Patient")) == ["Patient", "DomainResource", "Resource"]
    assert list(definitions.base_types("Bundle")) == ["Bundle", "Resource"]


def test_search_parameters_carry_what_extractors_need():
    by_url = {p.url: p for p in definitions.search_parameters()}

    composite = by_url["http://hl7.org/fhir/SearchParameter/Observation-code-value-quantity"]
    assert composite.type == "composite"
    assert composite.bases == ("Observation",)
    assert composite.components == (
        ("http://hl7.org/fhir/SearchParameter/clinical-code", "code"),
        ("http://hl7.org/fhir/SearchParameter/Observation-value-quantity", "value.as(Quantity)"),
    )
    patient = by_url["http://hl7.org/fhir/SearchParameter/clinical-patient"]
    assert patient.targets == ("Patient", "Group")
    assert by_url["http://hl7.org/fhir/SearchParameter/individual-phonetic"].xpath_usage == (
        "phonetic"
    )


def test_every_search_parameter_has_a_base_of_r4():
    known = set(definitions.structure_names())

    assert all(p.bases and set(p.bases) <= known for p in definitions.search_parameters())


def test_compartments_tell_the_parameters_of_each_type():
    assert definitions.compartments() == (
        "Device",
        "Encounter",
        "Patient",
        "Practitioner",
        "RelatedPerson",
    )
    assert definitions.compartment("Patient")["Observation"] == ("subject", "performer")
    assert "Medication" not in definitions.compartment("Patient")
    with pytest.raises(NotFound):
        definitions.compartment("Group")


def test_operations_tell_where_they_may_be_called():
    everything = next(o for o in definitions.operations() if o.id == "Patient-everything")

    assert (everything.code, everything.resources) == ("everything", ("Patient",))
    assert (everything.system, everything.type, everything.instance) == (False, True, True)


def test_a_code_system_gives_displays_and_hierarchy():
    system = definitions.code_system("http://terminology.hl7.org/CodeSystem/v3-ActCode")

    assert system.content == "complete"
    assert system.concepts["AMB"].display == "ambulatory"
    assert system.concepts["AMB"].parent == "_ActEncounterCode"


@pytest.mark.parametrize(
    ("value_set", "codes"),
    [
        (
            "http://hl7.org/fhir/ValueSet/administrative-gender",
            {"http://hl7.org/fhir/administrative-gender": {"male", "female", "other", "unknown"}},
        ),
        (
            "http://hl7.org/fhir/ValueSet/quantity-comparator",
            {"http://hl7.org/fhir/quantity-comparator": {"<", "<=", ">=", ">"}},
        ),
    ],
)
def test_a_value_set_of_whole_systems_lists_its_codes(value_set, codes):
    assert definitions.value_set_codes(value_set) == codes


@pytest.mark.parametrize("name", ["ucum-units", "mimetypes", "observation-codes", "nosuch"])
def test_a_value_set_of_systems_that_are_not_at_hand_has_no_list(name):
    assert definitions.value_set_codes("http://hl7.org/fhir/ValueSet/" + name) is None


def test_copyright_statements_are_kept_and_prose_is_not():
    ucum = definitions.resource("ValueSet", "http://hl7.org/fhir/ValueSet/ucum-units")

    assert ucum["copyright"]
    assert not {"description", "text", "publisher", "contact"} & set(ucum)


@pytest.mark.parametrize(
    "call",
    [
        lambda: definitions.structure("Nosuch"),
        lambda: definitions.profile("http://example.org/nosuch"),
        lambda: definitions.code_system("http://example.org/nosuch"),
        lambda: definitions.resource("ConceptMap", "http://example.org/nosuch"),
    ],
)
def test_what_r4_does_not_define_is_not_found(call):
    with pytest.raises(NotFound):
        call()
