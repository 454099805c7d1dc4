"""The AI table is data built from the syntax dictionary: the builder, and what the table holds."""

from __future__ import annotations

import json

import pytest

from app.registry import gs1, gs1_rules
from tools import build_gs1_table

DICTIONARY = """\
# A dictionary of our own
#
01         *?  N14,csum,gcppos2                  ex=255,37 dlpkey=22,10,21|235    # GTIN
10          ?  X..20                             req=01,02+37                     # LOT
310n-ish is no line
3100-3101  *?  N6                                req=01 ex=310n                   # WEIGHT # 1
7007        ?  N6,yymmdd [N6],yymmdd             req=01                           # HARVEST
253         ?  N13,csum [X..17]                  dlpkey                           # GDTI
"""


def test_the_builder_keeps_every_fact_of_a_line():
    built = json.loads(build_gs1_table.build(DICTIONARY, "edition 7"))

    assert built["version"] == "edition 7"
    assert list(built["ais"]) == ["01", "10", "3100-3101", "7007", "253"]
    assert built["ais"]["01"] == {
        "title": "GTIN",
        "parts": [["N", 14, 14, ["csum", "gcppos2"]]],
        "predefined": True,
        "attribute": True,
        "ex": ["255", "37"],
        "key": [["22", "10", "21"], ["235"]],
    }
    assert built["ais"]["10"]["req"] == [[["01"], ["02", "37"]]]
    assert built["ais"]["7007"]["parts"][1] == ["N", 0, 6, ["yymmdd"], True]
    assert built["ais"]["253"]["key"] == [[]]


def test_a_word_it_does_not_know_stops_the_builder():
    with pytest.raises(ValueError, match="not understood"):
        build_gs1_table.build("01 * N14 colour=red # GTIN\n", "x")


def test_the_first_two_digits_settle_how_long_an_ai_is():
    lengths = {}
    for code in gs1.table():
        lengths.setdefault(code[:2], set()).add(len(code))

    assert all(len(found) == 1 for found in lengths.values())


def test_ranges_are_every_number_in_them():
    table = gs1.table()

    assert table["3103"].parts == table["3100"].parts
    assert "3106" not in table
    assert table["91"].high == 90


def test_every_rule_of_the_table_is_checked_or_knowingly_left_out():
    used = {rule for ai in gs1.table().values() for part in ai.parts for rule in part.rules}
    left_out = {"couponcode", "couponposoffer", "gcppos2", "packagetype"}

    assert used - set(gs1_rules.RULES) == left_out
