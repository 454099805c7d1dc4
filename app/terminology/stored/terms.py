"""The words of names, as they are stored and as they are asked for.

Words of letters and digits are found by their beginnings. Chinese characters stand without spaces:
every two neighbours are stored, and by their pinyin the same pairs of syllables and three initials
in a row, so that a name is found by any part of it: 血压, xueya and xy find 高血压. Traditional
characters are found by their simplified forms (`app/terminology/han.py`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

from app.fhir.strings import fold
from app.terminology.han import simplified

_HAN = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_PART = re.compile(f"[{_HAN}]+|[^\\W_{_HAN}]+")
_IS_HAN = re.compile(f"[{_HAN}]")
_LATIN = re.compile("[a-z]+")
_READINGS = 2  # of a character: the commonest
_SYLLABLES_MOST = 12  # of a word asked for
_SPLITS_MOST = 8  # ways to cut it into syllables

WORD, START, HAN, PINYIN, INITIALS = range(5)
START_LENGTH = 3  # so many first letters are stored as well: a short beginning has many words


class Term(NamedTuple):
    """What is stored under a kind; asked for as a whole or as a beginning."""

    kind: int
    text: str
    is_beginning: bool = False


def terms(names: Sequence[str]) -> set[str]:
    """Return what one concept is stored under: chr(kind) and the text in one string each."""
    found: set[str] = set()
    for name in names:
        for part in _PART.findall(_folded(name)):
            if _IS_HAN.match(part):
                found.update(*_of_han(part))
            else:
                found.update(_of_word(part[:100]))
    return found


def _folded(name: str) -> str:
    return fold(name) if name.isascii() else fold(simplified(name))


@lru_cache(maxsize=1 << 16)
def _of_word(word: str) -> tuple[str, ...]:
    starts = [word[:size] for size in range(1, min(len(word), START_LENGTH) + 1)]
    return (chr(WORD) + word, *(chr(START) + start for start in starts))


def _of_han(part: str) -> Iterator[tuple[str, ...]]:
    """Yield what is stored for each character of a row and the ones behind it."""
    letters = [*map(_letters, part), "", ""]
    for index in range(len(part)):
        yield _pair(part[index : index + 2])
        yield _initials(letters[index], letters[index + 1], letters[index + 2])


@lru_cache(maxsize=1 << 16)
def _pair(two: str) -> tuple[str, ...]:
    readings = product(*map(_syllables, two))
    return (chr(HAN) + two, *{chr(PINYIN) + "".join(pair) for pair in readings})


@lru_cache(maxsize=1 << 16)
def _initials(*letters: str) -> tuple[str, ...]:
    some = product(*(choice for choice in letters if choice))
    return tuple(chr(INITIALS) + "".join(initials) for initials in some)


@lru_cache(maxsize=1 << 15)
def _letters(character: str) -> str:
    """Return the letters that the readings of a character begin with."""
    return "".join(dict.fromkeys(syllable[0] for syllable in _syllables(character)))


@lru_cache(maxsize=1 << 15)
def _syllables(character: str) -> tuple[str, ...]:
    from pypinyin.constants import PINYIN_DICT

    forms = PINYIN_DICT.get(ord(character), "").split(",")[:_READINGS]
    return tuple(dict.fromkeys(filter(None, map(_plain, forms)))) or (character,)


def _plain(form: str) -> str:
    """Return a syllable without its tone, ü written as on keyboards."""
    apart = unicodedata.normalize("NFD", form).replace("u\u0308", "v")
    return "".join(letter for letter in apart if letter.isascii())


# --- asking --------------------------------------------------------------------------------------

# A word asked for is met when one of its readings is; a reading when all of its terms are.
Reading = Sequence[Term]


def asked(text: str) -> list[list[Reading]]:
    """Return the words of a text filter, each as the readings it may have."""
    return [list(_readings(part)) for part in _PART.findall(_folded(text))]


def _readings(part: str) -> Iterator[Reading]:
    if _IS_HAN.match(part):
        yield [Term(HAN, part, True)] if len(part) == 1 else _chain(HAN, part, 2)
        return
    if len(part) <= START_LENGTH:
        yield [Term(START, part)]
    else:
        yield [Term(WORD, part, True)]
    if _LATIN.fullmatch(part):
        if len(part) > 1:
            initials = Term(INITIALS, part, True)
            yield [initials] if len(part) < 3 else _chain(INITIALS, part, 3)
        yield from map(_pairs, _splits(part))


def _chain(kind: int, text: str, size: int) -> Reading:
    """Return every part of `size` characters: neighbours overlap."""
    return [Term(kind, text[i : i + size]) for i in range(len(text) - size + 1)]


def _pairs(syllables: Sequence[str]) -> Reading:
    """Return the pairs of neighbours; the last syllable may be half written."""
    if len(syllables) == 1:
        return [Term(PINYIN, syllables[0], True)]
    pairs = [a + b for a, b in pairwise(syllables)]
    return [*(Term(PINYIN, pair) for pair in pairs[:-1]), Term(PINYIN, pairs[-1], True)]


@lru_cache(maxsize=1024)
def _splits(word: str) -> list[tuple[str, ...]]:
    """Return the ways to read a word as pinyin: syllables, of which the last may be cut off."""
    whole, beginnings = _alphabet()
    found: list[tuple[str, ...]] = []

    def go_on(at: int, before: tuple[str, ...]) -> None:
        if len(found) >= _SPLITS_MOST or len(before) >= _SYLLABLES_MOST:
            return
        rest = word[at:]
        if rest in beginnings:
            found.append((*before, rest))
        for size in range(min(6, len(rest) - 1), 0, -1):
            if rest[:size] in whole:
                go_on(at + size, (*before, rest[:size]))

    go_on(0, ())
    return found


@lru_cache(maxsize=1)
def _alphabet() -> tuple[frozenset[str], frozenset[str]]:
    """Return the syllables of pinyin, and all their beginnings.

    From a list of our own: asking for a word is not to load the dictionary of characters, which
    costs half a second.
    """
    whole = Path(__file__).with_name("syllables.txt").read_text("ascii").split()
    return frozenset(whole), frozenset(f[:n] for f in whole for n in range(1, len(f) + 1))
