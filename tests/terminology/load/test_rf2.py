"""RF2: the robot release is read whole, and what is no release is refused with file and line."""

import shutil
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid, Malformed
from app.terminology.load import rf2
from app.terminology.types import Filter, Selection
from tests.terminology import robots
from tools import build_rf2_fixture


def draft(path):
    with rf2.release(path) as files:
        return rf2.draft_of(files)


def test_the_version_names_the_module_and_the_date(robot_system):
    assert robot_system.header["version"] == (
        "http://snomed.info/sct/9009999999108/version/20260901"
    )


def test_names_come_with_language_and_use_retired_ones_last(robot_system):
    found = robot_system.find(robots.codes()["Left wheel"])

    assert found.display == "Left wheel"
    assert [(d.value, d.language, d.use["code"]) for d in found.designations] == [
        ("Left wheel", "en", "preferredForLanguage"),
        ("左车轮", "zh", "preferredForLanguage"),
        ("Left wheel (part)", "en", "900000000000003001"),
    ]


def test_attributes_are_properties_and_concrete_values_keep_their_digits(robot_system):
    tank = robot_system.find(robots.codes()["Tank of 1.25 L"])

    assert {(p.code, p.kind, p.value) for p in tank.properties} >= {
        (robots.codes()["Litres"], "decimal", "1.25"),
        (robots.codes()["Colour"], "string", "grey"),
        ("sufficientlyDefined", "boolean", False),
    }


def test_subsumption_follows_every_parent(robot_system):
    for ancestor in ("Left part", "Drive part", "Power part", "Robot part"):
        assert robot_system.is_a(robots.codes()["Left drive motor"], robots.codes()[ancestor])
    for one in sorted(robots.everything())[::7]:
        for other in sorted(robots.everything())[::11]:
            assert robot_system.is_a(one, other) is (other in robots.above(one))


def test_is_a_descendants_and_reference_sets_as_filters(robot_system):
    power, stock = robots.codes()["Power part"], robots.codes()["Spare parts in stock"]

    def selected(op, value):
        wanted = Selection([Filter("concept", op, value)])
        found = set(robot_system.select(wanted))
        assert {c for c in robots.everything() if robot_system.matches(c, wanted.filters)} == found
        return found

    assert selected("is-a", power) == robots.below(power)
    assert selected("descendent-of", power) == robots.below(power) - {power}
    assert selected("in", stock) == robots.members(stock)
    assert selected("not-in", stock) == robots.everything() - robots.members(stock)


def test_retired_concepts_are_there_but_no_roots(robot_system):
    retired = Selection([Filter("inactive", "=", "true")])

    assert robot_system.count(retired) == 10
    assert len(robot_system.children(None)) == 1


def test_implicit_value_sets(robot_system):
    from app.terminology.stored.implicit import value_set

    known = {rf2.SNOMED: [robot_system]}
    part = robots.codes()["Robot part"]

    def include(rest):
        return value_set(rf2.SNOMED + rest, known)["compose"]["include"]

    assert include("?fhir_vs") == [{"system": rf2.SNOMED}]
    assert include(f"?fhir_vs=isa/{part}")[0]["filter"] == [
        {"property": "concept", "op": "is-a", "value": part}
    ]
    assert include(f"?fhir_vs=ecl/%3C%20{part}")[0]["filter"] == [
        {"property": "constraint", "op": "=", "value": f"< {part}"}
    ]
    assert {c["code"] for c in include("?fhir_vs=refset")[0]["concept"]} == {
        robots.codes()["Spare parts in stock"],
        robots.codes()["Urgent faults"],
    }
    edition = f"{rf2.SNOMED}/9009999999108/version/20260901"
    assert value_set(f"{edition}?fhir_vs", known)["compose"]["include"] == [
        {"system": rf2.SNOMED, "version": edition}
    ]
    assert value_set("http://other?fhir_vs", known) is None
    assert value_set(rf2.SNOMED + "?fhir_vs=other/1", known) is None


def test_an_archive_is_read_as_the_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        for path in robots.FOLDER.rglob("*.txt"):
            archive.write(path, f"Release/Snapshot/{path.name}")

    header, made = draft(tmp_path / "r.zip")

    assert len(made) == 300
    assert header["version"].endswith("/20260901")


def _broken(folder, name, change):
    shutil.copytree(robots.FOLDER, folder)
    (path,) = folder.rglob(f"*_{name}_*.txt")
    path.write_bytes(change(path.read_bytes()))
    return path.name


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("Concept", lambda b: b.replace(b"moduleId", b"module"), ":1"),
        ("Relationship", lambda b: b + b"1\t2\t3\r\n", ":804"),
        ("Description", lambda b: b.replace("左车轮".encode(), b"\xff\xfe"), ":"),
    ],
)
def test_what_is_no_release_is_told_with_file_and_line(tmp_path, name, change, line):
    file = _broken(tmp_path / "r", name, change)

    with pytest.raises(Malformed) as caught:
        draft(tmp_path / "r")

    assert caught.value.at.startswith(f"{file}{line}")


@given(st.text(st.sampled_from('0123456789\t\r\nabc"#.-\x00 '), max_size=60))
def test_no_lines_break_the_reader(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("rf2")
    head = "id\teffectiveTime\tactive\tmoduleId\tdefinitionStatusId\n"
    name = "sct2_Concept_Snapshot_X_20260101.txt"
    (folder / name).write_text(head + "12\t20260101\t1\t34\t56\n" + text, "utf-8", newline="")
    try:
        draft(folder)[1].arranged()
    except (Invalid, Malformed) as exc:
        assert exc.issues  # noqa: PT017


def test_the_check_digits_are_those_of_known_identifiers():
    for known in ("138875005", "116680003", "900000000000207008"):
        assert build_rf2_fixture.check_digit(known[:-1]) == known[-1]


def test_the_fixture_is_what_the_tool_makes():
    made = build_rf2_fixture.build()

    assert [row[0] for row in made.concepts if row[2] == "1"] == [
        row[0] for row in robots.rows("Concept_")
    ]
