"""The language on a feed as small as can be, whose messages are dicts (app/mapping/compile.py)."""

from dataclasses import replace
from decimal import Decimal

import pytest

from app.errors import Invalid
from app.fhir.ids import Ids
from app.mapping.compile import compile_library
from app.mapping.library import merge, parse_file
from app.mapping.run import Context
from app.mapping.source import Access


class Place:
    """A dict with its surroundings."""

    id = None

    def __init__(self, data, up=None):
        self.data, self.up, self.made = data, up, None
        self.group = self
        self.raw = repr(data)


class Message:
    memo_scope = 0
    uri = "urn:x-yilian:msg:test:a#1"
    key_parts = ("test", "a", "1")

    def __init__(self, data):
        self.root = Place(data)

    def present(self, bits):
        return -1


class Keys:
    """A source whose paths are keys; `items` are the dicts of a list, which see their parents."""

    name = "test"

    def __init__(self):
        self.functions = {}

    def may_hold(self, anchor, other):
        return True

    def key_of(self, anchor, reads):
        return None

    def anchor(self, text):
        if text == "root":
            return lambda doc: [doc.root]
        return lambda doc: [Place(item, doc.root) for item in doc.root.data.get(text, [])]

    def path(self, text, at, trace):
        if not text.isalpha():
            raise Invalid(f"`{text}` is no key")

        def find(place):
            while place is not None:
                if text in place.data:
                    return place, place.data[text]
                place = place.up
            return None, None

        def many(place, run):
            found = find(place)[1]
            return [] if found is None else found if isinstance(found, list) else [found]

        def one(place, run):
            found = many(place, run)
            return found[0] if found else None

        def nodes(place, run):
            return [Place(item, place) for item in many(place, run) if isinstance(item, dict)]

        def node(place, run):
            found = nodes(place, run)
            return found[0] if found else None

        return Access(one, many, node, nodes)


def run(text, data, *, check=False):
    mapping = compile_library(
        merge("test", [parse_file(text.encode(), "t.yaml")]), Keys(), check=check
    )
    made = mapping.run(Message(data), Context(Ids(b"secret")))
    return [entry.printed() for entry in made.entries]


PATIENT = """
rules:
  - rule: patient
    resource: Patient
    each: root
    key: {record: [number]}
    set:
"""


def body(elements, data):
    indented = "\n".join("      " + line for line in elements.strip("\n").splitlines())
    found = run(PATIENT + indented, {"number": "7", **data})[0]["resource"]
    return {k: v for k, v in found.items() if k not in ("resourceType", "identifier")}


def test_an_array_takes_every_repetition_and_a_single_element_the_first():
    assert body("gender: x\nname: [x]", {"x": ["a", "b"]}) == {"gender": "a", "name": ["a", "b"]}


def test_constants_alone_make_no_object():
    text = "contact:\n  - gender: =female\n    name: {text: who}"

    assert body(text, {}) == {}
    assert body(text, {"who": "Li"}) == {"contact": [{"name": {"text": "Li"}, "gender": "female"}]}


def test_an_object_is_nothing_without_the_element_it_needs():
    text = "photo:\n  - {$needs: url, url: a, title: b}"

    assert body(text, {"b": "x"}) == {}
    assert body(text, {"a": "u", "b": "x"}) == {"photo": [{"url": "u", "title": "x"}]}


def test_loops_still_see_what_is_around_them():
    text = "contact:\n  - {$each: kin, name: {text: who}, gender: sex}"
    data = {"sex": "male", "kin": [{"who": "A"}, {"who": "B", "sex": "female"}]}

    assert body(text, data) == {
        "contact": [
            {"name": {"text": "A"}, "gender": "male"},
            {"name": {"text": "B"}, "gender": "female"},
        ]
    }


def test_first_switch_spread_and_use_add_elements():
    text = """
$first:
  - {deceasedDateTime: died}
  - {deceasedBoolean: dead}
$switch:
  on: kind
  cases: {a b: {gender: =male}, c: {gender: =female}}
  else: {gender: =other}
"""

    assert body(text, {"dead": True, "kind": "b"}) == {"deceasedBoolean": True, "gender": "male"}
    assert body(text, {"died": "2024", "dead": True, "kind": "z"}) == {
        "deceasedDateTime": "2024",
        "gender": "other",
    }


def test_numbers_keep_their_digits():
    assert body("multipleBirthInteger: n | number", {"n": "5.60"}) == {
        "multipleBirthInteger": Decimal("5.60")
    }


def test_references_resolve_whatever_the_order_of_the_rules():
    text = """
rules:
  - rule: observation
    resource: Observation
    each: items
    key: {record: [code]}
    set: {subject: ref(patient), valueString: code}
  - rule: patient
    resource: Patient
    each: root
    key: {record: [number]}
    set: {link: [refs(observation)]}
"""
    found = run(text, {"number": "7", "items": [{"code": "a"}, {"code": "b"}]})

    patient = next(e for e in found if e["resource"]["resourceType"] == "Patient")
    others = [e for e in found if e is not patient]
    assert [e["resource"]["subject"]["reference"] for e in others] == [patient["fullUrl"]] * 2
    assert patient["resource"]["link"] == [{"reference": e["fullUrl"]} for e in others]


def test_a_stated_resource_is_put_by_its_identifier_and_a_mention_posted():
    text = """
mentions:
  staff:
    resource: Practitioner
    key: {record: [=staff, who]}
    set: {name: [{text: who}]}
rules:
  - rule: patient
    resource: Patient
    each: root
    key: {record: [number]}
    set: {generalPractitioner: [doctors | staff]}
"""
    found = run(text, {"number": "a b", "doctors": [{"who": "Li"}, {"who": "Li"}]})

    assert [entry["request"] for entry in found] == [
        {
            "method": "PUT",
            "url": "Patient?identifier=https://yilian.example/fhir/sid/record|a%2520b",
        },
        {
            "method": "POST",
            "url": "Practitioner",
            "ifNoneExist": "identifier=https://yilian.example/fhir/sid/record|staff:Li",
        },
    ]
    assert found[0]["resource"]["identifier"] == [
        {"system": "https://yilian.example/fhir/sid/record", "value": "a%20b"}
    ]


def test_the_same_key_merges_or_is_numbered():
    text = """
rules:
  - rule: o
    resource: Observation
    each: items
    key: {record: [code]}
    same: number
    set: {valueString: v}
"""
    found = run(text, {"items": [{"code": "a", "v": "1"}, {"code": "a", "v": "2"}]})
    assert [e["resource"]["valueString"] for e in found] == ["1", "2"]
    assert len({e["fullUrl"] for e in found}) == 2

    merged = run(
        text.replace("    same: number\n", ""),
        {"items": [{"code": "a", "v": "1"}, {"code": "a", "v": "2"}]},
    )
    assert [e["resource"]["valueString"] for e in merged] == ["1"]


@pytest.mark.parametrize(
    ("element", "problem"),
    [
        ("nonsense: x", "Patient has no element `nonsense`"),
        ("gender: =malee", "`malee` is no code of `Patient.gender`"),
        ("name: x", "`Patient.name` repeats"),
        ("maritalStatus: [x]", "`Patient.maritalStatus` does not repeat"),
        ("birthDate: x | number", "`Patient.birthDate` is date, the formula gives decimal"),
        ("active: =yes", "`Patient.active` is boolean"),
        ("active: a-1", "is no key"),
        ("contact: [{nome: x}]", "Patient.contact has no element `nome`"),
        ("gender: x | table(nothing)", "there is no table `nothing`"),
        ("gender: x | nothing", "there is no function, map or mention `nothing`"),
        ("managingOrganization: ref(nothing)", "there is no rule `nothing`"),
        ("birthDate: x |", "in `x |` at column"),
        ('gender: x ?? "malee"', "`malee` is no code of `Patient.gender`: is it `male`?"),
        ('birthDate: x | part("/", "a")', "`part` cannot take its argument 2"),
        ("implicitRules: x | part(1, 0)", "`part` cannot take its argument 1"),
        ('implicitRules: x | extract("(")', "`extract` cannot take its argument 1: no pattern"),
        ("implicitRules: x | extract(y)", "`extract` cannot take its argument 1"),
        ('implicitRules: x | replace("a", "\\\\9")', "`replace` cannot take its argument 2"),
        ('multipleBirthInteger: x | number | round("a")', "`round` cannot take its argument 1"),
        ("implicitRules: x | uper", "is it `upper`?"),
        ("maritalStatus: {$whn: x, text: x}", "unknown key `$whn`: is it `$when`?"),
        ("maritalStatus: {$needs: y, text: x}", "`$needs: y` names no element"),
        ("link: [{type: =refer}]", "`Patient.link` needs `other`"),
        ('contact: [{$when: x matches "(", name: {text: x}}]', "`matches`: no pattern"),
        ("contact: [{$when: x matches y, name: {text: x}}]", "`matches`: a pattern is a constant"),
        ("contact: [{$each: =a, name: {text: x}}]", "`$each` needs a path"),
        ("contact: [{$each: 'x | parts', name: {text: x}}]", "`$each` needs a path"),
        ('maritalStatus: "x | text | translate(t)"', "`translate` works on CodeableConcept"),
    ],
)
def test_a_wrong_mapping_is_refused_with_file_and_line(element, problem):
    with pytest.raises(Invalid) as caught:
        run(PATIENT + "      language: =zh\n      " + element, {}, check=True)

    issue = caught.value.issues[0]
    assert problem in issue.text
    assert issue.at == "t.yaml:9"


def test_a_table_row_outside_a_required_binding_is_refused():
    text = "tables:\n  sex: {M: male, F: woman}\n" + PATIENT + "      gender: x | table(sex)\n"

    with pytest.raises(Invalid, match="row `F` gives `woman`") as caught:
        run(text, {}, check=True)

    assert caught.value.issues[0].at == "t.yaml:2"


@pytest.mark.parametrize(
    ("x", "gives"), [("M", "male"), ("X", "other"), (["M"], "male"), (["X"], "other")]
)
def test_what_stands_for_a_code_in_no_table_is_read_where_the_formula_stands(x, gives):
    text = "tables:\n  sex: {M: male}\n" + PATIENT + "      gender: x | table(sex, y)\n"

    (entry,) = run(text, {"number": "7", "x": x, "y": "other"})

    assert entry["resource"]["gender"] == gives


def test_a_required_element_that_is_never_set_is_refused():
    text = "rules:\n  - {rule: o, resource: Observation, each: root, set: {status: =final}}\n"

    with pytest.raises(Invalid, match="required element `code` is never set"):
        run(text, {}, check=True)


def test_a_path_that_gives_text_is_no_object_and_no_number():
    class Texts(Keys):
        def path(self, text, at, trace):
            return replace(super().path(text, at, trace), text=True)

    for element in ("maritalStatus: x", "active: x", "birthDate: x ?? y"):
        files = [parse_file(f"{PATIENT}      {element}\n".encode(), "t.yaml")]
        with pytest.raises(Invalid, match="the formula gives string"):
            compile_library(merge("test", files), Texts(), check=True)


@pytest.mark.parametrize(
    ("text", "problem", "at"),
    [
        ("fragments: {a: {$use: b}, b: {$use: a}}\n", "fragment `a` uses itself", "t.yaml:1"),
        ("maps: {m: {gives: string}}\n", "the map `m` needs `set`", "t.yaml:1"),
        ("mentions: {m: {key: {record: [x]}}}\n", "the mention `m` needs `resource`", "t.yaml:1"),
        ("formulas: {a: b, b: a}\n", "formula `a` uses itself", "t.yaml:10"),
    ],
)
def test_a_part_that_cannot_be_is_refused_with_file_and_line(text, problem, at):
    rule = PATIENT + "      $use: a\n" if "fragments" in text else PATIENT + "      language: =zh\n"
    rule += "      implicitRules: a\n" if "formulas" in text else ""
    with pytest.raises(Invalid) as caught:
        run(text + rule, {}, check=True)

    assert problem in caught.value.issues[0].text
    assert caught.value.issues[0].at == at


def test_a_key_is_an_identifier_or_a_record():
    class Texts(Keys):
        def path(self, text, at, trace):
            return replace(super().path(text, at, trace), text=True)

    text = PATIENT.replace("record: [number]", "identifier: x")
    files = [parse_file(f"{text}      language: =zh\n".encode(), "t.yaml")]
    with pytest.raises(Invalid, match="gives no Identifier"):
        compile_library(merge("test", files), Texts())


@pytest.mark.parametrize(
    ("formula", "given", "gives"),
    [
        ('x | part("/", y)', {"x": "a/b", "y": "1"}, "b"),
        ('x | part("/", y)', {"x": "a/b", "y": "z"}, None),
        ("x | part(y, 0)", {"x": "a/b", "y": ""}, None),
        ("x | number | round(2) | text", {"x": "1" + "0" * 40}, None),
        ("x | number | round(y) | text", {"x": "1.25", "y": "1"}, "1.2"),
    ],
)
def test_a_function_takes_what_messages_bring(formula, given, gives):
    found = run(f"{PATIENT}      active: true\n      language: {formula}\n", given)

    assert (found[0]["resource"].get("language") if found else None) == gives
