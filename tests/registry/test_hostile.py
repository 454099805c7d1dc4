"""Anything may be scanned: no exception, and no more than linear work.

YILIAN_FUZZED says how many codes are tried, each also cut in two: 67,000 make 200,000.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.registry import canonical_keys, parse, udi_keys
from app.registry.normalise import LIMIT
from app.registry.schemes import SCHEMES

EXAMPLES = int(os.environ.get("YILIAN_FUZZED", "1500"))
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "identifiers"
CODES = sorted(
    {
        case["code"]
        for path in FIXTURES.glob("*.json")
        for case in json.loads(path.read_text(encoding="utf-8"))
    }
)
HINTS = [None, *SCHEMES]
PIECES = st.one_of(
    st.sampled_from(CODES),
    st.text(max_size=12),
    st.sampled_from(
        ["\x1d", "\x1e\x04", "(01)", "^", "|", "%", "\ud800", "É", "]d2", "+", "=", "/"]
    ),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(PIECES, max_size=4).map("".join), st.sampled_from(HINTS), st.integers(0, 60))
def test_nothing_crashes_and_the_answer_is_json(code, hint, cut):
    for text in (code, code[:cut], code[cut:]):
        parsed = parse(text, as_=hint)

        assert parsed.valid is (not parsed.errors)
        json.dumps(parsed.as_dict())


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.none(), st.text(max_size=30)), st.lists(PIECES, max_size=3).map("".join))
def test_any_identifier_has_keys_or_none(system, value):
    assert all(isinstance(key, str) for key in canonical_keys(system, value))
    assert all(isinstance(key, str) for key in udi_keys(value))


def test_a_code_over_the_limit_is_refused_before_it_is_looked_at():
    parsed = parse("9" * (LIMIT + 1))

    assert [e.code for e in parsed.errors] == ["too-long"]
    assert parsed.input is None


# What an attacker would repeat, by the character each scheme looks for.
REPEATED = [
    "9",
    "1.",
    "a",
    "F",
    "/",
    "/01/",
    "%25",
    "%",
    "(21)",
    "(",
    "^",
    "&",
    "|x",
    "\\T\\",
    "+",
    "10A\x1d",
    "\x1d",
    "=<E0791V00",
    "&a=1",
    ".L1",
    "9 ",
    "- ",
    "械",
    "国械备",
    "00:",
    "é",
    "~1",
    "_",
]
STARTS = [
    "",
    "https://id.gs1.org/",
    "https://id.gs1.org/01/09521234000037?",
    "(01)09521234000037",
    "\x1d0109521234000037",
    "urn:epc:id:sgtin:",
    "+Y951",
    "=",
    "{",
    "MA.156.M0.100001.12345678",
    "hdl:1",
    "mrn-a:",
    "30",
    "F7",
    "10.1/",
]


def work(text, hint=None):
    """Return the number of Python and built-in calls that reading a text takes."""
    calls = 0

    def count(_frame, event, _arg):
        nonlocal calls
        calls += event in ("call", "c_call")

    parse(text, as_=hint)  # whatever is loaded once is loaded now
    sys.setprofile(count)
    try:
        parse(text, as_=hint)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("repeated", REPEATED)
def test_twice_the_length_is_at_most_twice_the_work(repeated):
    for start in STARTS:
        half, full = (
            (start + repeated * LIMIT)[: size - size % len(repeated)] for size in (2000, 4000)
        )

        assert work(full) <= 2.2 * work(half) + 200


@pytest.mark.parametrize("hint", SCHEMES)
def test_with_any_hint_the_work_stays_linear(hint):
    for repeated in ("9", "A", "(21)", "^", "/", "=W", "%41", ".1"):
        half, full = repeated * (2000 // len(repeated)), repeated * (4000 // len(repeated))

        assert work(full, hint) <= 2.2 * work(half, hint) + 200
