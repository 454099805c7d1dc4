"""Our own conformance resources: valid R4, named by their url, and covering what mappings say."""

import json
import re

import pytest

from app.fhir import validate
from tests.support import ROOT

FILES = sorted((ROOT / "profiles").glob("*.json"))
OWN = "https://yilian.example/fhir/CodeSystem/"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_profile_file_is_valid_and_named_by_its_url(file):
    resource = json.loads(file.read_text(encoding="utf-8"))

    assert validate.problems(resource, resource["resourceType"]) == []
    assert file.stem == f"{resource['resourceType']}-{resource['id']}"
    assert resource["url"].endswith(f"/{resource['resourceType']}/{resource['id']}")


def test_every_code_system_of_ours_that_a_mapping_names_is_defined():
    defined = {json.loads(file.read_text(encoding="utf-8"))["url"] for file in FILES}
    named = {
        OWN + name
        for file in (ROOT / "mappings").rglob("*.yaml")
        for name in re.findall(OWN + r"([a-z-]+)", file.read_text(encoding="utf-8"))
    }

    assert named
    assert named <= defined


def test_displays_are_in_chinese_too():
    for file in FILES:
        for concept in json.loads(file.read_text(encoding="utf-8")).get("concept", ()):
            languages = [each["language"] for each in concept["designation"]]
            assert languages == ["zh-CN"], concept["code"]
