"""Code lists in CSV: columns, encodings, hierarchy, and every mistake with its line."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid, Malformed
from app.terminology.load import code_list
from app.terminology.load.code_list import Rules
from app.terminology.stored import rows

HEADER = {"resourceType": "CodeSystem", "url": "urn:list", "content": "complete"}


def read(path, content, rules=None):
    """Return header and code -> body of a list."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    header, draft = code_list.draft_of(path, HEADER, rules or Rules())
    made = draft.arranged()
    found = {}
    for concepts, _ in made.blocks(1):
        for _, _, key, code, _, _, body in concepts:
            found[code or key] = rows.decode_body(body)
    return header, found


def issues(path, content, rules=None):
    with pytest.raises((Invalid, Malformed)) as caught:
        read(path, content, rules)
    return [(issue.at, issue.code) for issue in caught.value.issues]


def test_columns_are_names_parents_designations_and_properties(tmp_path):
    header, found = read(
        tmp_path / "a.csv",
        "code,display,parent,definition,status,effective,pinyin,designation:en,level:integer,note\n"
        "I10,高血压,,血压高,停用,2024-01-01,gxy,Hypertension,3,\n"
        'I10.1,"良性, 高血压",I10,,active,,,,4,first\n',
    )

    assert found["I10"].display == "高血压"
    assert found["I10"].definition == "血压高"
    assert [(h.code, h.kind, h.value) for h in found["I10"].held] == [
        ("status", "code", "inactive"),
        ("effective", "dateTime", "2024-01-01"),
        ("pinyin", "string", "gxy"),
        ("level", "integer", 3),
    ]
    assert [(d.value, d.language) for d in found["I10"].designations] == [("Hypertension", "en")]
    assert (found["I10.1"].display, found["I10.1"].parents) == ("良性, 高血压", ["I10"])
    assert [p["code"] for p in header["property"]] == [
        "status",
        "effective",
        "pinyin",
        "level",
        "note",
    ]
    assert header["property"][0]["uri"] == "http://hl7.org/fhir/concept-properties#status"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_the_encoding_is_what_the_bytes_are(tmp_path, encoding):
    text = "代码,名称\nA00.000,霍乱𠮷\nI10.x00x002,高血压１级\n"

    _, found = read(tmp_path / "a.csv", text.encode(encoding))

    assert {code: body.display for code, body in found.items()} == {
        "A00.000": "霍乱𠮷",
        "I10.x00x002": "高血压１级",
    }


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_the_sign_between_cells_is_that_of_the_first_line(tmp_path, sign):
    _, found = read(tmp_path / "a.csv", sign.join(["code", "display"]) + "\n" + f"a{sign}x\n")

    assert found["a"].display == "x"


def test_parents_by_prefix(tmp_path):
    codes = "code\nA00\nA00.0\nA00.001\nI10\nI10.x00\nI10.x00x002\nB\n"

    _, longest = read(tmp_path / "a.csv", codes, Rules(by_prefix=True))
    _, by_level = read(tmp_path / "a.csv", codes, Rules(by_prefix=True, levels=(3,)))

    assert {code: body.parents for code, body in longest.items()} == {
        "A00": [],
        "A00.0": ["A00"],
        "A00.001": ["A00.0"],
        "I10": [],
        "I10.x00": ["I10"],
        "I10.x00x002": ["I10.x00"],
        "B": [],
    }
    assert by_level["A00.001"].parents == ["A00"]


def test_several_parents_stand_in_several_columns(tmp_path):
    _, found = read(tmp_path / "a.csv", "code,parent,parent\na,,\nb,,\nc,a,b\n")

    assert found["c"].parents == ["a", "b"]


def test_every_mistake_is_told_with_its_line(tmp_path):
    assert issues(
        tmp_path / "a.csv",
        'code,display,parent,n:integer\na,"two\nlines",,1\na,again,,2\nb,B,nowhere,x\n,none,,\nc,C,a,1,9\n',
    ) == [
        ("a.csv:4", "duplicate"),
        ("a.csv:5", "value"),
        ("a.csv:6", "required"),
        ("a.csv:7", "structure"),
        ("a.csv:5", "value"),
    ]


def test_a_concept_below_itself_is_told(tmp_path):
    found = issues(tmp_path / "a.csv", "code,parent\na,c\nb,a\nc,b\nd,a\n")

    assert {at for at, _ in found} == {"a.csv:2", "a.csv:3", "a.csv:4"}
    assert {code for _, code in found} == {"invariant"}


@pytest.mark.parametrize(
    "content",
    [b"", b"display\nx\n", b'code\n"open\n', b"code,p:colour\na,b\n", b"code\n\x81\xff\n"],
)
def test_what_is_no_list_is_refused(tmp_path, content):
    issues(tmp_path / "a.csv", content)


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\n"), max_size=12)


@given(st.lists(st.tuples(_TEXT, _TEXT), max_size=8, unique_by=lambda row: row[0].strip()))
def test_whatever_is_written_as_csv_is_read_back(tmp_path_factory, given):
    wanted = [(code.strip(), display.strip()) for code, display in given if code.strip()]
    text = io.StringIO()
    csv.writer(text).writerows([("code", "display"), *wanted])

    path = tmp_path_factory.mktemp("csv") / "a.csv"
    _, found = read(path, text.getvalue().encode())

    assert {code: body.display or "" for code, body in found.items()} == dict(wanted)


@given(st.binary(max_size=80))
def test_no_bytes_break_the_reader(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(b"code,parent,n:decimal\n" + content)
    try:
        _, draft = code_list.draft_of(path, HEADER, Rules(by_prefix=True))
        draft.arranged()
    except (Invalid, Malformed) as exc:
        assert exc.issues  # noqa: PT017
