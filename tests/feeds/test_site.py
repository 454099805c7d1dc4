"""What is wrong in the files of a site is told before the first message."""

from pathlib import Path

import pytest

from app.errors import Invalid
from app.feeds.hl7v2.convert import of_site
from app.feeds.iot.catalogue import Catalogue
from app.paths import shipped


def site(folder: Path, element: str) -> Path:
    """Make the overlay folder of a site that says more of patients."""
    (folder / "hl7v2").mkdir()
    overlay = f"overlay: hl7v2\nrules:\n  - extend: patient\n    set:\n      {element}: ZPI-2\n"
    (folder / "hl7v2" / "zpi.yaml").write_text(overlay, "utf-8")
    return folder


def test_a_slip_in_the_files_of_a_site_is_told_before_the_first_message(tmp_path):
    with pytest.raises(Invalid, match="is it `language`") as caught:
        of_site("Asia/Shanghai", b"x" * 32, site(tmp_path, "langage"))

    assert caught.value.at == f"{tmp_path.name}/hl7v2/zpi.yaml:5"


@pytest.mark.parametrize(
    ("overlay", "at"),
    [
        ("overlay: monitor\nrules:\n  - {rule: x, resource: Flag, each: $, set: {a: b}}\n", "3"),
        ("overlay: montor\n", "1"),
        ("overlay: monitor\nfor: a\n", "2"),
    ],
)
def test_files_for_devices_are_held_against_the_definitions_too(tmp_path, overlay, at):
    (tmp_path / "site.yaml").write_text(overlay, "utf-8")

    with pytest.raises(Invalid) as caught:
        Catalogue([shipped("mappings") / "iot", tmp_path]).check()

    assert caught.value.at.endswith(f"site.yaml:{at}")
