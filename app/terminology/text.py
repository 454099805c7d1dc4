"""Text filters: every word asked for begins a word of a name, in any order and any case.

R4 valueset-operation-expand.html (`filter`). Han, Kana and Hangul are written without spaces: a
word of theirs is met anywhere in the name. Full-width letters and accents do not count.
"""

from __future__ import annotations

import re
import unicodedata

from app.errors import TooCostly
from app.terminology.short import remembered
from app.terminology.types import Concept

_MOST_WORDS = 32
_WORDS = re.compile(r"[^\W_]+")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")


@remembered(4096)
def folded(text: str) -> str:
    """Return text without case, width and accents."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in apart if not unicodedata.combining(c))


class Matcher:
    """The words of one text filter."""

    def __init__(self, asked: str) -> None:
        words = _WORDS.findall(folded(asked)) or ([asked] if asked.strip() else [])
        if len(words) > _MOST_WORDS:
            raise TooCostly("A text filter of so many words is too costly", at="http.filter")
        self._words = words

    def meets(self, concept: Concept) -> bool:
        """Whether one name of the concept, or its code, has all the words."""
        if self.found_in(concept.display) or self.found_in(concept.code):
            return True
        return any(self.found_in(d.value) for d in concept.designations)

    def found_in(self, name: str | None) -> bool:
        """Whether a name has all the words."""
        if not name:
            return False
        text = folded(name)
        starts = _WORDS.findall(text)
        return all(
            word in text
            if _UNSPACED.search(word)
            else any(start.startswith(word) for start in starts)
            for word in self._words
        )
