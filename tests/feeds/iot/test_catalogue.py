"""What is wrong in a site's files for devices is told before the first message."""

import pytest

from app.errors import Invalid
from app.feeds.iot.catalogue import Catalogue
from app.paths import shipped


@pytest.mark.parametrize(
    ("overlay", "at"),
    [
        ("overlay: monitor\nrules:\n  - {rule: x, resource: Flag, each: $, set: {a: b}}\n", "3"),
        ("overlay: montor\n", "1"),
        ("overlay: monitor\nfor: a\n", "2"),
        ("mapping: hot\nsource: hl7v2\n", "2"),
        ("mapping: hot\nconstants:\n  aliases: 5\n", "3"),
        ("mapping: hot\nconstants:\n  match: temp\n", "3"),
    ],
)
def test_files_for_devices_are_held_against_the_definitions_too(tmp_path, overlay, at):
    (tmp_path / "site.yaml").write_text(overlay, "utf-8")

    with pytest.raises(Invalid) as caught:
        Catalogue([shipped("mappings") / "iot", tmp_path]).check()

    assert caught.value.at.endswith(f"site.yaml:{at}")
