"""The packed R4 definitions say where they come from, and rebuilding them gives the same."""

import gzip
import hashlib
import json
import os
from importlib.resources import files
from pathlib import Path

import pytest

from tools.build_definitions import build

PACKED = files("app.fhir").joinpath("r4")


def _manifest() -> dict:
    return json.loads(PACKED.joinpath("manifest.json").read_bytes())


def test_the_manifest_names_the_published_package():
    manifest = _manifest()

    assert (manifest["package"], manifest["version"]) == ("hl7.fhir.r4.core", "4.0.1")
    assert manifest["license"] == "CC0-1.0"


@pytest.mark.parametrize("part", sorted(_manifest()["parts"]))
def test_a_part_has_the_hash_and_the_entries_of_the_manifest(part):
    text = gzip.decompress(PACKED.joinpath(f"{part}.json.gz").read_bytes())

    stated = _manifest()["parts"][part]
    assert hashlib.sha256(text).hexdigest() == stated["sha256"]
    assert len(json.loads(text)) == stated["entries"]


def test_no_file_lies_beside_those_of_the_manifest():
    names = {file.name for file in PACKED.iterdir()}

    assert names == {f"{part}.json.gz" for part in _manifest()["parts"]} | {"manifest.json"}


if "YILIAN_R4_PACKAGE" in os.environ:  # the published package is not in the repository

    def test_the_same_package_gives_the_packed_definitions_again():
        package = Path(os.environ["YILIAN_R4_PACKAGE"]).read_bytes()

        built = build(package)

        assert built == build(package)
        for name, content in built.items():
            packed = PACKED.joinpath(name).read_bytes()
            if name.endswith(".gz"):  # deflate may differ between builds of zlib, the JSON may not
                content, packed = gzip.decompress(content), gzip.decompress(packed)
            assert content == packed, name
