"""Delegation: the longest prefix wins, and a peer that fails harms nobody (identifiers.md 7)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from app.errors import Invalid
from app.registry import parse
from app.registry.peers import HOP, Peers, Question, load
from tests.support import free_port, running_hub, wait_for

GTIN = "09521234000037"
CODE = f"(01){GTIN}(21)A"
KEY = f"gs1:01:{GTIN}:21:A"
ROUND = "1.2.156.7.1"
ANSWERED = ("answered", "kept")


def peers_of(tmp_path, url, prefix="gs1:01:0952", **more):
    file = tmp_path / "peers.yaml"
    peer = {"name": "b", "url": url, "prefixes": [prefix], **more}
    file.write_text(json.dumps({"hub": "a", "peers": [peer]}))  # JSON is YAML
    found = load(file)
    assert isinstance(found, Peers)
    return found


def asked(peers, code=CODE, hops=None, deadline=None):
    """Ask as a client does who can wait; deadline: or as one who says how long."""
    question = Question.received(hops, deadline)
    if deadline is None:
        question = replace(question, until=question.until + 600)
    return peers.resolve(parse(code), question)


@contextmanager
def peer(answer) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A hub whose answers a test writes; `answer(handler)`. Yields its address and what it got."""
    got: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append({**dict(self.headers), "body": body.decode()})
            answer(self)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def says(content, status=200):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()

    def answer(handler):
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


RIGHT = {"canonical": KEY, "resolved": [{"resource": "Device/1", "key": KEY, "secret": "x"}]}


def test_the_owner_is_asked_and_its_answer_kept(tmp_path):
    with peer(says(RIGHT)) as (url, got):
        peers = peers_of(tmp_path, url)
        first, again = asked(peers, hops="z"), asked(peers)

    assert first["delegation"] == {"prefix": "gs1:01:0952", "hub": "b", "state": "answered"}
    assert first["resolved"] == [{"resource": "Device/1", "key": KEY, "source": "b", "hops": ["b"]}]
    assert (again["delegation"]["state"], again["resolved"]) == ("kept", first["resolved"])
    assert [each[HOP] for each in got] == ["z,a"]
    assert json.loads(got[0]["body"]) == {"code": CODE}


def test_a_kept_answer_serves_as_stale_when_the_owner_is_away(tmp_path):
    with peer(says(RIGHT)) as (url, _):
        peers = peers_of(tmp_path, url, ttl_s=0)
        asked(peers)

    later = asked(peers)

    assert later["resolved"][0]["resource"] == "Device/1"
    assert (later["delegation"]["state"], later["delegation"]["stale"]) == ("unreachable", True)


@pytest.mark.parametrize(
    ("content", "state"),
    [
        ({**RIGHT, "canonical": "gs1:01:09521234000037:21:B"}, "mixed-up"),
        ({"canonical": KEY, "resolved": [{"resource": "Device/1", "key": "gs1:00:1"}]}, "mixed-up"),
        ({"canonical": KEY, "resolved": "Device/1"}, "malformed"),
        ([], "malformed"),
        (b"<html>", "malformed"),
        (b'{"canonical":"' + b"x" * (300 << 10) + b'"}', "too-long"),
    ],
)
def test_an_answer_that_is_none_counts_as_none(tmp_path, content, state):
    with peer(says(content)) as (url, _):
        found = asked(peers_of(tmp_path, url))

    assert found["resolved"] == []
    assert found["delegation"]["state"] == state


def test_a_refusal_counts_as_none(tmp_path):
    with peer(says({}, status=503)) as (url, _):
        assert asked(peers_of(tmp_path, url))["delegation"]["state"] == "refused"


def test_a_peer_that_sends_drop_by_drop_is_cut_off_and_left_alone(tmp_path):
    over = threading.Event()

    def drip(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not over.wait(0.05):
            try:
                handler.wfile.write(b"X")
            except OSError:
                return

    with peer(drip) as (url, got):
        peers = peers_of(tmp_path, url)
        first = asked(peers, deadline="600")  # returns, though it drips on
        again = asked(peers)
        over.set()

    assert first["delegation"]["state"] == "late"
    assert again["delegation"]["state"] == "resting"
    assert len(got) == 1


def test_a_question_that_comes_round_or_went_too_far_is_not_passed_on(tmp_path):
    peers = peers_of(tmp_path, "http://127.0.0.1:1")

    assert asked(peers, hops="x,a,y")["delegation"]["state"] == "loop"
    assert asked(peers, hops="w,x,y,z")["delegation"]["state"] == "too-many-hops"


@pytest.mark.parametrize(
    ("prefix", "code", "covered"),
    [
        ("oid:1.2.156.7", "1.2.156.7.1", True),
        ("oid:1.2.156.7", "1.2.156.77", False),
        ("gs1:01:0", "(01)02001234567893", False),  # for use inside a company only
        ("id:urn:x-yilian", "urn:x-yilian:ns:HIS|1", False),
        ("gs1:01:0952", "(01)09621234000036", False),
    ],
)
def test_a_prefix_covers_whole_arcs_and_nothing_private(tmp_path, prefix, code, covered):
    peers = peers_of(tmp_path, "http://127.0.0.1:1", prefix)

    assert (peers.resolve(parse(code), Question.received(None, "1")) is not None) is covered


@pytest.mark.parametrize(
    "content",
    [
        {"peers": []},
        {"hub": "a b"},
        {"hub": "a", "peers": [{"name": "b", "url": "ftp://x", "prefixes": []}]},
        {"hub": "a", "peers": [{"name": "b", "url": "http://x", "prefixes": ["gs1"]}]},
        {"hub": "a", "peers": ["b"]},
        ["hub"],
    ],
)
def test_wrong_peers_are_refused(tmp_path, content):
    (tmp_path / "peers.yaml").write_text(json.dumps(content))

    with pytest.raises(Invalid, match=r"peers\.yaml"):
        load(tmp_path / "peers.yaml")


def test_three_hubs_resolve_through_each_other_and_end_a_loop(tmp_path):
    """a delegates to b, b to c; of another prefix c delegates back to a."""
    ports = {name: free_port() for name in "abc"}

    @contextmanager
    def hub(name, *rules):
        overlay = tmp_path / f"overlay-{name}"
        overlay.mkdir()
        rows = [
            {"name": to, "url": f"http://127.0.0.1:{ports[to]}", "prefixes": [prefix]}
            for to, prefix in rules
        ]
        (overlay / "peers.yaml").write_text(json.dumps({"hub": name, "peers": rows}))
        at = ("--http", f"127.0.0.1:{ports[name]}", "--mllp", "off", "--dicom", "off")
        more = ("--workers", "1", "--overlay", str(overlay))
        with running_hub(tmp_path / name, *at, *more) as running:
            yield running

    def resolved(hub, code):
        status, _, body = hub.request("POST", "/id", {"code": code})
        assert status == 200
        return json.loads(body)

    with (
        hub("a", ("b", "gs1:01:0952"), ("b", "oid:1.2.156.7")) as a,
        hub("b", ("c", "gs1:01:0952"), ("c", "oid:1.2.156.7")) as b,
        hub("c", ("a", "oid:1.2.156.7")) as c,
    ):
        device = {"resourceType": "Device", "udiCarrier": [{"carrierHRF": CODE}]}
        assert c.request("PUT", "/fhir/Device/pump", {**device, "id": "pump"})[0] == 201

        # On a busy machine an answer may come too late for the first who asks.
        found = wait_for(lambda: (told := resolved(a, CODE))["resolved"] and told)
        round_about = wait_for(
            lambda: (told := resolved(a, ROUND))["delegation"]["state"] in ANSWERED and told
        )
        own = resolved(c, CODE)

    (entry,) = found["resolved"]
    assert (entry["resource"], entry["source"], entry["hops"]) == ("Device/pump", "c", ["b", "c"])
    assert found["delegation"]["hub"] == "b"
    assert round_about["resolved"] == []
    assert "delegation" not in own
    assert b.process.returncode == 0
