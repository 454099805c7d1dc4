"""Facts about HL7 v2 compiled into our files (tools/build_v2_mappings.py)."""

import pytest

from tools import build_v2_mappings as tool

HEAD = "HL7 v2,,,Condition,,,HL7 FHIR\nCode,Text,Code System,,,,Code,,Display,Code System\n"


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("HL7 Concept Map_ AdministrativeSex - Sheet1", "administrative-sex"),
        ("HL7 Concept Map_ PatientClass[EncounterClass] - Sheet1", "patient-class.encounter-class"),
        ("HL7 Concept Map_ YesNoIndicator - Sheet1", "yes-no-indicator"),
    ],
)
def test_a_table_is_named_like_its_file(stem, name):
    assert tool.table_name(stem) == name


def test_rows_without_a_target_are_left_out_and_odd_codes_quoted(tmp_path):
    folder = tmp_path / "codesystems"
    folder.mkdir()
    (folder / "HL7 Concept Map_ YesNo[X] - Sheet1.csv").write_text(
        HEAD
        + "Y,Yes,HL70136,,,,true,,Yes,http://x\n"
        + "N,No,HL70136,,,,false,,,http://x\n"
        + "U,Unknown,HL70136,,,,,,,\n",
        "utf-8",
    )

    assert tool.tables(folder).endswith(
        "  yes-no.x:\n"
        "    system: http://x\n"
        "    from: http://terminology.hl7.org/CodeSystem/v2-0136\n"
        "    rows:\n"
        '      "Y": ["true", "Yes"]\n'
        '      "N": "false"\n'
    )


def test_wrong_usage_is_2(capsys):
    assert tool.main([]) == 2
    assert "tables" in capsys.readouterr().err
