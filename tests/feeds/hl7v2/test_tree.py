"""Which segment speaks about which (HL7 v2.5.1 chapter 2, section 2.5.3), by tree.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.feeds.hl7v2 import er7, tree
from app.feeds.hl7v2.tree import NOWHERE, ORDER, ROOT, Tree, nearest

IDS = ("PID", "PV1", "ORC", "OBR", "OBX", "NTE", "SPM", "IN1", "IN2", "AL1", "RXE", "RXR", "ZZ1")


def tree_of(*ids, code="ORU^R01"):
    lines = [f"MSH|^~\\&|A|B|||20240101||{code}|1|P|2.5"]
    lines += [f"{id_}|{number}" for number, id_ in enumerate(ids, 1)]
    return Tree(er7.read("\r".join(lines).encode()))


def outline(node):
    """A node as text: OBX.3(NTE.4)."""
    name = f"{node.id}.{node.fields[1]}" if node.fields[1:] and node.id != "MSH" else node.id
    inner = [outline(kid) for family in (node.kids or {}).values() for kid in family]
    return f"{name}({' '.join(inner)})" if inner else name


@pytest.mark.parametrize(
    ("ids", "shown"),
    [
        ("PID OBR OBX NTE OBX", "MESSAGE(MSH PID.1(ORDER(OBR.2 OBX.3(NTE.4) OBX.5)))"),
        ("PID OBR OBR OBX", "MESSAGE(MSH PID.1(ORDER(OBR.2) ORDER(OBR.3 OBX.4)))"),
        ("ORC OBR PID OBX", "MESSAGE(MSH PID.3(ORDER(ORC.1 OBR.2) OBX.4))"),
        ("PID IN1 IN2 IN1", "MESSAGE(MSH PID.1(IN1.2(IN2.3) IN1.4))"),
        ("PID AL1 PID AL1", "MESSAGE(MSH PID.1(AL1.2) PID.3(AL1.4))"),
    ],
)
def test_segments_stand_where_the_order_of_their_ids_says(ids, shown):
    assert outline(tree_of(*ids.split()).root) == shown


def test_segments_of_an_id_come_in_the_order_received_wherever_they_stand():
    found = tree_of("OBR", "OBX", "PID", "OBR", "OBX", "NTE", "OBX", "PID", "OBX")

    assert [node.fields[1] for node in found.all("OBX")] == ["2", "5", "7", "9"]
    assert [node.kids["OBR"][0].fields[1] for node in found.all(ORDER)] == ["1", "4"]


@given(st.lists(st.sampled_from(IDS), max_size=12))
def test_what_is_near_is_known_as_it_is_found_in_the_tree(ids):
    found = tree_of(*ids)

    for nodes in found.by_id.values():
        for node in nodes:
            for id_ in (*IDS, "MSH", ORDER, ROOT):
                near = nearest(node, id_)
                fields = [] if near is None else near.fields
                assert node.message.fields[node.near.get(id_, NOWHERE)] == fields


def test_messages_that_are_alike_share_no_nodes():
    one, other = tree_of("PID", "OBR", "OBX"), tree_of("PID", "OBR", "OBX")

    one.all("OBX")[0].made = {"observation": None}

    assert other.all("OBX")[0].made is None
    assert outline(other.root) == "MESSAGE(MSH PID.1(ORDER(OBR.2 OBX.3)))"


def test_nodes_are_taken_over_when_they_are_let_go_of_and_only_then():
    one = tree_of("PID", "OBR", "OBX")
    other = tree_of("PID", "OBR", "OBX")
    node = one.all("OBX")[0]

    one.fell()
    one.fell()
    third, fourth = tree_of("PID", "OBR", "OBX"), tree_of("PID", "OBR", "OBX")

    assert one.all("OBX") == []
    assert other.all("OBX")[0] is not node
    assert third.all("OBX")[0] is node
    assert fourth.all("OBX")[0] is not node
    assert node.made is None


def test_nodes_are_kept_up_to_a_number_and_of_messages_that_are_not_long(monkeypatch):
    monkeypatch.setattr(tree, "_MOST_NODES", 100)
    free = tree._Free()
    monkeypatch.setattr(tree, "_free", free)

    for number in range(40):
        tree_of("PID", *["OBX"] * (number % 9)).fell()
    long = tree_of("PID", *["OBX"] * 1000)
    one = long.all("OBX")[0]
    long.fell()

    assert 0 < len(free) <= 9
    assert sum(len(key[0]) for key in free) <= 100
    assert one.up is None
    assert ("MSH", "PID", *["OBX"] * 1000) not in [key[0] for key in free]
