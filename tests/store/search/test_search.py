"""Search on a real store. R4 search.html; the sections are named by the groups of cases."""

from __future__ import annotations

import json
import math
from datetime import timedelta

import pytest

from app.errors import Invalid, NotSupported, UnknownParameter
from app.store.types import Change, Method, SearchRequest

UCUM = "http://unitsofmeasure.org"


def patient(**more):
    return {"resourceType": "Patient", **more}


def observation(code="x", **more):
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "s", "code": code}]},
        **more,
    }


def mg(value):
    return {"value": value, "system": UCUM, "code": "mg", "unit": "mg"}


WORLD = {
    "anna": patient(
        name=[{"family": "Öz", "given": ["Anna", "Maria"]}],
        gender="female",
        birthDate="1980-05-17",
        active=True,
        identifier=[
            {
                "system": "mrn",
                "value": "A1",
                "type": {"coding": [{"system": "t", "code": "MR"}], "text": "Record number"},
            }
        ],
        telecom=[{"system": "phone", "value": "555"}],
    ),
    "wei": patient(
        name=[{"text": "张伟", "family": "张", "given": ["伟"]}],
        birthDate="1980-05",
        identifier=[{"system": "mrn", "value": "A2"}, {"value": "A1"}],
        telecom=[{"system": "email", "value": "555"}],
    ),
    "none": patient(birthDate="1975"),
    "o1": observation(
        "hr",
        subject={"reference": "Patient/anna"},
        effectiveDateTime="2024-03-10T12:00:00Z",
        valueQuantity=mg(5.4),
    ),
    "o2": observation(
        "hr",
        subject={"reference": "Patient/wei"},
        effectiveDateTime="2024-03",
        valueQuantity={"value": 0.0055, "system": UCUM, "code": "g", "unit": "g"},
    ),
    "o3": observation(
        "bp",
        subject={"reference": "Patient/anna"},
        effectivePeriod={"start": "2020-01-01", "end": "2024-06-01"},
        component=[
            {"code": {"coding": [{"system": "s", "code": "sys"}]}, "valueQuantity": mg(120)},
            {"code": {"coding": [{"system": "s", "code": "dia"}]}, "valueQuantity": mg(80)},
        ],
    ),
    "o4": observation(
        "text",
        category=[{"coding": [{"system": "c", "code": "lab", "display": "Laboratory"}]}],
        subject={"identifier": {"system": "mrn", "value": "elsewhere"}},
        status="amended",
        valueString="Positive finding",
    ),
    "b1": {"resourceType": "Bundle", "type": "collection", "identifier": {"value": "1"}},
    "b2": {"resourceType": "Bundle", "type": "collection", "identifier": {"value": "2"}},
    "listed": {
        "resourceType": "List",
        "status": "current",
        "mode": "working",
        "entry": [{"item": {"reference": "Patient/anna"}}],
    },
    "vs": {
        "resourceType": "ValueSet",
        "status": "draft",
        "url": "http://e.org/a/b",
    },
}

CASES = [
    # string
    ("Patient", "family=oz", "anna"),
    ("Patient", "name=mari", "anna"),
    ("Patient", "family:exact=Öz", "anna"),
    ("Patient", "family:exact=oz", ""),
    ("Patient", "given:contains=ari", "anna"),
    ("Patient", "name=张", "wei"),
    ("Patient", "name:contains=伟", "wei"),
    ("Patient", "family=%", ""),
    # token
    ("Patient", "identifier=mrn|A1", "anna"),
    ("Patient", "identifier=A1", "anna wei"),
    ("Patient", "identifier=|A1", "wei"),
    ("Patient", "identifier=mrn|", "anna wei"),
    ("Patient", "identifier:of-type=t|MR|A1", "anna"),
    ("Patient", "identifier:text=record", "anna"),
    ("Patient", "identifier:not=mrn|A1", "wei none"),
    ("Patient", "phone=555", "anna"),
    ("Patient", "telecom=555", "anna wei"),
    ("Patient", "gender=FEMALE", "anna"),
    ("Patient", "active=true", "anna"),
    ("Patient", "active=false", ""),
    ("Patient", "gender:missing=true", "none wei"),
    ("Observation", "category:text=labo", "o4"),
    ("Observation", "status=http://hl7.org/fhir/observation-status|amended", "o4"),
    ("Observation", "status:not=final", "o4"),
    ("Observation", "combo-code=s|dia", "o3"),
    # date: the stored and the searched value are intervals
    ("Patient", "birthdate=1980", "anna wei"),
    ("Patient", "birthdate=1980-05-17", "anna"),
    ("Patient", "birthdate=lt1980", "none"),
    ("Patient", "birthdate=ne1975", "anna wei"),
    ("Observation", "date=2024-03", "o1 o2"),
    ("Observation", "date=ge2024-03-10", "o1 o2 o3"),
    ("Observation", "date=gt2024-04", "o3"),
    ("Observation", "date=sa2024-03-09", "o1"),
    ("Observation", "date=eb2024-04-01", "o1 o2"),
    ("Observation", "date=lt2021", "o3"),
    ("Observation", "date=2024-03-10T20:00:00%2B08:00".replace("%2B", "+"), "o1"),
    ("Observation", "date:missing=true", "o4"),
    # quantity, composite
    ("Observation", f"value-quantity=5.4|{UCUM}|mg", "o1"),
    ("Observation", f"value-quantity=ge0.0054|{UCUM}|g", "o1 o2"),
    ("Observation", "value-quantity=5.4||mg", "o1"),
    ("Observation", "value-quantity=5.4", "o1"),
    ("Observation", "component-code-value-quantity=s|sys$gt100", "o3"),
    ("Observation", "component-code-value-quantity=s|dia$gt100", ""),
    ("Observation", "component-code-value-quantity=s|sys$gt200,s|dia$80", "o3"),
    ("Observation", "component-code-value-quantity=s|sys$lt100,s|dia$gt100", ""),
    ("Observation", "combo-code-value-quantity=s|hr$5.4", "o1"),
    ("Observation", "combo-code-value-quantity=s|hr$5.4,s|sys$120,s|dia$120", "o1 o3"),
    ("Observation", "code-value-string=s|text$nega,s|text$posi", "o4"),
    ("Observation", "code-value-string=s|text$posi", "o4"),
    # reference, chain, _has
    ("Observation", "subject=Patient/anna", "o1 o3"),
    ("Observation", "patient=anna", "o1 o3"),
    ("Observation", "subject=anna", "o1 o3"),
    ("Observation", "subject:Patient=anna", "o1 o3"),
    ("Observation", "subject=Group/anna", ""),
    ("Observation", "subject=http://here/fhir/Patient/anna", "o1 o3"),
    ("Observation", "subject:identifier=mrn|elsewhere", "o4"),
    ("Observation", "subject:identifier=elsewhere", "o4"),
    ("Observation", "subject:identifier=|elsewhere", ""),
    ("Observation", "patient.name=张", "o2"),
    ("Observation", "subject:Patient.birthdate=lt1980-06", "o1 o2 o3"),
    ("Patient", "_has:Observation:patient:code=hr", "anna wei"),
    ("Patient", "_has:Observation:patient:code=bp&name=anna", "anna"),
    ("Patient", "_has:Observation:subject:component-code-value-quantity=s|sys$gt100", "anna"),
    # uri, several, common
    ("ValueSet", "url=http://e.org/a/b", "vs"),
    ("ValueSet", "url:below=http://e.org/a", "vs"),
    ("ValueSet", "url:above=http://e.org/a/b/c", "vs"),
    ("ValueSet", "url=http://e.org/a", ""),
    ("Observation", "code=s|hr,s|bp&subject=Patient/anna", "o1 o3"),
    ("Observation", "code=hr&patient=anna&date=2024", "o1"),
    ("Patient", "_id=anna,wei,nobody", "anna wei"),
    ("Patient", "_id:not=anna,wei", "none"),
    ("Patient", "_list=listed", "anna"),
    ("Patient", "_list=List/listed", "anna"),
    ("Patient", "_lastUpdated=lt2020", ""),
    ("Patient", "_lastUpdated=2026-03-01", "anna none wei"),
]


@pytest.fixture
def world(kit):
    for id_, resource in WORLD.items():
        kit.update({**resource, "id": id_})
    return kit


def test_every_search_finds_exactly_what_meets_it(world):
    for type_name, query, wanted in CASES:
        found = world.found(type_name, query, base="http://here/fhir")
        assert sorted(found) == sorted(wanted.split()), f"{type_name}?{query}"


REFUSED = [
    ("Patient", "nosuch=1", UnknownParameter),
    ("Patient", "birthdate:contains=1980", Invalid),
    ("Patient", "birthdate=1980-13-01", Invalid),
    ("Patient", "_count=-1", Invalid),
    ("Patient", "_sort=nosuch", UnknownParameter),
    ("Patient", "_sort:desc=family", Invalid),
    ("Patient", "gender:missing=maybe", Invalid),
    ("Patient", "name.family=x", Invalid),
    ("Observation", "patient.nosuch=1", Invalid),
    ("Observation", "subject:Medication=1", Invalid),
    ("Observation", "value-quantity=abc", Invalid),
    ("Observation", "code:in=http://vs", NotSupported),
    ("Patient", "_has:Nosuch:patient:code=1", Invalid),
    ("Patient", "_include=Patient:nosuch", UnknownParameter),
    ("Patient", "_page=zzz", Invalid),
]


def test_what_cannot_be_answered_is_refused(world):
    for type_name, query, error in REFUSED:
        with pytest.raises(error):
            world.page(type_name, query)


def test_under_lenient_handling_unknown_parameters_are_named_and_left_out(world):
    page = world.page("Patient", "nosuch=1&family=oz", strict=False)

    assert [match.id for match in page.matches] == ["anna"]
    assert page.used == [("family", "oz")]
    assert page.ignored[0].at == "http.nosuch"


# --- order and pages -----------------------------------------------------------------------------

ORDERS = [
    ("Observation", "_sort=date", "o3 o2 o1 o4"),
    ("Observation", "_sort=date&status:not=cancelled", "o3 o2 o1 o4"),
    ("Observation", "_sort=date,_id", "o3 o2 o1 o4"),
    ("Observation", "_sort=date&date=ge2024-03", "o3 o2 o1"),
    ("Observation", "_sort=date&date:missing=true", "o4"),
    ("Observation", "_sort=-date", "o1 o2 o3 o4"),
    ("Observation", "_sort=-code", "o4 o1 o2 o3"),
    ("Observation", "_sort=status,-_id", "o4 o3 o2 o1"),
    ("Patient", "_sort=family", "anna wei none"),
    ("Patient", "_sort=-family", "wei anna none"),
    ("Patient", "_sort=_id", "anna none wei"),
    ("Patient", "_sort=identifier,_id", "anna wei none"),
    ("Patient", "_sort=-identifier", "wei anna none"),
    ("ValueSet", "_sort=-identifier", "vs"),
    ("Bundle", "_sort=-identifier", "b2 b1"),
    ("Patient", "_sort=-_lastUpdated,_id", "anna none wei"),
]


@pytest.mark.parametrize("size", [1, 2, 50])
def test_sorted_pages_visit_every_match_once_in_order(world, size):
    for type_name, query, wanted in ORDERS:
        found, page = [], world.page(type_name, f"{query}&_count={size}")
        while True:
            found += [match.id for match in page.matches]
            if page.next is None:
                break
            page = world.page(type_name, f"{query}&_count={size}&_page={page.next}")
        assert found == wanted.split(), query


def test_pages_go_on_while_matches_come_and_go(kit):
    ids = [
        kit.create(observation("p", effectiveDateTime=f"2024-01-{n:02}")).id for n in range(1, 13)
    ]
    page = kit.page("Observation", "code=p&_count=4")
    first = [match.id for match in page.matches]
    for id_ in first:
        kit.delete("Observation", id_)
    kit.create(observation("p", effectiveDateTime="2024-01-05"))

    rest = []
    while page.next is not None:
        page = kit.page("Observation", f"code=p&_count=4&_page={page.next}")
        rest += [match.id for match in page.matches]

    assert sorted(first + rest) == sorted(ids)


def test_totals(world):
    assert world.page("Observation", "_count=2").total is None
    assert world.page("Observation", "_count=50").total == 4
    assert world.page("Observation", "_count=2&_total=accurate").total == 4
    assert world.page("Observation", "_summary=count").total == 4
    assert world.page("Observation", "code=hr,bp&_count=0").total == 3
    assert world.page("Observation", "component-code-value-quantity=s|sys$gt1&_count=0").total == 1


def test_search_over_types(world):
    assert sorted(world.found(None, "_type=Patient,ValueSet")) == ["anna", "none", "vs", "wei"]
    assert sorted(world.found(None, "_id=vs,o1")) == ["o1", "vs"]
    assert world.found("Patient", "_type=Observation") == []
    assert sorted(world.found("Patient", "_type=Observation,Patient")) == ["anna", "none", "wei"]
    with pytest.raises(Invalid):
        world.page("Patient", "_type=Nosuch")


def test_compartments(world):
    assert sorted(world.found("Observation", "", compartment=("Patient", "anna"))) == ["o1", "o3"]
    assert world.found("Observation", "code=bp", compartment=("Patient", "anna")) == ["o3"]
    assert world.found("Patient", "", compartment=("Patient", "anna")) == ["anna"]


# --- includes ------------------------------------------------------------------------------------


def test_includes_come_once_and_follow_iterate(kit):
    for id_, parent in (("a", None), ("b", "a"), ("c", "b")):
        part = {"partOf": {"reference": f"Organization/{parent}"}} if parent else {}
        kit.update({"resourceType": "Organization", "id": id_, "name": id_, **part})
    for id_ in ("p1", "p2"):
        kit.update(patient(id=id_, managingOrganization={"reference": "Organization/c"}))

    def included(type_name, query):
        return [each.id for each in kit.page(type_name, query).includes]

    assert included("Patient", "_include=Patient:organization") == ["c"]
    assert included(
        "Patient", "_include=Patient:organization&_include:iterate=Organization:partof"
    ) == ["c", "b", "a"]
    assert sorted(included("Organization", "_id=c&_revinclude=Patient:organization")) == [
        "p1",
        "p2",
    ]
    assert included("Organization", "_id=a&_revinclude:iterate=Organization:partof") == ["b", "c"]
    assert included("Patient", "_include=Patient:organization:Practitioner") == []
    assert included("Patient", "_id=p1&_include=*") == ["c"]


def test_a_reference_with_a_version_includes_that_version(kit):
    kit.update(patient(id="p", gender="male"))
    kit.update(patient(id="p", gender="female"))
    kit.update(patient(id="gone", gender="other"))
    kit.delete("Patient", "gone")
    for name, reference in {
        "old": "Patient/p/_history/1",
        "now": "Patient/p/_history/2",
        "any": "Patient/p",
        "gone": "Patient/gone/_history/1",
        "deletion": "Patient/gone/_history/2",
        "never": "Patient/p/_history/7",
    }.items():
        kit.update(observation(id=name, subject={"reference": reference}))

    def included(ids):
        page = kit.page("Observation", f"_id={ids}&_include=Observation:subject")
        return sorted((each.id, each.version_id) for each in page.includes)

    assert included("old") == [("p", 1)]
    assert included("now") == [("p", 2)]
    assert included("old,now,any") == [("p", 1), ("p", 2)]
    assert included("gone,deletion,never") == [("gone", 1)]


def test_history_of_types_is_newest_first_and_pages(kit):
    first = kit.create(patient())
    kit.clock.move(timedelta(seconds=1))
    kit.update(patient(id=first.id, active=True))
    kit.clock.move(timedelta(seconds=1))
    kit.delete("Patient", first.id)

    page = kit.store.history("Patient", None, count=2)
    rest = kit.store.history("Patient", None, count=2, cursor=page.next)

    assert [v.method for v in page.versions] == ["delete", "update"]
    assert [v.method for v in rest.versions] == ["create"]
    assert rest.next is None
    since = kit.store.history("Patient", None, count=9, since_us=first.last_updated_us + 1)
    assert [v.version_id for v in since.versions] == [3, 2]
    at = first.last_updated_us
    current = kit.store.history("Patient", None, count=9, at=(at, at + 1))
    assert [v.version_id for v in current.versions] == [1]


# --- _filter, near, words ------------------------------------------------------------------------

FILTERS = [
    ("Patient", 'name co "ari"', "anna"),
    ("Patient", "gender eq female and birthdate ge 1980-01-01", "anna"),
    ("Patient", 'gender eq female or name sw "张"', "anna wei"),
    ("Patient", 'family eq "oz"', "anna"),
    ("Patient", 'family eq "o"', ""),
    ("Patient", 'given ew "ia"', "anna"),
    ("Patient", "gender ne female", "none wei"),
    ("Patient", "gender pr false", "none wei"),
    ("Patient", 'not (name co "ari" or birthdate lt 1976-01-01)', "wei"),
    ("Patient", "birthdate ge 1980-05-01 and (active eq true or identifier eq mrn|A2)", "anna wei"),
    ("Observation", 'patient.name co "ari"', "o1 o3"),
    ("Observation", 'patient.family eq "oz"', "o1 o3"),
    ("Observation", 'patient.family eq "o"', ""),
    ("Observation", "patient.birthdate po 1980-05-02", "o2"),
    ("Observation", "date po 2024-03-09", "o2 o3"),
    ("Observation", "date po 2024-03-10", "o1 o2 o3"),
    ("Observation", "date eq 2024-03-10", "o1"),
    ("Patient", '_has:Observation:patient:component-code eq s|sys and given ew "ia"', "anna"),
    ("Observation", f"value-quantity ge 0.0054|{UCUM}|g", "o1 o2"),
]


def test_filters(world):
    for type_name, text, wanted in FILTERS:
        found = world.store.search(SearchRequest(type_name, [("_filter", text)])).matches
        assert sorted(match.id for match in found) == sorted(wanted.split()), text


@pytest.mark.parametrize(
    "text", ["gender", "gender eq", "gender eq x)", "(gender eq x", "gender zz x", 'name co "x']
)
def test_a_broken_filter_is_refused(world, text):
    with pytest.raises(Invalid):
        world.store.search(SearchRequest("Patient", [("_filter", text)]))


def test_near_measures_on_the_globe_also_across_the_date_line(kit):
    for id_, latitude, longitude in (("qd", 36.0671, 120.3826), ("fj", -17.0, 179.99)):
        kit.update(
            {
                "resourceType": "Location",
                "id": id_,
                "position": {"latitude": latitude, "longitude": longitude},
            }
        )

    assert kit.found("Location", "near=36.07|120.38|5|km") == ["qd"]
    assert kit.found("Location", "near=36.07|120.38|100|m") == []
    assert kit.found("Location", "near=-17.0|-179.99|5") == ["fj"]
    both = kit.found("Location", "near=36.07|120.38|5,-17.0|-179.99|5")
    assert sorted(both) == ["fj", "qd"]
    assert kit.found("Location", "near=36.07|120.38|100|m,-17.0|-179.99|5") == ["fj"]
    with pytest.raises(Invalid):
        kit.page("Location", "near=north")


@pytest.mark.parametrize("pole", [90, -90])
def test_near_a_pole_every_meridian_is(kit, pole):
    for longitude in (-170, 0, 100):
        position = {"latitude": pole - math.copysign(0.01, pole), "longitude": longitude}
        kit.update({"resourceType": "Location", "id": f"at{longitude}", "position": position})

    assert len(kit.found("Location", f"near={pole}|45|5|km")) == 3
    assert len(kit.found("Location", f"near={position['latitude']}|45|5|km")) == 3


def test_words_are_found_in_narrative_and_content(kit):
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><p>高血压 <b>Stage</b> two</p></div>'
    kit.update(patient(id="n", text={"status": "generated", "div": div}))
    kit.update(patient(id="c", name=[{"text": "高先生"}]))

    assert kit.found("Patient", "_text=压") == ["n"]
    assert kit.found("Patient", "_text=stage TWO") == ["n"]
    assert kit.found("Patient", "_text=stage three") == []
    assert sorted(kit.found("Patient", "_content=高")) == ["c", "n"]
    assert sorted(kit.found("Patient", "_content=先生 OR stage")) == ["c", "n"]
    assert kit.found("Patient", "_text=div") == []


def test_a_reference_to_another_entry_is_found_by_the_parameters_of_its_type(kit):
    event = {
        "resourceType": "AuditEvent",
        "type": {"code": "rest"},
        "recorded": "2024-01-01T00:00:00Z",
        "source": {"observer": {"display": "x"}},
        "agent": [{"requestor": True, "who": {"reference": "urn:uuid:1"}}],
    }
    seen = observation(subject={"reference": "urn:uuid:1"})
    kit.store.commit(
        [
            Change(
                Method.CREATE,
                resource["resourceType"],
                body=json.dumps(resource).encode(),
                full_url=f"urn:uuid:{number}",
                entry=number - 1,
            )
            for number, resource in enumerate([patient(), event, seen], 1)
        ]
    )
    (id_,) = kit.found("Patient", "")

    assert len(kit.found("AuditEvent", f"patient=Patient/{id_}")) == 1
    assert len(kit.found("Observation", f"patient=Patient/{id_}&patient:missing=false")) == 1


# --- canonical references ------------------------------------------------------------------------


@pytest.fixture
def forms(kit):
    for id_, more in (("q1", {"version": "1"}), ("q2", {"version": "2"}), ("q3", {})):
        url = "http://e.org/q" if more else "http://e.org/other"
        kit.update(
            {"resourceType": "Questionnaire", "id": id_, "url": url, "status": "draft", **more}
        )
    for id_, url in (("any", ""), ("one", "|1"), ("two", "|2"), ("else", "|3")):
        kit.update(
            {
                "resourceType": "QuestionnaireResponse",
                "id": id_,
                "status": "completed",
                "questionnaire": f"http://e.org/q{url}",
            }
        )
    return kit


def test_chains_follow_canonical_urls_in_their_version(forms):
    def found(query):
        return sorted(forms.found("QuestionnaireResponse", query))

    assert found("questionnaire.version=1") == ["any", "one"]
    assert found("questionnaire:Questionnaire.url=http://e.org/q") == ["any", "one", "two"]
    assert found("questionnaire.version=9") == []
    has = "_has:QuestionnaireResponse:questionnaire:_id"
    assert sorted(forms.found("Questionnaire", f"{has}=one")) == ["q1"]
    assert sorted(forms.found("Questionnaire", f"{has}=any,else")) == ["q1", "q2"]
    assert forms.found("Questionnaire", f"{has}=else") == []


def test_reverse_includes_follow_canonical_urls_in_their_version(forms):
    wish = "_revinclude=QuestionnaireResponse:questionnaire"

    page = forms.page("Questionnaire", f"_id=q1&{wish}")
    everything = forms.page("Questionnaire", "_id=q2&_revinclude=*")
    none = forms.page("Questionnaire", f"_id=q3&{wish}")

    assert sorted(each.id for each in page.includes) == ["any", "one"]
    assert sorted(each.id for each in everything.includes) == ["any", "two"]
    assert list(none.includes) == []


def test_what_a_canonical_reference_cannot_be_asked_is_refused(forms):
    for modifier in ("below", "above"):
        with pytest.raises(Invalid):
            forms.found("QuestionnaireResponse", f"questionnaire:{modifier}=http://e.org")
