"""`yilian demo`: a fresh hub with the sample data in it, told in a table."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest

from app import demo
from app.errors import Invalid
from tests.support import ROOT, wait_for

FREE = ["--http", "127.0.0.1:0", "--mllp", "127.0.0.1:0", "--dicom", "127.0.0.1:0"]


@contextmanager
def demonstrated(data, *, command=(sys.executable, "-m", "app.cli"), cwd=ROOT, **environ):
    """Give the process of a demo and what it said until everything was told."""
    with subprocess.Popen(
        [*command, "demo", "--data", str(data), *FREE],
        cwd=cwd,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        shown = []
        try:
            for line in process.stdout:
                shown.append(line)
                if "Ctrl-C ends it" in line:
                    break
            yield process, "".join(shown)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=120)


def get(url):
    address, slash, path = url.removeprefix("http://").partition("/")
    connection = HTTPConnection(address, timeout=120)
    connection.request("GET", slash + path, headers={"Accept": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    with demonstrated(tmp_path_factory.mktemp("demo") / "data") as (_, text):
        yield text


def test_the_samples_arrive_through_every_listener_and_are_told_in_tables(told):
    assert re.search(r"admission.* AA ", told)
    assert re.search(r"CT study.* 6 x 0x0000 ", told)
    assert re.search(r"monitor readings \(HTTP\).* 202 ", told)
    assert re.search(r"hl7v2.*ADT\^A01.*applied.* 1 ", told)
    assert re.search(r"iot.*monitor.*applied", told)
    assert re.search(r"Patient +. 1 ", told)  # one person, in all feeds
    assert re.search(r"ImagingStudy +. 1 ", told)


def test_a_scan_leads_to_the_monitor_its_readings_its_patient_and_its_owner(told):
    scanned = re.search(r"Scanned the monitor's label: (.*)\n(.*)\n", told).group().split()

    assert re.search(r"\b26 observations, patient 张伟, owner 西湖示范医院", " ".join(scanned))


def test_every_address_to_try_finds_something(told):
    addresses = re.findall(r"^  (http\S+)$", told, re.MULTILINE)

    assert len(addresses) == 7
    for address in addresses:
        status, body = get(address)
        assert status == 200, address
        found = json.loads(body)
        if found.get("resourceType") == "Bundle":
            assert found["entry"], address


def test_a_second_start_begins_anew_and_what_the_environment_names_is_left_alone(tmp_path):
    url = f"sqlite:///{tmp_path / 'mine.db'}"
    named = {"YILIAN_DATABASE_URL": url, "YILIAN_DATA": str(tmp_path / "mine")}
    # Without those that tell addresses; and a study whose objects come slowly is told twice.
    rows = re.compile(r"^│ (?!.*(?:127|Provenance)).*│$", re.MULTILINE)

    with demonstrated(tmp_path / "data", **named) as (process, first):
        pass
    with demonstrated(tmp_path / "data", **named) as (_, second):
        pass

    assert process.returncode == 0
    assert rows.findall(first)
    assert rows.findall(second) == rows.findall(first)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_demo_that_is_stopped_while_it_sends_ends_with_0_and_leaves_no_hub(tmp_path):
    data = tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", "demo", "--data", str(data), *FREE],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_for(lambda: (data / "hub.json").exists())
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=120)

    assert code == 0
    assert not (data / "hub.json").exists()


def test_a_folder_that_is_in_use_is_not_touched(tmp_path):
    (tmp_path / "yilian.db").write_text("mine")

    with pytest.raises(Invalid, match="is not empty"):
        demo.main(["--data", str(tmp_path), *FREE], None, None)

    assert [path.name for path in tmp_path.iterdir()] == ["yilian.db"]
