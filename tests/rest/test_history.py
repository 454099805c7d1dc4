"""History: R4 http.html#history, bundle.html#history."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.rest.conftest import BASE, Api, patient


@pytest.fixture(scope="module")
def path(api: Api) -> str:
    """A patient that was created, updated twice, deleted and brought back."""
    id = api.create(patient(gender="male"))["id"]
    for gender in ("female", "other"):
        api.put(f"Patient/{id}", patient(id=id, gender=gender))
    api.delete(f"Patient/{id}")
    api.put(f"Patient/{id}", patient(id=id, gender="unknown"))
    return f"Patient/{id}"


def test_all_versions_come_newest_first_with_how_they_were_made(api: Api, path: str):
    answer = api.get(f"{path}/_history")

    assert (answer.status, answer.json["type"], answer.json["total"]) == (200, "history", 5)
    assert [e["request"]["method"] for e in answer.entries] == [
        "POST", "DELETE", "PUT", "PUT", "POST",
    ]  # fmt: skip
    assert [e.get("resource", {}).get("gender") for e in answer.entries] == [
        "unknown", None, "other", "female", "male",
    ]  # fmt: skip
    newest, deletion = answer.entries[:2]
    assert newest["fullUrl"] == f"{BASE}/{path}"
    assert newest["response"]["etag"] == 'W/"5"'
    assert newest["response"]["status"] == "201 Created"
    assert deletion["request"]["url"] == path
    assert deletion["response"]["lastModified"].endswith("Z")


def test_pages_follow_each_other(api: Api, path: str):
    found, url = [], f"{path}/_history?_count=2"
    while url:
        answer = api.get(url)
        assert answer.json["total"] == 5
        found += [e["response"]["etag"] for e in answer.entries]
        url = answer.link("next")

    assert found == [f'W/"{n}"' for n in (5, 4, 3, 2, 1)]


def test_what_is_shown_of_a_version_can_be_limited(api: Api, path: str):
    elements = api.get(f"{path}/_history?_elements=gender")
    summary = api.get(f"{path}/_history?_summary=count")

    shown = elements.entries[0]["resource"]
    assert shown["gender"] == "unknown"
    assert "name" not in shown
    assert shown["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert (summary.json["total"], summary.entries) == (5, [])
    assert api.get(f"{path}/_history?_summary=some").status == 400


def test_since_and_at_select_versions_by_time(api: Api, path: str):
    second = api.get(f"{path}/_history/2").json["meta"]["lastUpdated"]

    since = api.get(f"{path}/_history?_since={quote(second)}")
    at = api.get(f"{path}/_history?_at={quote(second)}")
    year = api.get(f"{path}/_history?_at={second[:4]}")

    assert 'W/"2"' in [e["response"]["etag"] for e in since.entries]
    assert 'W/"2"' in [e["response"]["etag"] for e in at.entries]
    assert len(year.entries) == 5
    assert api.get(f"{path}/_history?_since=2100-01-01").entries == []
    assert api.get(f"{path}/_history?_at=2001").entries == []


def test_types_and_the_system_have_histories(api: Api, path: str):
    of_type, of_all = api.get("Patient/_history?_count=3"), api.get("_history?_count=3")

    assert [e["response"]["etag"] for e in of_type.entries][:1]
    assert of_type.json["type"] == of_all.json["type"] == "history"
    assert of_type.link("next")
    assert len(of_all.entries) == 3


@pytest.mark.parametrize("above", ["", "Patient/"])
def test_a_count_of_zero_asks_for_no_versions(api: Api, path: str, above: str):
    answer = api.get(f"{above}_history?_count=0")

    assert (answer.status, answer.entries) == (200, [])


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("_since=yesterday", 400),
        ("_at=2024-13", 400),
        ("_count=-1", 400),
        ("_page=forged", 400),
        ("nosuch=1", 400),
    ],
)
def test_a_bad_history_query_is_refused(api: Api, path: str, query: str, status: int):
    assert api.get(f"{path}/_history?{query}").status == status


def test_the_history_of_what_never_was_is_404(api: Api):
    assert api.get("Patient/never-there/_history").status == 404
    assert api.get("Patientt/_history").status == 404
