"""Strings longer than an index row: every modifier is exact at any place in them."""

import pytest

from app.fhir.strings import fold
from app.store.entries import EXACT, STRING_MAX, chunks

BLANK = "影像所见：双肺纹理清晰，未见异常密度影。" * 12  # 240 characters
LONG = f"{BLANK}右下肺小结节，建议复查。{BLANK}结论：良性。"
ALIKE = f"{BLANK}左上肺大结节，建议复查。{BLANK}结论：恶性。"


def observation(id_, text):
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"text": "x"},
        "valueString": text,
    }


@pytest.mark.parametrize(
    ("modifier", "text", "found"),
    [
        (":contains", "右下肺小结节", "long"),
        (":contains", "左上肺", "alike"),
        (":contains", "建议复查", "alike long"),
        (":contains", "良性。", "long"),
        (":contains", "影像所见", "alike long"),
        (":contains", "没有的字", ""),
        (":contains", "密度影。右下", "long"),
        (":contains", LONG[150:420], "long"),
        (":contains", LONG[30:230], "alike long"),
        (":contains", LONG[:100] + "x" + LONG[101:300], ""),
        (":exact", LONG, "long"),
        (":exact", LONG[:-1], ""),
        (":exact", LONG[:STRING_MAX], ""),
        (":exact", LONG[:230] + "x", ""),
        ("", LONG, "long"),
        ("", LONG[:245], "long"),
        ("", LONG[:STRING_MAX], "alike long"),
        ("", ALIKE[:250] + "x", ""),
        (":contains", "a", "hex"),
    ],
)
def test_a_search_in_long_texts_is_exact(kit, modifier, text, found):
    kit.update(observation("long", LONG))
    kit.update(observation("alike", ALIKE))
    kit.update(observation("hex", "ABCDEF0123456789"))

    assert sorted(kit.found("Observation", f"value-string{modifier}={text}")) == found.split()


@pytest.mark.parametrize(
    ("operator", "text", "found"),
    [
        ("eq", LONG, "long"),
        ("eq", LONG[:STRING_MAX], ""),
        ("ew", "结论：良性。", "long"),
        ("ew", "建议复查。", ""),
        ("ew", LONG[STRING_MAX - 4 : STRING_MAX], ""),
        ("co", "小结节", "long"),
        ("sw", "影像所见", "alike long"),
    ],
)
def test_a_filter_over_long_texts_is_exact(kit, operator, text, found):
    kit.update(observation("long", LONG))
    kit.update(observation("alike", ALIKE))

    query = f'_filter=value-string {operator} "{text}"'

    assert sorted(kit.found("Observation", query)) == found.split()


def test_a_text_made_short_leaves_no_part_behind(kit):
    kit.update(observation("o", LONG))

    kit.update(observation("o", "短"))

    assert kit.found("Observation", "value-string:contains=小结节") == []


def test_a_character_that_folds_to_many_makes_a_long_text(kit):
    text = "\ufdfa" * 15 + "end"  # 18 letters each

    kit.update(observation("o", text))

    assert len(fold(text)) > STRING_MAX >= len(text)
    assert kit.found("Observation", "value-string:contains=end") == ["o"]


@pytest.mark.parametrize("size", [201, 399, 400, 401, 600, 601, 1000])
def test_each_run_of_characters_stands_whole_in_one_part(size):
    text = "".join(chr(0x4E00 + n) for n in range(size))

    parts = list(chunks(text))

    assert all(
        any(text[at : at + STRING_MAX] in part for part in parts)
        for at in range(size - STRING_MAX + 1)
    )
    assert [part.endswith(EXACT) for part in parts] == [False] * (len(parts) - 1) + [True]
