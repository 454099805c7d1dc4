"""GS1 Digital Link and Handle resolution (identifiers.md 7; RFC 9264)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.registry.indexed import identifier_keys
from app.registry.links import shipped_rules
from app.rest import resolver
from app.store.store import Setting, open_store
from tests.rest.conftest import BASE, Api, OneProcess

GTIN = "09521234000037"
PIP = "https://ref.gs1.org/voc/pip"
DATA = "https://ref.gs1.org/voc/masterData"
LEAFLET = "https://ref.gs1.org/voc/epil"


@pytest.fixture(scope="module")
def api(backend_url: str) -> Iterator[Api]:
    rules = shipped_rules()
    setting = Setting(bases=(f"{BASE}/",), identifier_keys=identifier_keys, link_rules=rules)
    store = open_store(backend_url, setting)
    hub = OneProcess(store)
    yield Api(hub, [resolver.blueprint(hub, rules.kinds)])
    store.close()


def document(code, *attachments):
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {"coding": [{"system": "https://ref.gs1.org/voc/", "code": code}]},
        "content": [{"attachment": each} for each in attachments],
        "context": {
            "related": [{"identifier": {"system": "https://www.gs1.org/gtin", "value": GTIN}}]
        },
    }


@pytest.fixture(scope="module")
def item(api):
    """A product with a page in two languages and a leaflet, and one item of it."""
    english = {"url": "https://maker.example/en?x=1", "contentType": "text/html", "language": "en"}
    chinese = {"url": "https://maker.example/zh", "contentType": "text/html", "language": "zh-CN"}
    api.create(document("pip", english, chinese))
    api.create(document("epil", {"url": "https://maker.example/leaflet.pdf", "title": "说明书"}))
    api.create(document("pip", {"url": "javascript:alert(1)"}))
    return api.create(
        {
            "resourceType": "Device",
            "udiCarrier": [{"deviceIdentifier": GTIN, "carrierHRF": f"(01){GTIN}(21)A/1"}],
        }
    )


def test_the_default_link_is_the_page_in_the_language_asked_for(api, item):
    english = api.get(f"/01/{GTIN}/21/A%2F1?lot=7", Accept_Language="en")
    chinese = api.get(f"/01/{GTIN}", Accept_Language="fr, zh;q=0.8")

    assert (english.status, english.headers["Location"]) == (
        307, "https://maker.example/en?x=1&lot=7",
    )  # fmt: skip
    assert chinese.headers["Location"] == "https://maker.example/zh"
    assert 'rel="linkset"' in english.headers["Link"]
    assert english.headers["Access-Control-Allow-Origin"] == "*"


def test_a_link_type_is_followed_or_not_found(api, item):
    leaflet = api.get(f"/01/{GTIN}?linkType=gs1:epil")
    data = api.get(f"/01/{GTIN}/21/A%2F1?linkType={DATA}")

    assert leaflet.headers["Location"] == "https://maker.example/leaflet.pdf"
    assert data.headers["Location"] == f"{BASE}/Device/{item['id']}"
    assert api.get(f"/01/{GTIN}?linkType=gs1:recallStatus").status == 404


def test_the_linkset_is_an_answer_not_a_redirect(api, item):
    asked = api.get(f"/01/{GTIN}?linkType=linkset")
    accepted = api.get(f"/01/{GTIN}", Accept="application/linkset+json")

    assert asked.status == 200
    assert asked.json == accepted.json
    assert asked.headers["Content-Type"] == "application/linkset+json"
    assert "json-ld#context" in asked.headers["Link"]
    (context,) = asked.json["linkset"]
    assert context["anchor"] == f"http://localhost/01/{GTIN}"
    assert context["https://ref.gs1.org/voc/defaultLink"][0]["href"].startswith("https://maker")
    assert [each["hreflang"] for each in context[PIP]] == [["en"], ["zh-CN"]]
    assert context[LEAFLET] == [{"href": "https://maker.example/leaflet.pdf", "title": "说明书"}]


def test_an_item_that_is_not_known_falls_back_to_its_product(api, item):
    answer = api.get(f"/01/{GTIN}/10/UNKNOWN")

    assert answer.status == 307


def test_a_model_of_which_only_items_are_known_leads_to_what_is_known(api):
    printed = "(01)04012345678901(21)S1"
    api.create({"resourceType": "Device", "udiCarrier": [{"carrierHRF": printed}]})

    answer = api.get("/01/04012345678901")

    assert answer.headers["Location"] == (
        "http://localhost/id?code=https%3A%2F%2Fid.gs1.org%2F01%2F04012345678901"
    )


def test_a_compressed_link_tells_its_uncompressed_form_on_this_host(api):
    api.create(
        {
            "resourceType": "Device",
            "identifier": [{"system": "https://www.gs1.org/gtin", "value": "09780345418913"}],
        }
    )

    answer = api.get("/ARHKVAdpQg")

    assert answer.status == 307
    assert '<http://localhost/01/09780345418913>; rel="owl:sameAs"' in answer.headers["Link"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/01/{GTIN[:-1]}8", 400),
        ("/01/x", 400),
        ("/01/04012345600001", 404),
        ("/99/1234567890", 404),
        ("/something-else-here", 404),
        ("/00/006141411234567890", 404),
    ],
)
def test_what_cannot_be_read_is_400_and_what_nobody_knows_404(api, item, path, status):
    assert api.get(path).status == status


def test_the_resolver_describes_itself(api):
    found = api.get("/.well-known/gs1resolver").json

    assert found["resolverRoot"] == "http://localhost"
    assert "01" in found["supportedPrimaryKeys"]


def test_a_handle_gives_its_values_as_the_proxy_does(api):
    made = api.create(
        {
            "resourceType": "Device",
            "identifier": [{"system": "urn:ietf:rfc:3986", "value": "hdl:86.100.1/Ab/1"}],
        }
    )
    url = f"{BASE}/Device/{made['id']}"

    found = api.get("/api/handles/86.100.1/Ab/1").json

    assert (found["responseCode"], found["handle"]) == (1, "86.100.1/Ab/1")
    (value,) = found["values"]
    assert (value["index"], value["type"], value["data"]) == (
        1, "URL", {"format": "string", "value": url},
    )  # fmt: skip
    assert api.get("/api/handles/86.100.1/Ab/1?type=EMAIL").json["responseCode"] == 200
    assert api.get("/hdl/86.100.1/Ab/1").headers["Location"] == url


def test_an_unknown_handle_is_response_code_100(api):
    answer = api.get("/api/handles/86.100.1/nobody")

    assert (answer.status, answer.json["responseCode"]) == (404, 100)
    assert api.get("/hdl/86.100.1/nobody").status == 404
