"""Functions made over for messages of one kind give what they gave before (specialise.py)."""

from __future__ import annotations

import ast
import gc

import msgspec
import pytest

from app.feeds.hl7v2 import er7, tree
from app.feeds.hl7v2.convert import Options, convert
from app.mapping import library
from app.mapping.run import _OFTEN
from app.mapping.specialise import Facts, constant_of, specialised
from app.paths import shipped

EXAMPLES = [
    library.examples_text(example).encode()
    for example in library.merge("x", library.read_folder(shipped("mappings") / "hl7v2")).examples
]
encode = msgspec.json.Encoder(decimal_format="number").encode
ALL = _OFTEN + 40  # messages, after which all their functions are made over
FACTS = Facts(5, {"OBX-18"}, {"code": "ORU", "event": None}, {"patient"})


def oru(number, *results):
    return "\r".join(
        [
            f"MSH|^~\\&|LIS|H1|||20240501083{number % 10}||ORU^R01|{number}|P|2.5.1",
            f"PID|1||{number}^^^H1^MR||Li^Wei||19800101|F",
            f"OBR|1|P{number}|F{number}|CMP^Panel^L|||20240501080000",
            *results,
        ]
    ).encode()


def results(messages, options=None):
    return [encode([result.bundle for result in convert(raw, options)]) for raw in messages]


@pytest.mark.parametrize("raw", EXAMPLES[::5], ids=range(len(EXAMPLES[::5])))
def test_a_message_that_came_often_gives_what_it_gave_at_first(raw):
    options = Options(facility="often")  # a kind of its own

    first = results([raw], options)
    often = results([raw] * ALL, options)
    after = results([raw], options)

    assert set(often) == set(first)
    assert after == first


def test_messages_of_one_kind_differ_in_all_that_is_filled_in():
    def one(number):
        values = ("5.6", "<0.1", "text", '""', "3~4", "")
        return oru(
            number,
            f"OBX|1|NM|2345-7^Glucose^LN||{values[number % 6]}|mmol/L|3-6|H|||F|||20240501080000",
            f"OBX|2|{'ST' if number % 2 else 'NM'}|x^X^L||7|g|1-2|N|||F|||{20240501 + number % 9}",
        )

    messages = [one(number) for number in range(ALL)]
    often = [sorted_keys(raw) for raw in results(messages)]

    explained = results(messages, Options(explain=True))  # nothing is made over for these
    assert often == [sorted_keys(raw) for raw in explained]


def sorted_keys(raw):
    return msgspec.json.encode(msgspec.json.decode(raw), order="deterministic")


def test_every_result_with_an_impossible_time_gets_its_warning_however_often():
    lines = [f"OBX|{n}|NM|c{n}^C^L||1|g||N|||F|||20241399080000" for n in (1, 2, 3)]

    for number in range(ALL):
        (result,) = convert(oru(number, *lines), Options(facility="warns"))
        found = {issue.at for issue in result.issues if issue.details == "impossible-date"}
        assert {"OBX[1]-14", "OBX[2]-14", "OBX[3]-14"} <= found


def test_nothing_of_a_message_waits_for_the_collector():
    """What is left of one message is taken over by the next of its kind."""
    raw = oru(1, "OBX|1|NM|2345-7^Glucose^LN||5.6|mmol/L|3-6|H|||F|||20240501080000")
    counts = []
    convert(raw)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            convert(raw)
            kinds = (er7.Message, er7.Segment, tree.Node)
            counts.append(sum(isinstance(one, kinds) for one in gc.get_objects()))
    finally:
        gc.enable()

    assert len(set(counts)) == 1


FOLDED = {
    "a field that is empty everywhere": (
        """
        own_OBX = node.fields
        v1 = own_OBX[18] if len(own_OBX) > 18 else None
        v2 = []
        if v1:
            v2 = g1(node, run)
        v3 = v2 or None
        return v3
        """,
        "return None",
    ),
    "a field that may hold something stays": (
        """
        own_OBX = node.fields
        v1 = own_OBX[5] if len(own_OBX) > 5 else None
        return v1
        """,
        """
        own_OBX = node.fields
        return own_OBX[5] if len(own_OBX) > 5 else None
        """,
    ),
    "names and comparisons": (
        """
        names = run.doc.names
        v1 = names['code']
        v2 = str(v1) != 'MDM'
        v3 = v2
        if v3:
            v4 = names['event']
            v3 = str(v4) != 'R40'
        return v3
        """,
        "return True",
    ),
    "rules that make nothing": (
        """
        made = run.made
        v1 = g1(node, run) if 'visit' in made else None
        v2 = g2(node, run) if 'patient' in made or 'visit' in made else None
        return v2 if v1 is None else v1
        """,
        """
        made = run.made
        return g2(node, run) if 'patient' in made else None
        """,
    ),
    "what one of two ways sets is not known behind them": (
        """
        v1 = None
        if run.flag:
            v1 = g1(node, run)
        return [] if v1 is None else [v1]
        """,
        """
        v1 = None
        if run.flag:
            v1 = g1(node, run)
        return [] if v1 is None else [v1]
        """,
    ),
    "a list that a loop fills is not empty": (
        """
        v1 = []
        v2 = v1
        for v3 in node.kids:
            v1.append(v3)
        return v2 or None
        """,
        """
        v1 = []
        for v3 in node.kids:
            v1.append(v3)
        return v1 or None
        """,
    ),
    "a loop over nothing": (
        """
        v1 = []
        v2 = []
        for v3 in v1:
            v2.append(v3)
        v2 += v1
        return v2 or None
        """,
        "return None",
    ),
    "tests of filled fields": (
        """
        p = g9.get(run.present)
        if p is None:
            p = g9.seen(run.present)
        v1 = None
        if v1 is None and p & 2:
            v1 = g1(node, run)
        if p & 1:
            v1 = g2(node, run)
        return v1
        """,
        """
        return g2(node, run)
        """,
    ),
}


class Shapes(dict):
    def seen(self, present):
        return present & 1


def function(body):
    lines = [line.removeprefix("        ") for line in body.strip("\n").splitlines()]
    return "def f(node, run):\n" + "\n".join(f"    {line}" for line in lines)


@pytest.mark.parametrize("case", FOLDED)
def test_what_is_known_beforehand_falls_away(case):
    given, wanted = FOLDED[case]

    made = specialised(function(given), FACTS, {"g9": Shapes()}, lambda name: name)

    assert ast.unparse(made) == ast.unparse(ast.parse(function(wanted)))
    always = constant_of(made)
    assert always is (True if wanted == "return True" else None)
