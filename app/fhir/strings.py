"""Text as string search compares it: without case, accents and width of white space.

R4 search.html#string. The folded form is an index form, written beside the original; Chinese
characters fold to themselves (full-width Latin letters and digits to their plain forms).
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from itertools import product

# NUL cannot be stored by PostgreSQL; U+0001 separates parts in the store's index rows.
_FORBIDDEN = str.maketrans("", "", "\x00\x01")
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_PART = re.compile(f"{_HAN.pattern}|[^{_HAN.pattern[1:-1]}]+")
_MAX_READINGS = 8  # of one name: a character with two readings doubles them


def fold(text: str) -> str:
    """Return `text` in NFKD without combining marks, case-folded, white space collapsed.

    Folding twice changes nothing; NUL and U+0001 are left out.
    """
    if text.isascii():
        return _collapse(text.translate(_FORBIDDEN).casefold())
    if text.isalnum() and unicodedata.is_normalized("NFKD", text) and text.casefold() == text:
        return text  # a Chinese name: letters without marks, case or white space
    plain = _strip(text).casefold()  # case-folding what is stripped makes no new marks
    return _collapse(plain.translate(_FORBIDDEN))


def _strip(text: str) -> str:
    plain = _marks().sub("", unicodedata.normalize("NFKD", text))
    if plain and max(plain) > "\uffff":
        return "".join(c for c in plain if not unicodedata.combining(c))
    return plain


@cache
def _marks() -> re.Pattern[str]:
    """Return the pattern of the combining marks in the BMP."""
    marks = (chr(code) for code in range(0x300, 0xFFFF) if unicodedata.combining(chr(code)))
    return re.compile("[" + "".join(marks) + "]+")


def _collapse(text: str) -> str:
    return " ".join(text.split())


@lru_cache(maxsize=4096)
def pinyin(text: str) -> tuple[str, ...]:
    """Return the pinyin (拼音) forms of a Chinese name: whole syllables, then their initials.

    "王伟" gives "wangwei" and "ww". A character with several readings gives several forms, the
    commonest first, as surnames need (单: dan, shan, chan). Empty for text without Han characters.
    """
    if not _HAN.search(text):
        return ()
    syllables = [_readings(part) for part in _PART.findall(text)]
    whole: dict[str, None] = {}
    initials: dict[str, None] = {}
    for index, choice in enumerate(product(*syllables)):
        if index >= _MAX_READINGS:
            break
        joined = [syllable.replace(" ", "") for syllable in choice]
        whole["".join(joined)] = None
        initials["".join(syllable[:1] for syllable in joined)] = None
    return (*whole, *initials)


@lru_cache(maxsize=1 << 15)
def _readings(part: str) -> tuple[str, ...]:
    """Return the readings of one Han character; Latin text reads as it is.

    By character: the dictionary of phrases knows words, names are new each time and cost 100 us.
    """
    if not _HAN.match(part):
        return (fold(part),)
    from pypinyin import Style
    from pypinyin import pinyin as readings

    (forms,) = readings(part, style=Style.NORMAL, heteronym=True, errors="default")
    return tuple(dict.fromkeys(fold(form) for form in forms))
