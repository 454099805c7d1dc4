"""The processes that read messages: what was posted since they began, what their site brings."""

import json
from concurrent.futures import Future
from contextlib import ExitStack
from zoneinfo import ZoneInfo

import pytest

from app.errors import Invalid, NotFound
from app.feeds.conversion import Conversions
from app.feeds.doors import Setting as DoorsSetting
from app.feeds.hl7v2.loop import Loop
from app.feeds.running import Setting, helpers, reader
from app.store.database import Address
from app.store.prepare import unpacked_words
from app.store.store import Setting as StoreSetting
from app.store.store import open_store
from app.store.types import Change, Method
from tests.feeds.test_dispatch import adt
from tests.support import wait_for

PARAMETER = {
    "resourceType": "SearchParameter",
    "id": "fed",
    "url": "http://example.org/SearchParameter/fed",
    "name": "fed",
    "status": "active",
    "description": "x",
    "code": "fed",
    "base": ["Patient"],
    "type": "string",
    "expression": "Patient.name.family",
}


def test_helpers_know_the_parameters_that_were_posted(database_url):
    setting = StoreSetting(zone=ZoneInfo("Asia/Shanghai"))
    feeds = Setting(
        Address(database_url), setting.preparer(), b"x" * 32, "Asia/Shanghai", ("127.0.0.1", 0)
    )
    raw = adt("A04", "1", cid="C1").encode()
    with ExitStack() as open_now:
        reading, loop, answer = helpers(feeds, 1), Loop("test"), Future()
        loop.start()
        open_now.callback(loop.stop)
        reading.start(loop)
        open_now.callback(reading.close)

        async def ask(*question):
            reading.ask(*question)

        store = open_store(database_url, setting)
        open_now.callback(store.close)
        body = json.dumps(PARAMETER).encode()
        store.commit([Change(Method.UPDATE, "SearchParameter", "fed", body)])

        loop.run(ask(raw, answer.set_result))
        said = answer.result(120).said

        prepared = next(one.prepared for one in said.statements if one.type == "Patient")
        # A later one is that of the parameter being ready: the store learns of it after others.
        assert prepared.generation > 0
        wait_for(lambda: prepared.generation <= store.preparer.generation)
        # Who writes takes the entries as they are, the dictionary rows in one piece.
        expected = store.preparer.entries("Patient", json.loads(prepared.body))
        words = unpacked_words(prepared.words)
        assert set(words.codes) == set(expected.codes)
        assert set(words.texts) == set(expected.texts)
        assert set(prepared.entries.keys) == set(expected.keys)
        assert set(prepared.entries.strs) == set(expected.strs)
        store.commit([Change(Method.DELETE, "SearchParameter", "fed")])


OVERLAY = """overlay: hl7v2
rules:
  - rule: own
    resource: Basic
    each: ZQQ
    key: {record: [here, ZQQ-1]}
    set:
      code: {text: ZQQ-2}
"""


def of_site(folder):
    preparer = StoreSetting(zone=ZoneInfo("Asia/Shanghai")).preparer()
    where = Address("sqlite:///none.db")
    return Setting(where, preparer, b"x" * 32, "Asia/Shanghai", None, overlay=folder)


def test_messages_are_read_with_the_mappings_and_authorities_of_the_site(tmp_path):
    (tmp_path / "hl7v2").mkdir()
    (tmp_path / "hl7v2" / "own.yaml").write_text(OVERLAY, "utf-8")
    (tmp_path / "assigners.yaml").write_text("assigners: {F1: urn:oid:1.2.3}", "utf-8")
    raw = adt("A04", "1", cid="C1").encode() + b"ZQQ|7|hello\r"

    said = reader(of_site(tmp_path)).read(raw).said

    told = {one.type: json.loads(one.body) for one in said.statements}
    assert told["Basic"]["code"] == {"text": "hello"}
    assert told["Patient"]["identifier"][0]["system"] == "urn:oid:1.2.3"


def test_what_a_program_has_converted_is_what_the_listener_would_store(tmp_path):
    (tmp_path / "hl7v2").mkdir()
    (tmp_path / "hl7v2" / "own.yaml").write_text(OVERLAY, "utf-8")
    site = of_site(tmp_path)
    setting = DoorsSetting(
        site.preparer, site.id_secret, site.time_zone, tmp_path, tmp_path, overlay=tmp_path
    )

    (found,) = Conversions(setting).convert(
        "hl7v2", adt("A04", "1", cid="C1").encode() + b"ZQQ|7|hello\r"
    )

    assert "Basic" in [one["resource"]["resourceType"] for one in found.bundle["entry"]]


def test_a_folder_of_the_site_that_is_not_there_is_told(tmp_path):
    with pytest.raises(NotFound) as found:
        reader(of_site(tmp_path / "none"))

    assert found.value.at == "--overlay"


def test_a_slip_in_a_mapping_of_the_site_is_found_before_the_first_message(tmp_path):
    (tmp_path / "hl7v2").mkdir()
    (tmp_path / "hl7v2" / "own.yaml").write_text(OVERLAY.replace("text", "txt"), "utf-8")

    with pytest.raises(Invalid) as found:
        reader(of_site(tmp_path))

    assert [issue.at for issue in found.value.issues] == [f"{tmp_path.name}/hl7v2/own.yaml:8"]
