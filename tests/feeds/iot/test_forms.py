"""Forms give what the mapping gives: for every mapping that says what passes through it."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.clock import to_us
from app.feeds.iot.catalogue import Catalogue
from app.feeds.iot.convert import Converter
from app.feeds.iot.forms import Forms
from app.feeds.iot.reading import Reader
from app.feeds.iot.said import Outside, packed, unpacked
from app.feeds.iot.shapes import Stream
from app.feeds.statement import Recent
from app.fhir.ids import Ids
from app.mapping import assigners
from app.mapping.run import Context
from app.paths import shipped
from app.store.prepare import Preparer, unpacked_words
from tests.support import ROOT

ZONE = ZoneInfo("Asia/Shanghai")
RECEIVED = datetime(2026, 11, 5, 4, tzinfo=UTC)
FIXTURES = ROOT / "fixtures" / "iot"
# Names of devices and people; some have an identity of their own.
NAMES = ["A-1", "b.2", "D1", "患者", "x y", 'q"', "m:1", "mrn-a:7", "urn:epc:id:sgtin:0614141.1"]
NAMES += ["00-A0-37-00-00-AB-12-CD", "eui64:00A0370000AB12CD", "B0-49-5F-00-10-71"]
ROWS = ("keys", "refs", "urls", "pair", "strs", "qtys", "dts", "codes", "texts", "units", "idents")
ROWS += ("links",)
WORDS = ("codes", "texts", "units")
# A message of each mapping, and whether its numbers pass through.
SAMPLES = {
    "generic": {
        "deviceId": "D1",
        "patientId": "P1",
        "messageId": "m1",
        "time": "2026-11-05T10:00:00+08:00",
        "measurements": [
            {"code": "8867-4", "value": 72, "unit": "/min"},
            {"code": "8480-6", "value": Decimal("16.4"), "unit": "kPa"},
            {"code": "8462-4", "value": 80, "unit": "mmHg"},
            {"code": "mystery", "value": 3, "unit": "pips"},
        ],
    },
    "monitor": json.loads((FIXTURES / "monitor.json").read_bytes()),
    "ventilator": {
        "sn": "V-7",
        "manu": "Demo",
        "model": "V1",
        "patient": "P1",
        "time": "2026-11-05T10:00:00+08:00",
        "measured": {"PEEP": 5, "Ppeak": 21.5, "IE": "1:2", "Odd": 3},
        "settings": {"VT": 450, "Mode": "PC"},
    },
    "coldchain": json.loads((FIXTURES / "coldchain.json").read_bytes()),
}


@pytest.fixture(scope="module")
def converter():
    values = {"assigners": assigners.load([shipped("mappings") / "assigners.yaml"]), "zone": ZONE}
    return Converter(Catalogue([shipped("mappings") / "iot"]), Context(Ids(b"test"), values), ZONE)


@pytest.fixture(scope="module")
def readers(converter):
    """Return two readers: one with forms, one that asks the mapping every time."""
    preparer = Preparer(0, ZONE)
    with_forms, without = Reader(converter, preparer), Reader(converter, preparer)
    without._forms = None
    return with_forms, without


def encoded(message) -> bytes:
    return json.dumps(message, default=float).encode()


def content(read):
    """Return what was read so that it can be compared: statements and index rows in any order."""
    told = []
    for one in read:
        assert one.wrong is None
        said = []
        for each in sorted(one.said.everything, key=lambda each: each.id):
            whole = each.prepared
            entries = whole.entries
            words = unpacked_words(whole.words) if whole.words else entries
            rows = {
                name: sorted(set(map(repr, getattr(words if name in WORDS else entries, name))))
                for name in ROWS
            }
            prepared = whole.body, whole.id, whole.front, entries.d, entries.have, rows
            said.append((each.type, each.key, each.id, each.mention, each.body, prepared))
        told.append((one.raw, one.said.at, one.said.course, one.issues, one.count, said))
    return told


def varied(message, draw):
    """Return a message of the same mapping with other times, names and numbers."""
    numbers = st.one_of(
        st.integers(-300, 300), st.decimals(-50, 500, places=2), st.sampled_from([-100, 0, "---"])
    )
    times = st.integers(-86_400_000, 530_000_000_000).map(
        lambda ms: (datetime(2010, 1, 1, tzinfo=ZONE) + timedelta(milliseconds=ms)).isoformat()
    )

    def other(value):
        if isinstance(value, dict):
            return {name: other(one) for name, one in value.items()}
        if isinstance(value, list):
            return [other(one) for one in value]
        if isinstance(value, str) and value.startswith("2026-"):
            return draw(st.one_of(times, st.sampled_from([value, "2026-11-05", "soon"])))
        if isinstance(value, int | float | Decimal):
            return draw(st.one_of(numbers, st.just(value)))
        return value

    out = other(message)
    for name in ("deviceId", "patientId", "messageId", "sensorId", "pid"):
        if name in out:
            out[name] = draw(st.sampled_from(NAMES))
    return out


@pytest.mark.parametrize("mapping", SAMPLES)
def test_a_mapping_that_streams_has_forms(converter, mapping):
    forms = Forms(converter, Preparer(0, ZONE))
    raw = encoded(SAMPLES[mapping])

    found = [forms.fill(raw, to_us(RECEIVED), mapping=mapping) for _ in range(3)]

    assert Stream.of(converter.catalogue.get(mapping).constants) is not None
    assert found[0] is None
    assert found[1] is not None


class Forgetful(dict):
    """What is remembered, as a thread sees it while another forgets all of it."""

    def __contains__(self, key):
        return True


def test_what_another_thread_forgets_meanwhile_is_prepared_again(converter):
    reader = Reader(converter, Preparer(0, ZONE))
    reader._mentioned = Forgetful()

    outside = Outside(mapping="generic")
    (read,) = reader.read([encoded(SAMPLES["generic"])], outside, to_us(RECEIVED))

    mentions = [one for one in read.said.statements if one.mention]
    assert mentions
    assert all(one.prepared for one in mentions)


@pytest.mark.parametrize("mapping", SAMPLES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_form_gives_what_the_mapping_gives(readers, mapping, data):
    bodies = [SAMPLES[mapping]] * 3 + [varied(SAMPLES[mapping], data.draw) for _ in range(3)]
    raws = [encoded(one) for one in bodies]
    outside = Outside(mapping=mapping)
    received = to_us(RECEIVED + timedelta(seconds=data.draw(st.integers(0, 10**6))))

    by_form, by_mapping = (reader.read(raws, outside, received) for reader in readers)

    assert content(by_form) == content(by_mapping)
    assert content(unpacked(packed(by_form, Recent()))) == content(by_form)


def test_the_topic_names_the_device(readers):
    message = {"time": "2026-11-05T10:00:00Z", "measurements": [{"code": "8867-4", "value": 1}]}
    raws = [
        encoded(
            {
                "envelope": "yilian-iot/1",
                "channel": "mqtt",
                "topic": f"yilian/generic/{device}",
                "payload": {**message, "measurements": [{"code": "8867-4", "value": n}]},
            }
        )
        for n, device in enumerate(["D1", "D2", "D1", "设备", "D3", "urn:epc:1"])
    ]

    by_form, by_mapping = (reader.read(raws, Outside(), to_us(RECEIVED)) for reader in readers)

    assert content(by_form) == content(by_mapping)


def test_a_mapping_that_looks_at_its_numbers_gets_no_form(tmp_path):
    (tmp_path / "hot.yaml").write_text(
        """
mapping: hot
source: iot
title: It says itself what is too hot
constants: {stream: {text: [deviceId], time: [time], number: [value]}}
rules:
  - rule: reading
    resource: Observation
    each: $
    key: {identifier: 'reading_key("8310-5", when(time), deviceId)'}
    set:
      $first: ['measured("8310-5", value, "Cel")']
      status: =final
      effectiveDateTime: when(time)
      interpretation: [{text: 'at_least(value, 38)'}]
""",
        encoding="utf-8",
    )
    values = {"assigners": assigners.load([shipped("mappings") / "assigners.yaml"]), "zone": ZONE}
    catalogue = Catalogue([shipped("mappings") / "iot", tmp_path])
    converter = Converter(catalogue, Context(Ids(b"test"), values), ZONE)
    forms = Forms(converter, Preparer(0, ZONE))
    raw = b'{"deviceId":"D1","time":"2026-11-05T10:00:00Z","value":37.5}'

    found = [forms.fill(raw, to_us(RECEIVED), mapping="hot") for _ in range(4)]

    assert found == [None] * 4
