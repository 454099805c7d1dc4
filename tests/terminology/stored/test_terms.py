"""Terms: what is asked for is what is stored, and the list of syllables is whole."""

from hypothesis import given
from hypothesis import strategies as st
from pypinyin.constants import PINYIN_DICT

from app.terminology.stored import terms
from app.terminology.stored.terms import Term


def _meets(stored, reading):
    return all(
        any(
            ord(one[0]) == term.kind
            and (one[1:].startswith(term.text) if term.is_beginning else one[1:] == term.text)
            for one in stored
        )
        for term in reading
    )


@given(
    st.text(st.sampled_from("高血压糖尿病急慢性心脏女绿"), min_size=2, max_size=8),
    st.integers(0, 6),
    st.integers(1, 8),
)
def test_any_part_of_a_chinese_name_finds_it(name, start, size):
    part = name[start : start + size] or name

    (word,) = terms.asked(part)
    assert any(_meets(terms.terms([name]), reading) for reading in word)


def test_words_are_found_by_their_beginnings_only():
    stored = terms.terms(["Hypertensive heart disease"])

    assert all(_meets(stored, word[0]) for word in terms.asked("heart hyp dis"))
    assert not any(_meets(stored, reading) for reading in terms.asked("tensive")[0])


def test_short_beginnings_are_stored_so_that_they_need_no_scan():
    assert terms.asked("he")[0][0] == [Term(terms.START, "he")]


def test_the_syllables_are_those_of_the_dictionary():
    whole, _ = terms._alphabet()

    forms = {form for forms in PINYIN_DICT.values() for form in forms.split(",")}
    assert whole == {form for form in map(terms._plain, forms) if form.isalpha()}
