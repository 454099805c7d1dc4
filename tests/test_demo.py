"""`yilian demo`: a fresh hub with the sample data in it, told in a table."""

import re
import signal
import subprocess
import sys
from http.client import HTTPConnection

import pytest

from app import demo
from app.errors import Invalid
from tests.support import ROOT

FREE = ["--http", "127.0.0.1:0", "--mllp", "127.0.0.1:0", "--dicom", "off"]


def test_the_demo_feeds_the_samples_tells_what_arrived_and_ends_with_0(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", "demo", "--data", str(tmp_path / "data"), *FREE],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        shown = []
        for line in process.stdout:
            shown.append(line)
            if "Ctrl-C ends it" in line:
                break
        text = "".join(shown)
        address, path = re.search(r"http://([^/]+)(/fhir/Observation\S*)", text).groups()
        connection = HTTPConnection(address, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse().read()
        connection.close()
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=30)

    assert re.search(r"ADT\^A01.*applied.* 1 ", text)
    assert re.search(r"Observation +. 3 ", text)
    assert b'"total":3' in answer
    assert code == 0


def test_a_folder_that_is_in_use_is_not_touched(tmp_path):
    (tmp_path / "yilian.db").write_text("mine")

    with pytest.raises(Invalid, match="is not empty"):
        demo.main(["--data", str(tmp_path), *FREE], None, None)

    assert [path.name for path in tmp_path.iterdir()] == ["yilian.db"]
