"""/metrics: requests counted over all processes, by labels of ours only."""

import socket

from tests.support import ROOT, running_hub, wait_for


def numbers(hub):
    text = hub.request("GET", "/metrics")[2].decode()
    rows = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in rows}


def test_requests_of_all_workers_are_counted_by_method_and_status(tmp_path):
    with running_hub(tmp_path / "data") as hub:
        for _ in range(20):  # each a connection of its own, so both workers answer some
            hub.request("GET", "/fhir/Patient/none")
        hub.request("POST", "/fhir/Patient", {"resourceType": "Patient"})
        hub.request("SHUTDOWN", "/fhir/Patient")
        found = numbers(hub)

    count = "yilian_http_request_seconds_count"
    assert found[f'{count}{{method="GET",status="404"}}'] == 20
    assert found[f'{count}{{method="POST",status="201"}}'] == 1
    assert not [name for name in found if "SHUTDOWN" in name]


def test_codes_without_a_map_are_counted(tmp_path):
    with running_hub(tmp_path / "data") as hub:
        before = numbers(hub)["yilian_terminology_unmapped_codes"]
        asked = "/fhir/ConceptMap/$translate?system=urn:test&code={}&targetsystem=http://loinc.org"
        for code in ("a", "b", "a"):
            hub.request("GET", asked.format(code))
        after = numbers(hub)["yilian_terminology_unmapped_codes"]

    assert (before, after) == (0, 2)


def test_numbers_begin_at_nothing_with_each_start(tmp_path):
    with running_hub(tmp_path / "data") as hub:
        hub.request("DELETE", "/fhir/Patient/none")
    with running_hub(tmp_path / "data") as again:
        assert not [name for name in numbers(again) if 'method="DELETE"' in name]


ADT = (ROOT / "fixtures" / "demo" / "01-admission.hl7").read_bytes()
READING = b'{"deviceId":"d1","time":"2026-03-28T08:00:00+08:00","measurements":[{"code":"8867-4"}]}'


def exchange(hub, message):
    host, _, port = hub.addresses["mllp"].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as sock:
        sock.sendall(b"\x0b" + message + b"\x1c\r")
        return sock.recv(4096)


def test_messages_are_counted_by_feed_and_by_what_became_of_them(tmp_path):
    with running_hub(tmp_path / "data") as hub:
        assert b"MSA|AA|DEMO-0001" in exchange(hub, ADT)
        assert b"MSA|AA|DEMO-0001" in exchange(hub, ADT)  # sent again
        assert b"MSA|AE" in exchange(hub, ADT.replace(b"DEMO-42", b""))
        assert hub.request("POST", "/iot/generic", READING)[0] == 202
        found = wait_for(
            lambda: (
                (seen := numbers(hub)).get('yilian_feed_messages_total{feed="iot",state="applied"}')
                and seen
            )
        )

    assert found['yilian_feed_received_total{feed="hl7v2"}'] == 3
    assert found['yilian_feed_messages_total{feed="hl7v2",state="applied"}'] == 1
    assert found['yilian_feed_messages_total{feed="hl7v2",state="duplicate"}'] == 1
    assert found['yilian_feed_messages_total{feed="hl7v2",state="failed"}'] == 1
    assert found['yilian_feed_ack_seconds_count{feed="hl7v2"}'] == 3
    assert 0 < found['yilian_feed_ack_seconds_sum{feed="iot"}'] < 60
    assert found['yilian_feed_queue_age_seconds{feed="hl7v2"}'] == 0
