"""Batch and transaction: R4 http.html#transaction, #trules, #brules, #transaction-response."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest

from app.store.store import Store
from app.store.types import Change, Method, Outcome
from tests.rest.conftest import Api, OneProcess, identified, observation, patient


def entry(
    method: str, url: str, resource: Any = None, full_url: str | None = None, **request: str
) -> dict[str, Any]:
    made: dict[str, Any] = {"request": {"method": method, "url": url, **request}}
    if resource is not None:
        made["resource"] = resource
    if full_url is not None:
        made["fullUrl"] = full_url
    return made


def bundle(*entries: Any, type: str = "transaction") -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": type, "entry": list(entries)}


def uuid() -> str:
    return f"urn:uuid:{uuid4()}"


def statuses(answer: Any) -> list[str]:
    return [e["response"]["status"][:3] for e in answer.entries]


def located(entry: Any) -> str:
    return "/".join(entry["response"]["location"].split("/")[:2])


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_an_empty_bundle_gives_an_empty_answer(api: Api, kind: str):
    answer = api.post("", {"resourceType": "Bundle", "type": kind})

    assert answer.status == 200
    assert answer.json == {"resourceType": "Bundle", "type": f"{kind}-response"}


def test_response_entries_say_what_became_of_each_request_in_its_order(api: Api):
    old, gone = api.create(patient())["id"], api.create(patient())["id"]

    answer = api.post(
        "",
        bundle(
            entry("GET", f"Patient/{old}"),
            entry("PUT", f"Patient/{old}", patient(id=old, gender="male")),
            entry("POST", "Observation", observation(), uuid()),
            entry("DELETE", f"Patient/{gone}"),
        ),
    )

    assert statuses(answer) == ["200", "200", "201", "204"]
    read, updated, created, deleted = answer.entries
    assert read["resource"]["gender"] == "male"  # reads see the result
    assert updated["response"]["location"] == f"Patient/{old}/_history/2"
    assert created["response"]["etag"] == 'W/"1"'
    assert created["response"]["lastModified"].endswith("Z")
    assert created["resource"]["resourceType"] == "Observation"
    assert "resource" not in deleted


class Meanwhile:
    """A store in which somebody else deletes some patients right after the next commit."""

    def __init__(self, store: Store, *ids: str) -> None:
        self._store, self._ids = store, ids

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        done = self._store.commit(changes)
        self._store.commit([Change(Method.DELETE, "Patient", id_) for id_ in self._ids])
        return done


def test_reads_see_the_version_that_was_written_whatever_happens_after_it(api: Api):
    written, other, value = api.create(patient())["id"], api.create(patient())["id"], api.value()
    busy = Api(OneProcess(Meanwhile(api.hub.store, written, other)))  # type: ignore[arg-type]

    answer = busy.post(
        "",
        bundle(
            entry("GET", f"Patient/{written}"),
            entry("PUT", f"Patient/{written}", patient(id=written, gender="male")),
            entry("GET", f"Patient/{other}"),
            entry("POST", "Patient", patient(identifier=identified(value))),
            entry("GET", f"Patient?identifier=urn:x-test|{value}"),
        ),
    )

    assert statuses(answer) == ["200", "200", "410", "201", "200"]
    assert answer.entries[0]["resource"]["gender"] == "male"
    assert answer.entries[2]["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert len(answer.entries[4]["resource"]["entry"]) == 1


@pytest.mark.parametrize("path", ["Patient/{}", "Patient/{}/_history/9"])
def test_a_read_of_what_will_not_be_there_undoes_all(api: Api, path: str):
    id, value = api.create(patient())["id"], api.value()

    answer = api.post(
        "",
        bundle(
            entry("POST", "Patient", patient(identifier=identified(value))),
            entry("GET", path.format(id)),
            *([entry("DELETE", f"Patient/{id}")] if path == "Patient/{}" else []),
        ),
    )

    assert answer.status in (404, 410), answer.body
    assert api.get(f"Patient?identifier=urn:x-test|{value}").entries == []
    assert api.get(f"Patient/{id}").status == 200


def test_minimal_leaves_the_resources_out(api: Api):
    answer = api.post("", bundle(entry("POST", "Patient", patient())), Prefer="return=minimal")

    assert statuses(answer) == ["201"]
    assert "resource" not in answer.entries[0]


def test_references_follow_their_full_urls(api: Api):
    mother, child = uuid(), uuid()
    narrative = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{mother}">her</a></div>'

    answer = api.post(
        "",
        bundle(
            entry(
                "POST",
                "Observation",
                observation(
                    subject={"reference": mother},
                    extension=[{"url": "urn:x-test", "valueUri": child}],
                    text={"status": "generated", "div": narrative},
                    identifier=[{"value": mother}],
                ),
            ),
            entry("POST", "Patient", patient(), mother),
            entry("POST", "Patient", patient(), child),
        ),
    )

    assert answer.status == 200, answer.body
    made = answer.entries[0]["resource"]
    assert made["subject"]["reference"] == located(answer.entries[1])
    assert made["extension"][0]["valueUri"] == located(answer.entries[2])
    assert f'href="{located(answer.entries[1])}"' in made["text"]["div"]
    assert made["identifier"][0]["value"] == mother  # a string is no reference


def test_conditional_entries_stand_for_what_they_match(api: Api):
    known, fresh = api.value(), api.value()
    there = api.create(patient(identifier=identified(known)))["id"]
    one, other = uuid(), uuid()

    answer = api.post(
        "",
        bundle(
            entry(
                "POST",
                "Patient",
                patient(identifier=identified(known)),
                one,
                ifNoneExist=f"identifier=urn:x-test|{known}",
            ),
            entry(
                "PUT",
                f"Patient?identifier=urn:x-test|{fresh}",
                patient(identifier=identified(fresh)),
                other,
            ),
            entry("POST", "Observation", observation(subject={"reference": one})),
            entry("POST", "Observation", observation(subject={"reference": other})),
            entry(
                "POST",
                "Observation",
                observation(subject={"reference": f"Patient?identifier=urn:x-test|{known}"}),
            ),
        ),
    )

    assert statuses(answer) == ["200", "201", "201", "201", "201"], answer.body
    subjects = [e["resource"]["subject"]["reference"] for e in answer.entries[2:]]
    assert subjects == [f"Patient/{there}", located(answer.entries[1]), f"Patient/{there}"]


def test_a_conditional_create_comes_after_the_deletes(api: Api):
    value = api.value()
    old = api.create(patient(identifier=identified(value)))["id"]

    answer = api.post(
        "",
        bundle(
            entry(
                "POST",
                "Patient",
                patient(identifier=identified(value)),
                ifNoneExist=f"identifier=urn:x-test|{value}",
            ),
            entry("DELETE", f"Patient/{old}"),
        ),
    )

    assert statuses(answer) == ["201", "204"]
    (left,) = api.get(f"Patient?identifier=urn:x-test|{value}").entries
    assert located(answer.entries[0]) == f"Patient/{left['resource']['id']}"


def test_a_document_keeps_the_names_of_its_own_entries(api: Api):
    name = uuid()
    document = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"fullUrl": name, "resource": patient()},
            {"fullUrl": uuid(), "resource": observation(subject={"reference": name})},
        ],
    }

    answer = api.post("", bundle(entry("POST", "Bundle", document)))

    assert statuses(answer) == ["201"]
    stored = answer.entries[0]["resource"]["entry"]
    assert stored[1]["resource"]["subject"]["reference"] == name


def test_conditional_references_find_what_the_bundle_itself_writes(api: Api):
    fresh, both = api.value(), api.value()
    api.create(patient(identifier=identified(both)))

    def refers(value: str) -> Any:
        about = {"reference": f"Patient?identifier=urn:x-test|{value}"}
        return entry("POST", "Observation", observation(subject=about))

    def makes(value: str) -> Any:
        return entry("POST", "Patient", patient(identifier=identified(value)), uuid())

    made = api.post("", bundle(refers(fresh), makes(fresh), refers(fresh)))
    several = api.post("", bundle(refers(both), makes(both)))
    none = api.post("", bundle(refers(api.value()), makes(api.value())))

    assert statuses(made) == ["201", "201", "201"], made.body
    subjects = [made.entries[n]["resource"]["subject"]["reference"] for n in (0, 2)]
    assert subjects == [located(made.entries[1])] * 2
    assert made.entries[1]["resource"]["meta"]["versionId"] == "1"
    assert len(api.get(f"Observation?subject={located(made.entries[1])}").entries) == 2
    assert (several.status, none.status) == (412, 412)
    assert len(api.get(f"Patient?identifier=urn:x-test|{both}").entries) == 1
    assert several.issue["expression"] == ["Bundle.entry[0]"]


@pytest.mark.parametrize(
    ("bad", "status", "place"),
    [
        (entry("POST", "Observation", {"resourceType": "Observation", "code": {"text": "x"}}),
         400, "Bundle.entry[1].resource"),
        (entry("POST", "Patient", {"resourceType": "Patient", "gender": "man"}),
         400, "Bundle.entry[1].resource.gender"),
        (entry("POST", "Patientt", patient()), 404, "Bundle.entry[1]"),
        (entry("PUT", "Patient/x", patient(id="y")), 400, "Bundle.entry[1].resource.id"),
        (entry("PUT", "Patient/never", patient(id="never"), ifMatch='W/"3"'),
         412, "Bundle.entry[1]"),
        (entry("GET", "Patient/never-there"), 404, "Bundle.entry[1]"),
        (entry("GET", "Patient?nosuch=1"), 400, "Bundle.entry[1].request"),
        (entry("POST", "Patient/$everything"), 404, "Bundle.entry[1]"),
        (entry("PUT", "Patient", patient(id="x")), 400, "Bundle.entry[1].request"),
        (entry("PUT", "http://other.example/fhir/Patient/x", patient(id="x")),
         400, "Bundle.entry[1].request.url"),
        (entry("POST", "Observation", observation(subject={"reference": uuid()})),
         400, "Bundle.entry[1].resource.subject.reference"),
        (entry("POST", "Observation",
               observation(performer=[{"display": "x"}, {"reference": uuid()}])),
         400, "Bundle.entry[1].resource.performer[1].reference"),
        (entry("POST", "Observation", observation(subject={"reference": "Patient?identifier=no"})),
         412, "Bundle.entry[1]"),
        (entry("POST", "Patient"), 400, "Bundle.entry[1].resource"),
        (entry("SPAM", "Patient", patient()), 400, "Bundle.entry[1].request.method"),
        ({"resource": patient()}, 400, "Bundle.entry[1].request"),
        ({"request": {"method": "GET"}}, 400, "Bundle.entry[1].request"),
        (entry("GET", "Patient") | {"unknown": 1}, 400, "Bundle.entry[1]"),
    ],
)  # fmt: skip
def test_one_bad_entry_undoes_all_and_is_named(api: Api, bad: Any, status: int, place: str):
    value = api.value()
    good = entry("POST", "Patient", patient(identifier=identified(value)))

    answer = api.post("", bundle(good, bad))

    assert answer.status == status, answer.body
    assert answer.issue["expression"][0].startswith(place)
    assert api.get(f"Patient?identifier=urn:x-test|{value}").entries == []


def test_the_same_resource_or_full_url_twice_is_refused(api: Api):
    id, url = api.create(patient())["id"], uuid()
    put = entry("PUT", f"Patient/{id}", patient(id=id))

    twice = api.post("", bundle(put, put))
    equal = api.post(
        "",
        bundle(entry("POST", "Patient", patient(), url), entry("POST", "Patient", patient(), url)),
    )

    value = api.value()
    wished = entry(
        "PUT", f"Patient?identifier=urn:x-test|{value}", patient(identifier=identified(value))
    )
    by_criteria = api.post("", bundle(wished, wished))

    assert (twice.status, equal.status) == (400, 400)
    assert (by_criteria.status, by_criteria.issue["expression"]) == (400, ["Bundle.entry[1]"])
    assert equal.issue["expression"] == ["Bundle.entry[1].fullUrl"]


def test_patch_entries_come_as_binary_or_parameters(api: Api):
    one, other = api.create(patient())["id"], api.create(patient(active=True))["id"]
    json_patch = b'[{"op":"add","path":"/gender","value":"female"}]'
    operation = [
        {"name": "type", "valueCode": "delete"},
        {"name": "path", "valueString": "Patient.active"},
    ]

    answer = api.post(
        "",
        bundle(
            entry(
                "PATCH",
                f"Patient/{one}",
                {
                    "resourceType": "Binary",
                    "contentType": "application/json-patch+json",
                    "data": b64encode(json_patch).decode(),
                },
            ),
            entry(
                "PATCH",
                f"Patient/{other}",
                {
                    "resourceType": "Parameters",
                    "parameter": [{"name": "operation", "part": operation}],
                },
            ),
        ),
    )

    assert statuses(answer) == ["200", "200"], answer.body
    assert answer.entries[0]["resource"]["gender"] == "female"
    assert "active" not in answer.entries[1]["resource"]


def test_a_batch_does_each_entry_on_its_own(api: Api):
    answer = api.post(
        "",
        bundle(
            entry("POST", "Patient", patient(gender="man")),
            entry("POST", "Patient", patient()),
            entry("GET", "Patient/never-there"),
            entry("GET", "Patient?_count=1"),
            entry("GET", "Patientt"),
            entry("DELETE", "Patient/never-there"),
            entry("GET", "metadata"),
            entry("HEAD", "metadata"),
            {"resource": patient()},
            entry("SPAM", "Patient"),
            entry("POST", "Patient/_search?_count=1"),
            type="batch",
        ),
    )

    assert answer.json["type"] == "batch-response"
    assert statuses(answer) == [
        "400", "201", "404", "200", "404", "204", "200", "200", "400", "400", "200",
    ]  # fmt: skip
    refused, _, missing, searched, _, _, metadata, head = answer.entries[:8]
    assert refused["response"]["outcome"]["issue"][0]["expression"] == [
        "Bundle.entry[0].resource.gender"
    ]
    assert missing["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert searched["resource"]["type"] == "searchset"
    assert metadata["resource"]["resourceType"] == "CapabilityStatement"
    assert "resource" not in head


def test_conditions_of_batch_entries_are_their_own(api: Api):
    id = api.create(patient())["id"]

    answer = api.post(
        "",
        bundle(
            entry("GET", f"Patient/{id}", ifNoneMatch='W/"1"'),
            entry("PUT", f"Patient/{id}", patient(id=id), ifMatch='W/"7"'),
            entry("POST", f"Patient/{id}/$meta"),
            entry("GET", f"Patient/{id}", ifModifiedSince="2000-01-01T00:00:00+08:00"),
            entry("GET", f"Patient/{id}", ifModifiedSince="2100-01-01T00:00:00.000Z"),
            entry("GET", f"Patient/{id}", ifModifiedSince="lately"),
            type="batch",
        ),
    )

    assert statuses(answer) == ["304", "412", "200", "200", "304", "200"]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (patient(), "Bundle"),
        (bundle(type="collection"), "Bundle.type"),
        ({"resourceType": "Bundle"}, "Bundle"),
        ({"resourceType": "Bundle", "type": "batch", "entry": {}}, "Bundle.entry"),
    ],
)
def test_only_a_batch_or_transaction_can_be_posted_to_the_base(api: Api, body: Any, place: str):
    answer = api.post("", body)

    assert answer.status == 400
    assert answer.issue["expression"][0].startswith(place)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"a":NaN}}]}',
        b'{"resourceType":"Bundle","type":"batch","id":"\xff"}',
        b'{"resourceType":"Bundle","type":"batch","entry":[{"resource":' + b"[" * 99999,
    ],
)
def test_what_is_no_bundle_at_all_is_400(api: Api, body: bytes):
    assert api.post("", body).status == 400


def test_a_transaction_of_many_entries_works(api: Api):
    url = uuid()
    observations = [
        entry("POST", "Observation", observation(subject={"reference": url})) for _ in range(300)
    ]

    answer = api.post("", bundle(entry("POST", "Patient", patient(), url), *observations))

    assert statuses(answer) == ["201"] * 301
    subject = located(answer.entries[0])
    assert api.get(f"Observation?subject={subject}&_total=accurate&_count=1").json["total"] == 300
