"""The assigning-authority table (app/mapping/assigners.py, mappings/assigners.yaml)."""

import pytest

from app.errors import Invalid
from app.mapping import assigners
from app.paths import shipped


@pytest.fixture
def table(tmp_path):
    site = tmp_path / "site.yaml"
    site.write_text("assigners:\n  RENAI: https://renai.example/mrn\n", "utf-8")
    return assigners.load((shipped("mappings") / "assigners.yaml", site))


@pytest.mark.parametrize(
    ("given", "system", "known"),
    [
        (("X", "1.2.156.1", "ISO", "F"), "urn:oid:1.2.156.1", True),
        (("RENAI", None, None, "F"), "https://renai.example/mrn", True),
        (("X", "not universal", "L", "F"), "urn:x-yilian:ns:X", False),
        (("城东 H", None, None, "F"), "urn:x-yilian:ns:%E5%9F%8E%E4%B8%9C%20H", False),
        ((None, None, None, "F"), "urn:x-yilian:ns:F", False),
        ((None, None, None, None), "urn:x-yilian:ns:local", False),
    ],
)
def test_whose_number_it_is(table, given, system, known):
    assert table.system(*given) == (system, known)


def test_resident_ids_and_passports_are_person_wide_and_record_numbers_are_not(table):
    assert table.person_wide("NI", None)
    assert table.person_wide(None, "urn:oid:2.16.156.10011.1.3")
    assert not table.person_wide("MR", "urn:x-yilian:ns:H0001")


def test_a_system_that_is_no_uri_is_refused(tmp_path):
    site = tmp_path / "site.yaml"
    site.write_text("assigners:\n  A: mrn\n", "utf-8")

    with pytest.raises(Invalid) as caught:
        assigners.load((site,))

    assert caught.value.at == "site.yaml:2"
