"""Searches over many resources, where plans differ: each against a plain filter of the same data.

R4 search.html#chaining, #has; paging visits each match once, http.html#paging. A database is
filled once for all of them.
"""

import json
import random
from collections import Counter
from datetime import UTC, datetime

import pytest

from app.clock import SetClock
from app.store.store import Setting, open_store
from app.store.types import Change, Method, SearchRequest

PATIENTS, OBSERVATIONS = 90, 1500
CODES = ["hr"] * 500 + ["temp"] * 90 + ["odd"] * 8 + ["once"]
RARE = "Practitioner/x"


def world():
    rnd = random.Random(11)  # noqa: S311 - the same data each time
    for n in range(PATIENTS):
        yield {
            "resourceType": "Patient",
            "id": f"p{n}",
            "name": [{"family": f"Fam{n % 3}x"}, {"family": f"Fam{n % 3}y{n}"}],
            "gender": "female" if n % 2 else "male",
            "birthDate": f"19{10 + n:02d}-01-01",
        }
    for n in range(OBSERVATIONS):
        about = {"subject": {"reference": f"Patient/p{rnd.randrange(PATIENTS)}"}}
        if n % 40 == 0:  # in the compartment of a patient that it does not refer to as its subject
            about = {"performer": [{"reference": f"Patient/p{rnd.randrange(PATIENTS)}"}]}
        elif n % 40 == 1:
            about["performer"] = [{"reference": RARE}]
        day = f"2024-{rnd.randrange(1, 13):02d}-{rnd.randrange(1, 29):02d}"
        yield {
            "resourceType": "Observation",
            "id": f"o{n}",
            "status": "final",
            "code": {"coding": [{"system": "s", "code": rnd.choice(CODES)}]},
            "effectiveDateTime": rnd.choice([day, f"{day}T{rnd.randrange(24):02d}:00:00Z"]),
            **about,
        }


@pytest.fixture(scope="module")
def filled(database_url_of_module):
    store = open_store(
        database_url_of_module, Setting(), SetClock(datetime(2026, 3, 1, 8, tzinfo=UTC))
    )
    everything = list(world())
    for start in range(0, len(everything), 500):
        store.commit(
            [
                Change(Method.UPDATE, each["resourceType"], each["id"], json.dumps(each).encode())
                for each in everything[start : start + 500]
            ]
        )
    yield store, {each["id"]: each for each in everything}
    store.close()


def pages(store, type_name, query, count):
    """Return the ids of all matches, in their order, page by page."""
    params = [tuple(part.split("=", 1)) for part in query.split("&")] + [("_count", str(count))]
    ids, following = [], None
    while True:
        more = [("_page", following)] if following else []
        page = store.search(SearchRequest(type_name, [*params, *more]))
        ids += [match.id for match in page.matches]
        following = page.next
        if following is None:
            return ids


def code(observation):
    return observation["code"]["coding"][0]["code"]


def subject(observation):
    return observation.get("subject", {}).get("reference", "").removeprefix("Patient/")


def family(patient):
    return [name["family"].lower() for name in patient["name"]]


def of_family(known, start):
    return lambda o: (
        subject(o) in known and any(each.startswith(start) for each in family(known[subject(o)]))
    )


CHAINS = [
    ("patient.family=fam1&code=s|hr", "fam1", {"hr"}, ""),
    ("subject:Patient.family=fam&code=s|hr", "fam", {"hr"}, ""),
    ("patient.family=fam2&code=s|temp", "fam2", {"temp"}, ""),
    ("patient.family=fam2&code=s|odd", "fam2", {"odd"}, ""),
    ("patient.family=fam0y3&code=s|hr", "fam0y3", {"hr"}, ""),
    ("patient.family=fam1", "fam1", set(CODES), ""),
    ("patient.family=fam1&code=s|hr,s|temp", "fam1", {"hr", "temp"}, ""),
    ("patient.family=fam1&code=s|hr&date=ge2024-11-15", "fam1", {"hr"}, "2024-11-15"),
    (f"patient.family=fam1&code=s|hr&performer={RARE}", "fam1", {"hr"}, RARE),
    ("patient.family=nobody&code=s|hr", "nobody", {"hr"}, ""),
]


@pytest.mark.parametrize("order", ["&_sort=-date", "&_sort=date", "", "&_sort=_id"])
@pytest.mark.parametrize(("query", "start", "codes", "more"), CHAINS)
def test_a_chain_over_many_patients_finds_each_match_once(filled, query, start, codes, more, order):
    store, known = filled
    meets = of_family(known, start)
    expected = {
        id_
        for id_, each in known.items()
        if each["resourceType"] == "Observation"
        and code(each) in codes
        and meets(each)
        and (RARE in json.dumps(each) if more == RARE else each["effectiveDateTime"][:10] >= more)
    }

    found = pages(store, "Observation", query + order, 97)
    again = pages(store, "Observation", query + order, 1000)

    assert Counter(found) == Counter(expected)
    assert again == found
    total = store.search(
        SearchRequest(
            "Observation",
            [*(tuple(part.split("=", 1)) for part in query.split("&")), ("_total", "accurate")],
        )
    ).total
    assert total == len(expected)


@pytest.mark.parametrize("asked", ["hr", "temp", "odd", "once", "never"])
@pytest.mark.parametrize("by", ["patient", "subject"])
@pytest.mark.parametrize("gender", ["", "&gender=female"])
@pytest.mark.parametrize("count", [7, 1000])
def test_has_finds_each_patient_once(filled, asked, by, gender, count):
    store, known = filled
    expected = {
        subject(each)
        for each in known.values()
        if each["resourceType"] == "Observation" and code(each) == asked and subject(each)
    }
    if gender:
        expected = {id_ for id_ in expected if known[id_]["gender"] == "female"}
    query = f"_has:Observation:{by}:code=s|{asked}{gender}"

    found = pages(store, "Patient", query, count)

    assert Counter(found) == Counter(expected)
    assert found == sorted(found, key=lambda id_: known[id_]["birthDate"], reverse=True)


def test_has_of_several_codes_and_its_opposite(filled):
    store, known = filled
    odd = {
        subject(each)
        for each in known.values()
        if each["resourceType"] == "Observation" and code(each) in ("odd", "once") and subject(each)
    }

    found = pages(store, "Patient", "_has:Observation:patient:code=s|odd,s|once", 10)
    total = store.search(
        SearchRequest(
            "Patient", [("_has:Observation:patient:code", "s|hr"), ("_total", "accurate")]
        )
    )

    assert set(found) == odd
    assert total.total == len(pages(store, "Patient", "_has:Observation:patient:code=s|hr", 1000))


def test_a_date_is_found_where_intervals_are_longer_than_a_year(filled):
    store, _ = filled
    long = {
        "resourceType": "Observation",
        "id": "long",
        "status": "final",
        "code": {"coding": [{"system": "s", "code": "long"}]},
        "effectivePeriod": {"start": "2001-01-01", "end": "2024-06-01"},
    }
    query = "code=s|long&date=ge2024-01-01"

    assert pages(store, "Observation", query, 10) == []
    store.commit([Change(Method.UPDATE, "Observation", "long", json.dumps(long).encode())])
    assert pages(store, "Observation", query, 10) == ["long"]
    store.commit([Change(Method.DELETE, "Observation", "long")])
    assert pages(store, "Observation", query, 10) == []
