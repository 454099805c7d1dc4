"""Random valid resources of all types come back byte for byte and are found by what they say."""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import pytest

from app.clock import from_us, instant
from app.fhir import definitions, searchparams
from app.fhir import json as fhir_json
from app.fhir.dates import OPEN_HIGH, OPEN_LOW
from app.fhir.extract import extractor
from app.store.store import Setting, open_store
from app.store.types import Change, Method, SearchRequest
from tests import generate

ZONE = ZoneInfo("Asia/Shanghai")
_COUNT = "500"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('all') / 'x.db'}", Setting(zone=ZONE))
    yield opened
    opened.close()


def escaped(text: str) -> str:
    for mark in "\\,|$":
        text = text.replace(mark, "\\" + mark)
    return text


def queries(type_name: str, resource: dict):
    """Yield (parameter, value) of searches that have to find `resource`."""
    table = searchparams.params(type_name)
    by_number = {param.number: param for param in table.values()}
    values = extractor(type_name)(resource, ZONE)
    for p, system, code in values.tokens:
        yield by_number[p], escaped(code)
        if system is not None:
            yield by_number[p], f"{escaped(system)}|{escaped(code)}"
        elif by_number[p].datatypes & {"Coding", "CodeableConcept"}:
            yield by_number[p], f"|{escaped(code)}"
    for p, system, value, *_ in values.identifiers:
        yield by_number[p], escaped(value)
        yield by_number[p], f"{escaped(system or '')}|{escaped(value)}"
    for p, text in values.strings:
        if text.strip():
            yield by_number[p], escaped(text[:50])
    for p, text, _ in values.references:
        yield by_number[p], escaped(text)
    for p, url in values.canonicals:
        yield by_number[p], escaped(url)
    for p, uri in values.uris:
        yield by_number[p], escaped(uri)
    for p, low, high in values.dates:
        if low > OPEN_LOW:
            yield by_number[p], f"ge{_instant(low)}"
        if high < OPEN_HIGH:
            yield by_number[p], f"le{_instant(high)}"
    for p, low, high in values.numbers:
        if low == high:
            yield by_number[p], f"ge{low!r}"
    for p, system, code, _, low, high in values.quantities:
        if low == high:
            yield by_number[p], f"le{low!r}"
            if system and code:
                yield by_number[p], f"ge{low!r}|{escaped(system)}|{escaped(code)}"


def _instant(us: int) -> str:
    return instant(us).replace("+", "%2B") if from_us(us).year >= 0 else ""


@pytest.mark.parametrize("type_name", definitions.resource_types())
def test_a_resource_comes_back_unchanged_and_is_found_by_its_values(store, type_name):
    for seed in range(4):
        made = generate.resource(type_name, seed)
        sent = generate.body(made)

        outcome = store.commit([Change(Method.CREATE, type_name, body=sent)])[0]

        body = store.read(type_name, outcome.id).body
        members = fhir_json.members(body)
        before = fhir_json.members(fhir_json.compact(sent))
        assert {n: bytes(v) for n, v in members.items() if n not in ("id", "meta")} == {
            n: bytes(v) for n, v in before.items() if n not in ("id", "meta")
        }
        assert json.loads(bytes(members["meta"])).items() >= made.get("meta", {}).items()
        for param, value in queries(type_name, json.loads(body)):
            page = store.search(SearchRequest(type_name, [(param.code, value), ("_count", _COUNT)]))
            assert outcome.id in {match.id for match in page.matches}, f"{param.code}={value}"


@pytest.mark.parametrize("type_name", definitions.resource_types())
def test_missing_says_for_every_parameter_whether_there_is_a_value(store, type_name):
    outcome = store.commit(
        [Change(Method.CREATE, type_name, body=generate.body(generate.minimal(type_name)))]
    )[0]
    values = extractor(type_name)(json.loads(outcome.body), ZONE)

    for param in searchparams.params(type_name).values():
        if param.bit is None or param.computed or param.type == "special":
            continue
        present = bool(values.present & param.mask)
        page = store.search(
            SearchRequest(
                type_name,
                [(f"{param.code}:missing", str(not present).lower()), ("_id", outcome.id)],
            )
        )
        assert [match.id for match in page.matches] == [outcome.id], param.code
