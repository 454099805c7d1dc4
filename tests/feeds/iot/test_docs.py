"""docs/devices.md: the mapping and the payload that it shows are the fixtures."""

import json
import re

import yaml

from tests.support import ROOT

PAGE = (ROOT / "docs" / "devices.md").read_text("utf-8")
FIXTURES = ROOT / "fixtures" / "iot"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_walk_through_is_the_mapping_file():
    parts = "\n".join(blocks("yaml"))

    assert yaml.safe_load(parts) == yaml.safe_load((FIXTURES / "acme-oximeter.yaml").read_text())


def test_the_vendor_payload_is_the_fixture():
    shown = [json.loads(text) for text in blocks("json")]

    assert json.loads((FIXTURES / "acme-oximeter.json").read_text()) in shown


def test_every_shipped_mapping_is_listed():
    names = {path.stem for path in (ROOT / "mappings" / "iot").glob("*.yaml")}
    listed = set(re.findall(r"`([a-z]+)`", PAGE[PAGE.index("## Mappings that ship") :]))

    assert names - {"shared", "vocabulary"} <= listed
