"""The human page of a code system or value set, at the address of the resource."""

from __future__ import annotations

import pytest

from app import console
from tests.rest.conftest import Api
from tests.terminology.ward import SETS, WARD, value_set, wards

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
JSON, XML = "application/fhir+json", "application/fhir+xml"


def test_a_browser_is_sent_on_to_the_page_of_the_codes(api: Api):
    pages = Api(api.hub, [console.blueprint(api.hub)])
    system = api.create(wards("1.5", url=WARD + "-seen"))
    codes = api.create(value_set("seen", {"system": WARD + "-seen"}, version="1.5"))
    header = api.create(
        {
            "resourceType": "CodeSystem",
            "url": WARD + "-elsewhere",
            "status": "active",
            "content": "not-present",
        }
    )

    for one, shown in ((system, "surg"), (codes, "surg"), (header, WARD + "-elsewhere")):
        sent = pages.get(f"{one['resourceType']}/{one['id']}", Accept=BROWSER)
        page = pages.get(sent.headers["Location"])

        assert (sent.status, sent.body) == (303, b"")
        assert "Accept" in sent.headers["Vary"]
        assert page.status == 200
        assert page.headers["Content-Type"].startswith("text/html")
        assert shown in page.body.decode()


@pytest.mark.parametrize(
    ("accept", "status", "content"),
    [
        ("text/html", 303, None),
        ("text/html, */*;q=0.1", 303, None),
        ("text/html;q=0.9, application/fhir+json", 200, JSON),
        ("application/fhir+xml, text/html", 200, XML),
        ("*/*", 200, JSON),
        ("text/*", 200, JSON),
        ("text/html;q=0, application/fhir+json;q=0.1", 200, JSON),
        ("image/png", 406, JSON),
    ],
)
def test_clients_of_fhir_get_the_resource(api: Api, accept: str, status: int, content: str | None):
    stored = api.create(value_set(f"pages-{status}", {"system": WARD}))

    found = api.get(f"ValueSet/{stored['id']}", Accept=accept)

    assert found.status == status
    assert found.headers.get("Content-Type", "").partition(";")[0] == (content or "")


def test_what_has_no_page_is_not_acceptable(api: Api):
    patient = api.create({"resourceType": "Patient"})
    stored = api.create(value_set("no-page", {"system": WARD}))
    unnamed = api.create({"resourceType": "ValueSet", "status": "draft"})
    wanted = {"Accept": "text/html"}

    assert api.get(f"Patient/{patient['id']}", **wanted).status == 406
    assert api.get(f"ValueSet?url={SETS}no-page", **wanted).status == 406
    assert api.get(f"ValueSet/{unnamed['id']}", **wanted).status == 406
    assert api.get("ValueSet/nosuch", **wanted).status == 404
    assert api.get(f"ValueSet/{stored['id']}?_format=json", **wanted).status == 200
