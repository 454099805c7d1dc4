"""DICOM PS3.3 C.12.1.1.2, PS3.5 6.1 and annexes H to K: Specific Character Set to Unicode."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.feeds.dicom.charset import character_set, decode

CASES = {
    "absent-is-ascii": ([], b"Wang^Wei", "Wang^Wei"),
    "latin-1": (["ISO_IR 100"], b"M\xfcller^Zo\xeb", "Müller^Zoë"),
    "latin-1-two-accents-in-a-row": (["ISO_IR 100"], b"Ib\xe1\xf1ez^Jos\xe9", "Ibáñez^José"),
    "latin-1-capitals": (["ISO_IR 100"], b"IB\xc1\xd1EZ", "IBÁÑEZ"),
    "latin-2": (["ISO_IR 101"], b"W\xb3odarczyk", "Włodarczyk"),
    "cyrillic": (["ISO_IR 144"], b"\xbb\xee\xda", "Люк"),
    "greek": (["ISO_IR 126"], b"\xc4\xe9\xef\xed", "Διον"),
    "arabic": (["ISO_IR 127"], b"\xe2\xc8\xc7\xe6\xea", "قباني"),
    "hebrew": (["ISO_IR 138"], b"\xf9\xf8\xe5\xef", "שרון"),
    "thai": (["ISO_IR 166"], b"\xb9\xd2", "นา"),
    "half-width-katakana": (["ISO_IR 13"], b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    "utf-8": (["ISO_IR 192"], "王^小明".encode(), "王^小明"),
    "gb18030": (["GB18030"], "张^伟".encode("gb18030"), "张^伟"),
    "gb18030-beyond-gbk": (["GB18030"], "㐀^𠀀".encode("gb18030"), "㐀^𠀀"),
    "gbk-backslash-in-a-character": (["GBK"], b"\x81\x5c^\x81\x5e", "乗^乛"),
    "misspelt-term": (["ISO IR 192"], "王".encode(), "王"),
    "ir-58": (
        ["", "ISO 2022 IR 58"],
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab",
        "Zhang^XiaoDong=张^小东",
    ),
    "ir-58-designated-once": (
        ["", "ISO 2022 IR 58"],
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\xd0\xa1\xb6\xab",
        "Zhang^XiaoDong=张^小东",
    ),
    "ir-58-never-designated": (["", "ISO 2022 IR 58"], b"\xd5\xc5^\xd0\xa1\xb6\xab", "张^小东"),
    "ir-58-alone": (["ISO_IR 58"], b"\xd5\xc5^\xce\xb0", "张^伟"),
    "ir-87": (
        ["", "ISO 2022 IR 87"],
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    "ir-13-and-87": (
        ["ISO 2022 IR 13", "ISO 2022 IR 87"],
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
    ),
    "ir-149": (
        ["", "ISO 2022 IR 149"],
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
        "Hong^Gildong=洪^吉洞",
    ),
}


@pytest.mark.parametrize(("terms", "raw", "text"), CASES.values(), ids=CASES)
def test_declared_set_gives_the_text(terms, raw, text):
    decoded = decode(raw, character_set(terms), name=True)

    assert decoded.value == text
    assert not decoded.guessed


GUESSED = {
    "gbk-declared-latin-1": (["ISO_IR 100"], "李^建国".encode("gbk"), "李^建国"),
    "gbk-undeclared": ([], "陈^晓燕".encode("gbk"), "陈^晓燕"),
    "gbk-no-common-character": ([], "闫^婷".encode("gbk"), "闫^婷"),
    "gbk-beyond-gb2312": (["ISO_IR 6"], "刘^喆".encode("gbk"), "刘^喆"),
    "utf-8-undeclared": ([], "王^小明".encode(), "王^小明"),
    "utf-8-declared-latin-1": (["ISO_IR 100"], "Müller".encode(), "Müller"),
    "gbk-declared-utf-8": (["ISO_IR 192"], "李^建国".encode("gbk"), "李^建国"),
}


@pytest.mark.parametrize(("terms", "raw", "text"), GUESSED.values(), ids=GUESSED)
def test_wrongly_declared_text_is_repaired_and_marked(terms, raw, text):
    decoded = decode(raw, character_set(terms), name=True)

    assert decoded.value == text
    assert decoded.guessed


def test_free_text_mixes_letters_and_han():
    decoded = decode("胸部CT平扫".encode("gbk"), character_set([]))

    assert decoded.value == "胸部CT平扫"


@pytest.mark.parametrize("text", ["Größe", "Crème brûlée", "Ångström", "Hôpital Général", "ÂGÉ"])
def test_latin_1_free_text_stays(text):
    assert decode(text.encode("latin-1"), character_set(["ISO_IR 100"])).value == text


@given(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from(
            [
                "",
                "ISO_IR 100",
                "ISO_IR 13",
                "ISO_IR 192",
                "GBK",
                "ISO 2022 IR 58",
                "ISO 2022 IR 87",
                "ISO 2022 IR 149",
                "ISO 2022 IR 159",
                "ISO_IR 999",
                "nonsense",
            ]
        ),
        max_size=3,
    ),
    st.booleans(),
)
def test_nothing_crashes_the_decoder(raw, terms, name):
    assert isinstance(decode(raw, character_set(terms), name=name).value, str)
