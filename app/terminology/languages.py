"""Languages wanted and languages at hand: BCP-47 tags in weighted lists, RFC 4647 lookup.

A list is that of Accept-Language (RFC 9110 section 12.5.4): "de-CH, de;q=0.8, *;q=0.1". A tag
wanted is satisfied by itself, by a more specific one ("de" by "de-CH") and by a shorter one
("en-US" by "en"); Chinese by script ("zh-CN" by "zh-Hans-CN", "zh-Hans" and "zh", not by "zh-TW").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.terminology.issues import Refused, issue
from app.terminology.short import remembered

_TAG = re.compile(r"(?:[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*)", re.ASCII)
_QUALITY = re.compile(r"q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII)
_SCRIPT_OF = {"zh-cn": "hans", "zh-sg": "hans", "zh-my": "hans", "zh-tw": "hant", "zh-hk": "hant"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The languages wanted, the most wanted first; `text` is the list as it was given.

    others: whether another language will do (`*`); None when the list does not say.
    """

    tags: Sequence[str]
    text: str
    others: bool | None = None

    def rank(self, language: str | None) -> int | None:
        """Return how well a language serves, 0 the best; None when it does not."""
        if language is None:
            return None
        for place, tag in enumerate(self.tags):
            if satisfies(tag, language):
                return place * 8 + min(7, _distance(tag, language))
        return None


ANY = Wanted((), "--", None)


@remembered(512)
def parse(text: str) -> Wanted:
    """Return the languages of a weighted list. Raises Refused for what is none."""
    found: list[tuple[float, str]] = []
    for part in text.split(","):
        tag, _, weight = part.strip().partition(";")
        quality = _QUALITY.fullmatch(weight.strip()) if weight else None
        if not _TAG.fullmatch(tag.strip()) or (weight and quality is None):
            raise Refused(issue("INVALID_DISPLAY_NAME", languages=text))
        found.append((float(quality[1]) if quality else 1.0, tag.strip()))
    others = next((quality > 0 for quality, tag in found if tag == "*"), None)
    ranked = sorted((f for f in found if f[1] != "*" and f[0] > 0), key=lambda f: -f[0])
    return Wanted(tuple(tag for _, tag in ranked), text, others)


@remembered(4096)
def satisfies(wanted: str, language: str) -> bool:
    """Say whether text in a language is what was wanted."""
    a, b = wanted.casefold(), language.casefold()
    if a == b or b.startswith(a + "-"):
        return True
    if a.startswith("zh-") and b[:3] in ("zh", "zh-"):
        return _same_chinese(a, b)
    return a.startswith(b + "-")


def _same_chinese(wanted: str, language: str) -> bool:
    """Say whether two tags of Chinese mean the same script; bare `zh` is read as simplified."""
    script = _script(wanted)
    parts = language.split("-")
    if parts == ["zh"]:
        return script == "hans"
    region = {p for p in parts if len(p) == 2 and p != "zh"}
    asked = {p for p in wanted.split("-") if len(p) == 2 and p != "zh"}
    return _script(language) == script and (not region or not asked or region == asked)


def _script(tag: str) -> str:
    parts = tag.split("-")
    if "hans" in parts or "hant" in parts:
        return "hans" if "hans" in parts else "hant"
    return _SCRIPT_OF.get("-".join(parts[:2]), "hans")


def _distance(wanted: str, language: str) -> int:
    """Return 0 for the tag itself, more for one that says more or less."""
    return abs(language.count("-") - wanted.count("-")) + (wanted.casefold() != language.casefold())
