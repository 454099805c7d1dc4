"""A stored code system answers as one in memory would, on both databases."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.errors import Unprocessable
from app.store.aside import Statement
from app.terminology.memory import MemorySystem
from app.terminology.stored import loading, rows
from app.terminology.stored.build import Draft
from app.terminology.stored.catalogue import Stored
from app.terminology.stored.rows import Body, Held, Named
from app.terminology.types import Filter, Selection
from tests import support

# heart is an organ and a pump; valve is below it
CONCEPTS = [
    ("thing", Body("Thing")),
    ("organ", Body("Organ", ["thing"], [Held("notSelectable", "boolean", True)])),
    ("pump", Body("Pump", ["thing"], [Held("kind", "code", "machine")])),
    ("heart", Body("Heart", ["organ", "pump"], [Held("kind", "code", "muscle")])),
    ("valve", Body("Heart valve", ["heart"], [Held("kind", "code", "tissue")])),
    ("liver", Body("Liver", ["organ"], [Held("inactive", "boolean", True)])),
]
DECLARED = [{"code": "kind", "type": "code"}]
RESOURCE = {
    "resourceType": "CodeSystem",
    "url": "urn:test",
    "content": "complete",
    "property": DECLARED,
    "concept": [
        {
            "code": code,
            "display": body.display,
            "property": [
                *({"code": "parent", "valueCode": parent} for parent in body.parents),
                *({"code": h.code, f"value{h.kind.capitalize()}": h.value} for h in body.held),
            ],
        }
        for code, body in CONCEPTS
    ],
}

FILTERS = [
    ("concept", "is-a", "pump"),
    ("concept", "descendent-of", "organ"),
    ("concept", "is-not-a", "heart"),
    ("concept", "child-of", "thing"),
    ("concept", "descendent-leaf", "organ"),
    ("concept", "generalizes", "valve"),
    ("concept", "=", "heart"),
    ("concept", "in", "heart, liver"),
    ("code", "not-in", "heart,liver"),
    ("code", "regex", "(h|l).*r?t?"),
    ("code", "regex", "(organ|pu)m?p?"),
    ("code", "regex", "li.*"),
    ("code", "regex", ".*r"),
    ("code", "regex", "none.*"),
    ("kind", "=", "muscle"),
    ("kind", "in", "muscle,machine"),
    ("kind", "not-in", "muscle,machine"),
    ("kind", "exists", "true"),
    ("kind", "exists", "false"),
    ("kind", "regex", "m.*"),
    ("notSelectable", "=", "true"),
    ("display", "regex", "Heart.*"),
    ("display", "=", "Liver"),
    ("parent", "=", "organ"),
]


@pytest.fixture
def organs(keep):
    return keep(*CONCEPTS, property=DECLARED)


def test_filters_select_what_they_select_in_memory(organs):
    memory = MemorySystem(RESOURCE)

    for name, op, value in FILTERS:
        wanted = Selection([Filter(name, op, value)])
        expected = set(memory.select(wanted))

        assert set(organs.select(wanted)) == expected, (name, op, value)
        assert organs.count(wanted) == len(expected)
        assert {c for c, _ in CONCEPTS if organs.matches(c, wanted.filters)} == expected


def test_a_concept_is_found_as_it_was_given(keep):
    system = keep(
        (
            "a",
            Body(
                "A",
                held=[Held("n", "integer", 3), Held("c", "Coding", {"code": "x"})],
                designations=[Named("甲", "zh-CN", -1), Named("old", None, -1, [], True)],
                definition="the first",
                extension=[{"url": "urn:x", "valueCode": "y"}],
            ),
        )
    )

    found = system.find("a")

    assert (found.code, found.display, found.definition) == ("a", "A", "the first")
    assert [(p.code, p.kind, p.value) for p in found.properties] == [
        ("n", "integer", 3),
        ("c", "Coding", {"code": "x"}),
    ]
    assert [(d.value, d.language) for d in found.designations] == [("甲", "zh-CN"), ("old", None)]
    assert found.designations[1].extension[0]["valueCode"] == "withdrawn"
    assert found.extension == [{"url": "urn:x", "valueCode": "y"}]
    assert system.find("A") is None


def test_every_parent_counts_and_an_unknown_code_is_nothing(organs):
    assert organs.is_a("valve", "pump")
    assert organs.is_a("valve", "organ")
    assert organs.is_a("organ", "organ")
    assert not organs.is_a("liver", "pump")
    assert not organs.is_a("valve", "nothing")
    assert not organs.is_a("nothing", "nothing")
    assert list(organs.children("thing")) == ["organ", "pump"]
    assert list(organs.children("pump")) == ["heart"]
    assert list(organs.children(None)) == ["thing"]
    assert list(organs.children("nothing")) == []


def test_all_codes_come_depth_first_and_in_pages(organs):
    everything = Selection()

    assert list(organs.select(everything)) == [
        "thing",
        "organ",
        "heart",
        "valve",
        "liver",
        "pump",
    ]
    assert list(organs.page(everything, 2, 2)) == ["heart", "valve"]
    assert list(organs.page(everything, 5, 9)) == ["pump"]
    assert list(organs.page(everything, 6, 9)) == []


def test_where_case_does_not_count_the_spelling_is_that_of_the_system(keep):
    system = keep(("Ab", Body("x")), ("Cd", Body("y", ["aB"])), caseSensitive=False)

    assert system.find("aB").code == "Ab"
    assert system.is_a("CD", "ab")
    assert list(system.children("AB")) == ["Cd"]
    spelled = Selection([Filter("code", "regex", "C.*")])
    assert list(system.select(spelled)) == ["Cd"]


def test_what_a_filter_does_not_know_is_refused(organs):
    for wanted in (
        Filter("colour", "=", "red"),
        Filter("concept", "smells-of", "heart"),
        Filter("kind", "is-a", "muscle"),
    ):
        with pytest.raises(Unprocessable):
            organs.count(Selection([wanted]))
        with pytest.raises(Unprocessable):
            organs.matches("heart", [wanted])


def test_long_values_are_compared_whole(keep):
    one, other = "x" * 400 + "1", "x" * 400 + "2"
    system = keep(
        *((c, Body(c, [], [Held("p", "string", v)])) for c, v in (("a", one), ("b", other)))
    )

    assert list(system.select(Selection([Filter("p", "=", other)]))) == ["b"]
    assert list(system.select(Selection([Filter("p", "regex", "x+2")]))) == ["b"]


TEXTS = [
    ("hyp", ["I10", "I11"]),
    ("DISEASE hyper", ["I11"]),
    ("血压", ["I10", "I11"]),
    ("高血壓", ["I10", "I11"]),
    ("壓性心", ["I11"]),
    ("gxy", ["I10", "I11"]),
    ("gaoxuey", ["I10", "I11"]),
    ("xueya", ["I10", "I11"]),
    ("xzb", ["I11"]),
    ("ｈｙｐｅｒｔｅｎｓｉｏｎ", ["I10"]),
    ("肺", ["J18"]),
    ("fy", ["J18"]),
    ("nvhai", ["X1"]),
    ("abc1", ["X1"]),
    ("I1", []),
    ("J18", ["J18"]),
    ("i11", ["I11"]),
    ("hypertension xyz", []),
]


def test_names_are_found_by_words_characters_pinyin_and_codes(keep):
    system = keep(
        ("I10", Body("高血压", [], [], [Named("Hypertension", "en")])),
        ("I11", Body("高血压性心脏病", [], [], [Named("Hypertensive heart disease", "en")])),
        ("J18", Body("肺炎", [], [], [Named("Pneumonia", "en")])),
        ("X1", Body("女孩", [], [Held("pinyin", "string", "abc123")])),
    )

    for text, codes in TEXTS:
        assert list(system.select(Selection(text=text))) == codes, text


def test_a_version_replaces_the_one_before_at_once(keep, store):
    catalogue = Stored(store)
    keep(("a", Body("first")), version="1")
    (first,) = catalogue.systems("urn:test")
    assert first.find("a").display == "first"

    keep(("a", Body("second")), version="1")
    keep(("a", Body("other")), version="2")

    catalogue = Stored(store)
    found = {s.header["version"]: s.find("a").display for s in catalogue.systems("urn:test")}
    assert found == {"1": "second", "2": "other"}
    assert store.ask(lambda db: db.one("SELECT count(*) FROM cs_concept")) == (2,)


def test_many_threads_see_what_is_stored_with_their_first_question(keep, store):
    keep(("a", Body("first")))
    catalogue = Stored(store)
    start = threading.Barrier(8)

    def ask(_):
        start.wait()
        return len(catalogue.systems("urn:test"))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [1] * 8


def test_a_load_that_fails_leaves_nothing_and_what_was_there(keep, store):
    keep(("a", Body("first")))
    header = {"resourceType": "CodeSystem", "url": "urn:test", "content": "complete"}
    draft = Draft(header)
    draft.add("a", Body("second"), 1)

    def stop(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loading.load(store, header, draft, b"x", stop)

    assert [s.find("a").display for s in Stored(store).systems("urn:test")] == ["first"]
    assert store.ask(lambda db: db.all("SELECT count(*) FROM cs")) == [(1,)]
    assert store.ask(lambda db: db.all("SELECT count(*) FROM cs_concept")) == [(1,)]


def test_what_a_killed_load_left_behind_goes_with_the_next(keep, store):
    store.write_aside(
        [
            Statement(
                "INSERT INTO cs (v,tenant,url,version,state,touched,digest,header,facts)"
                " VALUES (?,?,?,?,?,?,?,?,?)",
                [(7, 0, "urn:dead", "", rows.LOADING, 1, b"", b"{}", b"")],
            ),
            Statement(
                "INSERT INTO cs_concept (id,v,key,code,last,spans,body) VALUES (?,?,?,?,?,?,?)",
                [(7 << 32, 7, "a", "", 0, b"", b"")],
            ),
        ]
    )

    keep(("a", Body("alive")))

    assert store.ask(lambda db: db.all("SELECT v FROM cs")) == [(1,)]
    assert store.ask(lambda db: db.all("SELECT v FROM cs_concept")) == [(1,)]


def test_a_number_that_is_given_again_is_another_version(keep, store):
    catalogue = Stored(store)
    keep(("a", Body("first")))
    assert [s.find("a").display for s in catalogue.systems("urn:test")] == ["first"]

    assert loading.remove(store, "urn:test") == 1
    keep(("a", Body("second")))

    assert [s.find("a").display for s in Stored(store).systems("urn:test")] == ["second"]
    support.wait_for(lambda: catalogue.systems("urn:test")[0].find("a").display == "second")
