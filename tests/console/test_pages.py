"""The console's pages: in both languages, without scripts, contents only on the hub's machine."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from zoneinfo import ZoneInfo

import pytest
from werkzeug.test import Client

from app import console
from app.clock import WallClock
from app.console.counts import Kept
from app.errors import Issue
from app.feeds import inbox
from app.feeds.inbox import Entry, State
from app.feeds.received import Received
from app.rest import create_app
from app.rest.services import LOOPBACK, Options
from app.store.database import Address, connect, transaction
from app.store.store import Store, open_store
from app.store.types import Change, Method

RAW = "MSH|^~\\&|HIS|H<b>|||2026||ADT^A01|7|P|2.5.1\rPID|1||42||张^伟\r".encode("gb18030")
ACK = b"MSH|^~\\&|YILIAN||HIS|H\rMSA|AA|7\r"
RECEIVED_US = 1_774_656_000_000_000  # 2026-03-28T00:00Z


@dataclass
class OneProcess:
    store: Store
    inbox: Received
    http: Options = field(
        default_factory=lambda: Options(
            zone=ZoneInfo("Asia/Shanghai"), hosts=(*LOOPBACK, "hub.example")
        )
    )
    clock: WallClock = field(default_factory=WallClock)

    def listeners(self):
        return {"pid": "1", "http": "127.0.0.1:8080", "mllp": "127.0.0.1:2575"}

    def not_ready(self):
        return []

    def metrics(self):
        return b""


def entry(number, **more):
    values = {
        "feed": "hl7v2",
        "source": "H<b>|HIS",
        "peer": "127.0.0.1",
        "kind": "ADT^A01",
        "control_id": str(number),
        "received_us": RECEIVED_US + number,
        "key": bytes([number]),
        "digest": sha256(RAW).digest(),
        "raw": RAW,
        "state": State.APPLIED,
        "id": number,
        "answers": ((ACK,), ()),
        "touched": ("Patient/p1/_history/1",),
        **more,
    }
    return Entry(**values)


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def url(request, tmp_path_factory):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('console') / 'yilian.db'}"
        return
    with request.getfixturevalue("postgres").database() as made:
        yield made


@pytest.fixture(scope="module")
def client(url):
    store = open_store(url)
    body = b'{"resourceType":"Patient","id":"p1"}'
    store.commit([Change(Method.UPDATE, "Patient", "p1", body=body)])
    db = connect(Address(url), write=True)
    broken = Issue("error", "value", "not a date", "PID-7")
    with transaction(db):
        for number in range(1, 8):
            inbox.add(db, 0, entry(number))
        inbox.add(db, 0, entry(8, state=State.FAILED, issues=(broken,), touched=()))
        inbox.add(db, 0, entry(9, feed="dicom", kind="CT", raw=b"\0\1binary"))
    db.close()
    hub = OneProcess(store, Received(Address(url), zone=ZoneInfo("Asia/Shanghai")))
    yield Client(create_app(hub, [console.blueprint(hub)]))
    hub.inbox.close()
    store.close()


def get(client, path, **headers):
    sent = {"Host": "127.0.0.1:8080", "Accept": "text/html"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    peer = sent.pop("Peer", "127.0.0.1")
    return client.get(path, headers=sent, environ_overrides={"REMOTE_ADDR": peer})


def test_the_start_page_says_what_runs_and_what_came(client):
    page = get(client, "/")

    assert page.status_code == 200
    assert "HL7 v2 (MLLP)" in page.text
    assert "127.0.0.1:2575" in page.text
    assert "DICOM (AE title" not in page.text  # nobody listens
    assert re.search(r'href="/fhir/Patient\?.*\n<td class="number">1</td>', page.text)
    assert '<a href="/inbox?feed=hl7v2&amp;state=applied">7</a>' in page.text
    assert "2026-03-28 08:00:00" in page.text


def test_the_start_page_has_its_numbers_for_programs(client):
    found = get(client, "/", Accept="application/json").json

    assert found["listeners"] == {"http": "127.0.0.1:8080", "mllp": "127.0.0.1:2575"}
    assert found["resources"] == {"Patient": 1}
    assert found["messages"] == {"dicom": {"applied": 1}, "hl7v2": {"applied": 7, "failed": 1}}
    assert get(client, "/", Accept="*/*").content_type.startswith("text/html")


def test_chinese_is_spoken_to_those_who_ask_for_it(client):
    by_header = get(client, "/", Accept_Language="zh-CN,zh;q=0.9,en;q=0.8").text
    by_link = get(client, "/?lang=zh", Accept_Language="en").text

    for page in (by_header, by_link):
        assert '<html lang="zh-CN">' in page
        assert "最近消息" in page
    assert '<html lang="en">' in get(client, "/", Accept_Language="fr").text


def test_pages_load_nothing_from_outside_and_forbid_it(client):
    page = get(client, "/")

    links = re.findall(r'(?:src|href|action)="([^"]*)"', page.text)
    assert all(link.startswith(("/", "?")) for link in links)
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    for link in (one for one in links if one.startswith("/static")):
        answer = get(client, link)
        assert answer.status_code == 200
        answer.close()


def test_what_a_sender_wrote_is_text_not_html(client):
    assert "H<b>" not in get(client, "/").text
    assert "H<b>" not in get(client, "/inbox/1").text


def test_a_message_shows_its_text_its_answer_and_its_resources_on_this_machine(client):
    page = get(client, "/inbox/1").text

    assert "张^伟" in page
    assert "MSA|AA|7" in page
    assert '<a href="/fhir/Patient/p1?_pretty=true">Patient/p1</a>' in page


@pytest.mark.parametrize(
    "headers",
    [
        {"Peer": "10.0.0.7"},
        {"X_Forwarded_For": "10.0.0.7"},
        {"Forwarded": "for=10.0.0.7"},
        {"Host": "hub.example:8080"},
        {"Host": ""},
    ],
    ids=["peer", "proxy", "forwarded", "public name", "no host"],
)
def test_contents_are_shown_to_nobody_else(client, headers):
    page = get(client, "/inbox/1", **headers)

    assert page.status_code == 200
    assert "PID|1" not in page.text
    assert "MSA|AA" not in page.text
    assert "no sign-in yet" in page.text
    assert "answers" not in get(client, "/inbox/1", Accept="application/json", **headers).json
    refused = get(client, "/inbox/1/raw", **headers)
    assert refused.status_code == 403
    assert refused.content_type == "application/problem+json"


def test_the_bytes_are_given_as_they_came(client):
    answer = get(client, "/inbox/1/raw")

    assert answer.data == RAW
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert get(client, "/inbox/9").text.count("8 bytes") == 1


def test_programs_get_json_page_by_page(client):
    first = get(client, "/inbox?count=5", Accept="*/*").json
    second = get(client, first["next"], Accept="application/json").json

    ids = [one["id"] for page in (first, second) for one in page["messages"]]
    assert ids == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert second["next"] is None
    assert first["messages"][1]["issues"] == [
        {"severity": "error", "code": "value", "text": "not a date", "at": "PID-7"}
    ]


def test_a_listing_is_narrowed_by_feed_and_state(client):
    found = get(client, "/inbox?feed=hl7v2&state=failed", Accept="application/json").json

    assert [one["id"] for one in found["messages"]] == [8]


def test_a_listing_is_narrowed_by_the_time_of_receipt(client):
    def received(query):
        found = get(client, f"/inbox?{query}&feed=dicom", Accept="application/json").json
        return [one["id"] for one in found["messages"]]

    assert received("since=2026-03-28T08:00&until=2026-03-28") == [9]  # times of the hub's zone
    assert received("since=2026-03-28T00:00:00Z") == [9]
    assert received("until=2026-03-27") == received("since=2026-03-29") == []


@pytest.mark.parametrize(
    "query", ["state=odd", "count=x", "count=0", "before=-1", "since=noon", "until=2026-13"]
)
def test_a_wrong_question_is_a_problem(client, query):
    answer = get(client, f"/inbox?{query}")

    assert answer.status_code == 400
    assert answer.json["errors"][0]["at"] == f"http.{query.partition('=')[0]}"


@pytest.mark.parametrize("path", ["/inbox/77", "/inbox/99999999999999999999", "/inbox/77/raw"])
def test_a_message_that_is_not_there_is_not_found(client, path):
    assert get(client, path).status_code == 404


def post(client, path, **more):
    headers = {"Host": "127.0.0.1:8080"} | more.pop("headers", {})
    return client.post(
        path, headers=headers, environ_overrides={"REMOTE_ADDR": "127.0.0.1"}, **more
    )


@pytest.fixture
def other(database_url):
    """A hub of its own: failed 1 to 3, applied 4, a duplicate 5."""
    store = open_store(database_url)
    failed = {"state": State.FAILED, "touched": (), "received_us": RECEIVED_US}
    with closing(connect(Address(database_url), write=True)) as db, transaction(db):
        for number in (1, 2, 3):
            inbox.add(db, 0, entry(number, **failed))
        inbox.add(db, 0, entry(4))
        inbox.add(db, 0, entry(5, state=State.DUPLICATE, repeats=4))
    hub = OneProcess(store, Received(Address(database_url)))
    yield Client(create_app(hub, [console.blueprint(hub)]))
    hub.inbox.close()
    store.close()


def states(client):
    found = get(client, "/inbox", Accept="application/json").json["messages"]
    return {one["id"]: one["state"] for one in found}


def test_one_message_is_applied_again_by_programs_and_by_people(other):
    answer = post(other, "/inbox/1/replay")
    button = re.search(r'action="(/inbox/2/replay)"', get(other, "/inbox/2").text)[1]
    pressed = post(other, button, data={}, content_type="application/x-www-form-urlencoded")

    assert (answer.status_code, answer.json["state"]) == (202, "replay")
    assert (pressed.status_code, pressed.headers["Location"]) == (303, "/inbox/2")
    assert states(other) == {5: "duplicate", 4: "applied", 3: "failed", 2: "replay", 1: "replay"}
    assert "/replay" not in get(other, "/inbox/5").text


def test_all_that_failed_are_applied_again_at_once(other):
    page = get(other, "/inbox?state=failed&feed=hl7v2").text
    button = re.search(r'action="(/inbox/replay[^"]*)"', page)[1].replace("&amp;", "&")
    narrow = post(other, "/inbox/replay?feed=hl7v2&until=2026-03-27")
    pressed = post(other, button, data={}, content_type="application/x-www-form-urlencoded")
    applied = post(other, "/inbox/replay?state=applied")

    assert (narrow.status_code, narrow.json) == (202, {"replayed": 0})
    assert (pressed.status_code, pressed.headers["Location"]) == (303, "/inbox")
    assert applied.json == {"replayed": 1}  # only who names them
    assert set(states(other).values()) == {"replay", "duplicate"}
    assert post(other, "/inbox/replay").status_code == 400
    misspelt = post(other, "/inbox/replay?state=failed&control-id=1")
    assert (misspelt.status_code, misspelt.json["errors"][0]["at"]) == (400, "http.control-id")


def test_what_failed_is_put_aside_with_a_reason(other):
    answer = post(other, "/inbox/1/discard", json={"reason": "sent by mistake"})
    pressed = post(other, "/inbox/2/discard", data={"reason": "误发"})

    assert (answer.status_code, answer.json["state"]) == (200, "discarded")
    assert answer.json["issues"][-1]["text"] == "sent by mistake"
    assert pressed.status_code == 303
    assert "误发" in get(other, "/inbox/2").text


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/inbox/5/replay", {}, 409),
        ("/inbox/4/discard", {"json": {"reason": "x"}}, 409),
        ("/inbox/1/discard", {"json": {"reason": " "}}, 400),
        ("/inbox/1/discard", {"json": ["x"]}, 400),
        ("/inbox/1/discard", {"data": b"{"}, 400),
        ("/inbox/77/replay", {}, 404),
        ("/inbox/99999999999999999999/replay", {}, 404),
        ("/inbox/1/replay", {"headers": {"Origin": "https://elsewhere.example"}}, 403),
    ],
    ids=[
        "duplicate", "applied", "no reason", "no object", "no JSON", "not there", "no number",
        "a page from elsewhere",
    ],
)  # fmt: skip
def test_what_cannot_be_moved_stays(other, path, more, status):
    before = states(other)

    answer = post(other, path, **more)

    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert states(other) == before


def test_a_count_is_kept_for_a_second_or_fifty_times_what_it_took():
    now = [0.0]
    took = [0.1]
    asked = []

    def read():
        now[0] += took[0]
        asked.append(now[0])
        return len(asked)

    kept = Kept(read, lambda: now[0])

    assert [kept.get(), kept.get()] == [1, 1]
    now[0] = 5.05  # read until 0.1, kept for 50 * 0.1
    assert kept.get() == 1
    now[0] = 5.2
    took[0] = 0.001
    assert kept.get() == 2
    now[0] += 1.1
    assert kept.get() == 3
