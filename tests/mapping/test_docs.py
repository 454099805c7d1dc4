"""docs/mappings.md tells the truth: every overlay it shows passes the check and its examples."""

import re

import pytest

from app.feeds.hl7v2.convert import Options, convert
from app.mapping import examples
from app.mapping.functions import FUNCTIONS
from app.mapping.library import examples_text, merge, parse_file
from app.paths import shipped

PAGE = shipped("mappings").parent / "docs" / "mappings.md"
TEXT = PAGE.read_text("utf-8") if PAGE.exists() else ""
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_overlay_shown_works_as_its_examples_say(block, tmp_path):
    assert block.startswith("overlay: hl7v2")
    site = tmp_path / "site.yaml"
    site.write_text(block, "utf-8")
    file = parse_file(block.encode(), "site.yaml")
    file.body.pop("rules", None)  # only the examples are wanted here
    shown = merge("shown", [file])

    assert shown.examples
    for example in shown.examples:
        (result,) = convert(examples_text(example).encode(), Options(mappings=(site,)))
        assert examples.failures(result.bundle, example.expect) == [], result.issues


def test_every_function_is_named():
    named = set(re.findall(r"`([a-z0-9-]+)`", TEXT[TEXT.index("## Functions") :]))

    assert set(FUNCTIONS) <= named
