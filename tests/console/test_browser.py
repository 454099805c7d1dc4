"""The start page in a real browser: what a person sees, and a picture for the documentation.

YILIAN_PICTURES=1 writes the pictures of docs/images; without it the tree is left as it is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from tests.support import ROOT
from tests.test_demo import demonstrated

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1280,1400",
]

CODE = "terminology?system=urn:iso:std:iso:11073:10101&code=147842"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with demonstrated(tmp_path_factory.mktemp("browser") / "data") as (_, text):
        yield re.search(r"^  (http://[^/]+/)$", text, re.MULTILINE).group(1)


def browse(folder, *arguments):
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def seen(html):
    """Return the words of a page without its markup."""
    body = re.sub(r"(?s)<(script|style|head)\b.*?</\1>", "", html)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_a_person_sees_what_runs_what_came_and_what_became_of_it(address, tmp_path):
    words = seen(browse(tmp_path, "--dump-dom", address))

    for expected in (
        "Running",
        f"FHIR R4 server {address}fhir",
        "HL7 v2 (MLLP) 127.0.0.1:",
        "DICOM (AE title YILIAN) 127.0.0.1:",
        f"Devices over HTTP {address}iot/",
        "hl7v2 0 2 0 0 0 0",
        "Patient 1",
        "Last messages",
        "There is no sign-in yet",
    ):
        assert expected in words, words


def test_a_message_is_shown_with_its_answer_and_its_chinese_name(address, tmp_path):
    words = seen(browse(tmp_path, "--dump-dom", f"{address}inbox/1?lang=zh"))

    assert "张^伟" in words
    assert "MSA|AA|DEMO-0001" in words
    assert "应答" in words


def test_a_code_is_found_by_its_chinese_name_and_shown_in_both_languages(address, tmp_path):
    found = seen(browse(tmp_path, "--dump-dom", f"{address}terminology?q=心率&lang=zh"))
    shown = seen(browse(tmp_path, "--dump-dom", f"{address}{CODE}&lang=en"))

    assert "147842 心电心率 Heart rate from the ECG urn:iso:std:iso:11073:10101" in found
    assert "Heart rate from the ECG 147842 · 心电心率" in shown
    assert "8867-4 Heart rate equivalent http://loinc.org" in shown


@pytest.mark.parametrize(
    ("name", "path", "height"),
    [("start-page.png", "", 1400), ("terminology-page.png", f"{CODE}&lang=zh", 520)],
)
def test_the_pictures_for_the_documentation(address, tmp_path, name, path, height):
    picture = tmp_path / name
    size = f"--window-size=1280,{height}"

    browse(tmp_path, size, f"--screenshot={picture}", f"{address}{path}")

    assert picture.read_bytes().startswith(b"\x89PNG")
    if os.environ.get("YILIAN_PICTURES") == "1":
        target = ROOT / "docs" / "images" / picture.name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(picture, target)
