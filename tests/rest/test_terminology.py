"""Terminology operations over HTTP: GET and POST, type and instance, stored resources, refusals."""

from __future__ import annotations

from urllib.parse import urlencode

from app.terminology.stored import loading
from app.terminology.stored.build import Draft
from app.terminology.stored.rows import Body
from tests.rest.conftest import Api
from tests.support import wait_for
from tests.terminology.ward import ALL, SETS, WARD, codes, concept, parameter, value_set, wards


def parameters(*resources: object, **given: str) -> dict[str, object]:
    listed: list[dict[str, object]] = [
        {"name": name, "valueString": value} for name, value in given.items()
    ]
    listed += [{"name": "tx-resource", "resource": one} for one in resources]
    return {"resourceType": "Parameters", "parameter": listed}


def test_a_code_is_validated_by_get_and_by_post(api: Api):
    given = {
        "url": "http://hl7.org/fhir/ValueSet/administrative-gender",
        "system": "http://hl7.org/fhir/administrative-gender",
        "code": "male",
    }

    got = api.get(f"ValueSet/$validate-code?{urlencode(given)}")
    posted = api.post("ValueSet/$validate-code", parameters(**given))

    assert (got.status, posted.status) == (200, 200)
    assert parameter(got.json, "result") is True
    assert got.json == posted.json


def test_resources_that_come_along_are_used_and_not_kept(api: Api):
    url = WARD + "-brought"
    every = value_set("brought", {"system": url})
    with_them = api.post("ValueSet/$expand", parameters(wards(url=url), every, url=every["url"]))
    without = api.post("ValueSet/$expand", parameters(url=every["url"]))

    assert codes(with_them.json) == ["surg", ["card", "neuro"], "paed", "tb"]
    assert without.status == 422
    assert without.json["issue"][0]["details"]["coding"][0]["code"] == "not-found"
    assert api.get("CodeSystem?url=" + url).json["total"] == 0


def test_stored_resources_are_used_as_soon_as_they_are_written(api: Api):
    url = WARD + "-written"
    lookup = f"CodeSystem/$lookup?system={url}&code=icu"
    before = api.get(lookup)
    stored = api.create(wards("1", url=url))
    first = api.get(lookup)
    stored["concept"].append(concept("icu", "Intensive care"))
    api.put(f"CodeSystem/{stored['id']}", stored)
    second = api.get(lookup)
    api.delete(f"CodeSystem/{stored['id']}")
    after = api.get(lookup)

    assert [a.status for a in (before, first, second, after)] == [404, 404, 200, 404]


def test_an_instance_stands_for_its_url(api: Api):
    system = api.create(wards())
    chosen = api.create(value_set("few", {"system": WARD, "concept": [{"code": "card"}]}))

    expanded = api.get(f"ValueSet/{chosen['id']}/$expand")
    judged = api.get(f"ValueSet/{chosen['id']}/$validate-code?system={WARD}&code=paed")
    known = api.get(f"CodeSystem/{system['id']}/$validate-code?code=paed")
    found = api.get(f"CodeSystem/{system['id']}/$lookup?code=paed")

    assert codes(expanded.json) == ["card"]
    assert parameter(judged.json, "result") is False
    assert parameter(known.json, "result") is True
    assert parameter(found.json, "display") == "Paediatrics"


def test_the_value_set_that_a_stored_code_system_names_is_all_of_it(api: Api):
    api.create(wards(valueSet=SETS + "implied"))

    found = api.get(f"ValueSet/$expand?url={SETS}implied&excludeNested=true")

    assert codes(found.json) == ["surg", "card", "neuro", "paed", "tb"]


def test_versions_live_side_by_side(api: Api):
    url = WARD + "-side-by-side"
    for version in ("1.9.0", "1.10.0"):
        api.create(wards(version, url=url))

    latest = api.get(f"CodeSystem/$lookup?system={url}&code=card")
    older = api.get(f"CodeSystem/$lookup?system={url}&code=card&version=1.9.x")

    assert parameter(latest.json, "version") == "1.10.0"
    assert parameter(older.json, "version") == "1.9.0"


def test_a_cache_id_is_handed_out_used_and_ended(api: Api):
    start = api.post("$cache-control?mode=start", parameters(wards(), ALL))
    header = {"X-Cache-Id": parameter(start.json, "cache-id")}
    query = f"ValueSet/$validate-code?url={SETS}all&system={WARD}&code=card"

    used = api.get(query, **header)
    ended = api.post("$cache-control?mode=end", parameters(), **header)
    gone = api.get(query, **header)

    assert parameter(used.json, "result") is True
    assert (ended.status, gone.status) == (200, 404)


def test_a_batch_of_operations_goes_through_the_bundle(api: Api):
    url = f"ValueSet/$validate-code?url={SETS}none&system={WARD}&code=card"
    known = "CodeSystem/$lookup?system=http://hl7.org/fhir/administrative-gender&code=male"
    entries = [{"request": {"method": "GET", "url": one}} for one in (known, url)]

    found = api.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})

    assert [e["response"]["status"][:3] for e in found.json["entry"]] == ["200", "422"]


def test_malformed_input_is_refused_and_never_a_fault(api: Api):
    refused = [
        api.get(f"ValueSet/$expand?url={SETS}all&count=-1").status,
        api.get("ValueSet/$expand").status,
        api.post("ValueSet/$expand", {"resourceType": "Parameters", "parameter": [{}]}).status,
        api.post(
            "ValueSet/$validate-code",
            {
                "resourceType": "Parameters",
                "parameter": [{"name": "coding", "valueString": "x"}],
            },
        ).status,
    ]

    assert [status // 100 for status in refused] == [4, 4, 4, 4]


def test_deleting_the_header_of_a_loaded_system_leaves_its_codes(api: Api):
    header = {
        "resourceType": "CodeSystem",
        "url": WARD + "-loaded",
        "status": "active",
        "content": "complete",
    }
    draft = Draft(header)
    draft.add("icu", Body("Intensive care"), 1)
    loading.load(api.hub.store, header, draft, b"wards")
    resource = api.create({**header, "content": "not-present", "count": 1})
    lookup = f"CodeSystem/$lookup?system={WARD}-loaded&code=icu"
    wait_for(lambda: api.get(lookup).status == 200)  # other processes notice a load just so

    api.delete(f"CodeSystem/{resource['id']}")
    after = api.get(lookup)

    assert after.status == 200
    assert parameter(after.json, "display") == "Intensive care"
    assert api.get(f"CodeSystem?url={WARD}-loaded").json["total"] == 0


def test_versions_are_told(api: Api):
    found = api.get("$versions")

    assert parameter(found.json, "default") == "4.0"
