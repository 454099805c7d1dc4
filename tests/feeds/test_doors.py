"""A running hub takes objects and device messages through its real sockets."""

import http.client
import io
import json
import shutil
import socket
import subprocess
import sys

import pytest

from app.feeds.dicom import send as send_dicom
from app.feeds.hl7v2.frames import frame
from app.feeds.iot import send as send_iot
from tests.support import ROOT, free_port, running_hub, start_hub, wait_for

FIXTURES = ROOT / "fixtures"
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/opt/homebrew/sbin")


@pytest.fixture
def broker():
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    port = free_port()
    process = subprocess.Popen(
        [MOSQUITTO, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: _listens(port))
    yield f"mqtt://127.0.0.1:{port}"
    process.terminate()
    process.wait(60)


def _listens(port) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def count(hub, query) -> int:
    status, _, body = hub.request("GET", f"/fhir/{query}")
    assert status == 200
    return json.loads(body)["total"]


def test_a_ct_study_and_device_messages_reach_the_store(tmp_path, broker):
    with running_hub(tmp_path / "data", "--dicom", "127.0.0.1:0", "--mqtt", broker) as hub:
        out = io.StringIO()
        paths = sorted((FIXTURES / "dicom" / "ct-chest").glob("*.dcm"))

        assert send_dicom.main([hub.addresses["dicom"], *map(str, paths)], io.BytesIO(), out) == 0
        monitor = str(FIXTURES / "iot" / "monitor.json")
        # A broker keeps nothing for who has never subscribed.
        wait_for(lambda: "mqtt.subscribed" in hub.log.read_text())
        assert send_iot.main([broker, "--mapping", "monitor", monitor], io.BytesIO(), out) == 0

        wait_for(lambda: count(hub, "ImagingStudy?_summary=count") == 1)
        wait_for(lambda: count(hub, "Observation?_summary=count") == 6)
        wait_for(lambda: _instances(hub) == 4)
        assert count(hub, "Patient?identifier=ZY20261101&_summary=count") >= 1


def post(hub, mapping, body, kind="application/json"):
    address = hub.base.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=120)
    try:
        connection.request("POST", f"/iot/{mapping}", body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def announce(hub, size_bytes) -> int:
    """Return the answer to the mere announcement of a body of that size."""
    connection = http.client.HTTPConnection(hub.base.removeprefix("http://"), timeout=120)
    try:
        connection.putrequest("POST", "/iot/generic")
        connection.putheader("Content-Length", str(size_bytes))
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


OWN = """overlay: hl7v2
rules:
  - {rule: own, resource: Basic, each: ZQQ, key: {record: [ZQQ-1]}, set: {code: {text: ZQQ-2}}}
"""


def test_the_listener_keeps_to_what_its_site_says_and_a_slip_in_it_stops_the_start(tmp_path):
    own = tmp_path / "site" / "hl7v2" / "own.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(OWN, "utf-8")
    (tmp_path / "site" / "senders.yaml").write_text("senders: {H1: {original-mode: true}}", "utf-8")
    flags = ("--overlay", str(tmp_path / "site"))
    message = b"MSH|^~\\&|HIS|H1|||20250310||ZZZ^Z99|C1|P|2.5.1|||AL|AL\rZQQ|7|hello\r"

    with running_hub(tmp_path / "data", *flags) as hub:
        host, port = hub.addresses["mllp"].split(":")
        with socket.create_connection((host, int(port)), 120) as sender:
            sender.sendall(frame(message))
            assert b"\rMSA|AA|C1\r" in sender.recv(65_536)
        assert count(hub, "Basic?_summary=count") == 1

    own.write_text(OWN.replace("text", "txt"), "utf-8")
    flags += ("--http", "127.0.0.1:0", "--mllp", "127.0.0.1:0", "--dicom", "off")
    command = [sys.executable, "-m", "app.cli", "serve", "--data", tmp_path / "data"]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "yilian: site/hl7v2/own.yaml:3: Basic.code has no element `txt`: is it `text`?",
    )


def test_device_messages_over_http(tmp_path):
    stream = (FIXTURES / "iot" / "monitor-stream.ndjson").read_bytes()
    with running_hub(tmp_path / "data") as hub:
        status, answer = post(hub, "monitor", stream, "application/x-ndjson")
        (receipt,) = answer["receipts"]
        assert (status, receipt["state"], receipt["messages"]) == (202, "applied", 4)

        assert post(hub, "monitor", stream, "application/x-ndjson")[0] == 200
        assert post(hub, "unheard-of", b"{}")[0] == 404
        assert post(hub, "generic", b"not JSON")[0] == 400
        assert post(hub, "generic", b"")[0] == 400
        assert announce(hub, 9 << 20) == 413
        wait_for(lambda: count(hub, "Observation?_summary=count") == 3)


def test_what_was_answered_survives_that_every_process_is_killed(tmp_path):
    body = (FIXTURES / "iot" / "generic.json").read_bytes()
    hub = start_hub(tmp_path / "data")
    assert post(hub, "generic", body)[0] == 202
    hub.kill()
    hub.process.stdout.close()

    with running_hub(tmp_path / "data") as again:
        wait_for(lambda: count(again, "Observation?_summary=count") == 7)
        assert post(again, "generic", body)[0] == 200


def _instances(hub) -> int:
    _, _, body = hub.request("GET", "/fhir/ImagingStudy")
    return json.loads(body)["entry"][0]["resource"]["numberOfInstances"]
