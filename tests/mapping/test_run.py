"""Entries of one message: what rules make of them, and what is shared with others (run.py)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from app.errors import Issue
from app.fhir.ids import RECORD, Ids
from app.mapping.run import Context, Entry, Rule, Run, _fill, _identified, _once

KEY = ("urn:x", "7")


def node(up=None):
    made = SimpleNamespace(made=None, up=up, group=None)
    made.group = up or made
    return made


def rule(**more):
    given = {"name": "staff", "type": "Practitioner", "same": "merge", "mention": False}
    given |= {"anchor": lambda doc: (), "late": False, "at": "x:1", "key": lambda node, run: KEY}
    return Rule(**(given | more))


@pytest.fixture
def run():
    doc = SimpleNamespace(key_parts=("f", "a", "1"))
    return Run(doc, Context(Ids(b"secret")))


def test_what_other_messages_share_is_copied_before_a_rule_adds_to_it(run):
    id_ = run.context.ids.id_of("Practitioner", "|".join(KEY))
    shared = Entry.of("Practitioner", KEY, id_, True)
    shared.body = {"resourceType": "Practitioner", "identifier": [{"system": KEY[0], "value": "7"}]}
    run.admit(shared)
    says = rule(fill=lambda node, run: {"resourceType": "Practitioner", "active": True})

    found = _identified(says, [node()], run)
    _fill(says, found, run, [])

    ((_, entry),) = found
    assert entry.body == {**shared.body, "active": True}
    assert (shared.mention, shared.rule, "active" in shared.body) == (True, None, False)
    assert run.entries == {id_: entry}


def test_a_key_that_comes_again_is_numbered_or_one_resource(run):
    nodes = [node(), node(), node()]

    merged = _identified(rule(), nodes, run)
    numbered = _identified(rule(name="n", type="Observation", same="number"), nodes, run)

    assert len({entry.id for _, entry in merged}) == 1
    assert [entry.key[1] for _, entry in numbered] == ["7", "7:2", "7:3"]


def test_a_key_that_looks_like_a_numbered_one_is_its_own(run):
    keys = [KEY, KEY, ("urn:x", "7:2"), ("urn:x", "7:2")]
    says = rule(type="Observation", same="number", key=lambda node, run: node.key)
    nodes = [node() for _ in keys]
    for place, key in zip(nodes, keys, strict=True):
        place.key = key

    found = _identified(says, nodes, run)

    assert [entry.key[1] for _, entry in found] == ["7", "7:2", "7:2", "7:2:2"]
    assert found[1][1] is found[2][1]


def test_what_another_rule_made_first_counts_for_none_of_a_number(run):
    merged = _identified(rule(type="Observation"), [node()], run)
    numbered = _identified(rule(name="n", type="Observation", same="number"), [node(), node()], run)

    assert numbered[0][1] is merged[0][1]
    assert numbered[1][1].key == ("urn:x", "7:2")


def test_what_has_no_key_is_named_by_the_message_and_its_number(run):
    found = _identified(rule(key=None, name="a-b"), [node(), node()], run)

    assert [entry.key for _, entry in found] == [
        (RECORD, "f:a:1:a-b:1"),
        (RECORD, "f:a:1:a-b:2"),
    ]


def test_what_is_noticed_again_and_again_is_told_once():
    first, second = (Issue("warning", "value", text) for text in "ab")

    assert _once([first, second, first, Issue("warning", "value", "b")]) == [first, second]
    assert _once([first, first]) == [first]
    assert _once([]) == []


def test_nodes_know_what_was_made_of_them_where_references_ask(run):
    group = node()
    inner = node(group)

    ((_, first),) = _identified(rule(), [inner], run)
    _identified(rule(name="other", referred=False), [inner], run)

    assert inner.made == group.made == {"staff": first}


@pytest.mark.parametrize(
    ("key", "url"),
    [
        (("urn:x", "a b|c"), "Practitioner?identifier=urn:x|a%20b%5C%7Cc"),
        ((RECORD, "H1:a%20b:7"), f"Practitioner?identifier={RECORD}|H1:a%2520b:7"),
    ],
)
def test_a_request_names_the_key_as_a_search_does(key, url):
    assert Entry.of("Practitioner", key, "x", False).printed()["request"]["url"] == url


def test_what_all_resources_share_is_added_unless_it_is_there(run):
    shared = [("meta", {"source": "urn:m"})]
    own = {"meta": {"security": [{"code": "R"}]}}
    plain = rule(fill=lambda node, run: {"resourceType": "Practitioner"})
    kept = rule(
        name="b",
        type="Basic",
        fill=lambda node, run: {"resourceType": "Basic", **own},
    )

    for each in (plain, kept):
        _fill(each, _identified(each, [node()], run), run, shared)

    first, second = (entry.body["meta"] for entry in run.entries.values())
    assert first == {"source": "urn:m"}
    assert second == {"security": [{"code": "R"}], "source": "urn:m"}
    assert own == {"meta": {"security": [{"code": "R"}]}}
