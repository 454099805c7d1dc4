"""Language tags, `urn:ietf:bcp:47`: RFC 5646 (well-formed and valid), with names.

    language[-extlang][-Script][-REGION][-variant...][-x-extension...][-x-private]

A tag is a code when it is well-formed and all its subtags are in the IANA registry (RFC 5646
section 2.2.9, "valid"); extensions and private use are well-formed only. Case does not count; the
code returned has the case of section 2.1.1. Prefixes of variants are advice, not a rule. The
grandfathered tags are codes as they stand.

A tag's parts are its properties: `language`, `extlang`, `script`, `region`, `variant`,
`extension`, `private-use`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from app.terminology.systems.facts import table
from app.terminology.systems.grammar import Grammar, header
from app.terminology.types import Concept, Designation, Filter, Property

URL = "urn:ietf:bcp:47"

_MAX_TAG = 128
_PRIVATE = r"x(?:-[a-z0-9]{1,8})+"
_TAG = re.compile(
    rf"""
      (?P<language>[a-z]{{2,3}}(?P<extlang>(?:-[a-z]{{3}}){{0,3}})|[a-z]{{4}}|[a-z]{{5,8}})
      (?:-(?P<script>[a-z]{{4}}))?
      (?:-(?P<region>[a-z]{{2}}|[0-9]{{3}}))?
      (?P<variant>(?:-(?:[a-z0-9]{{5,8}}|[0-9][a-z0-9]{{3}}))*)
      (?P<extension>(?:-[0-9a-wy-z](?:-[a-z0-9]{{2,8}})+)*)
      (?:-(?P<private>{_PRIVATE}))?
    """,
    re.VERBOSE,
)
# Ranges of private use: RFC 5646 section 3.1.2; names of the registry are of the form a..b.
_PRIVATE_RANGES = {
    "language": re.compile("q[a-t][a-z]"),
    "script": re.compile("qaa[a-z]|qab[a-x]"),
    "region": re.compile("aa|q[m-z]|x[a-z]|zz"),
}
_KINDS = ("language", "extlang", "script", "region", "variant")
_NAMED = {"script": ("Script", "文字"), "region": ("Region", "地区")} | {
    "extlang": ("ExtLang", "扩展语言"),
    "variant": ("Variant", "变体"),
    "extension": ("Extension", "扩展"),
    "private-use": ("Private", "私用"),
}


@dataclass(frozen=True, slots=True)
class _Subtag:
    names: Sequence[str]
    chinese: str
    preferred: str
    deprecated: bool


@dataclass(frozen=True, slots=True)
class Tag:
    """The parts of a language tag, each (kind, subtag), in their order and usual case."""

    parts: Sequence[tuple[str, str]]

    @property
    def code(self) -> str:
        return "-".join(subtag for _, subtag in self.parts)


class LanguageTags(Grammar):
    """The system of language tags."""

    common = "http://terminology.hl7.org/ValueSet/Languages"

    def __init__(self) -> None:
        self.header = header(
            URL,
            "LanguageTags",
            "Tags for identifying languages (BCP 47)",
            caseSensitive=False,
            language="en",
            property=[{"code": kind, "type": "string"} for kind in ("language", *_NAMED)],
        )

    def find(self, code: str) -> Concept | None:
        """Return the concept of a language tag, in the usual case of its subtags."""
        found = _read(code)
        return _concept(found) if isinstance(found, Tag) else None

    def listed(self) -> Sequence[str]:
        """Return the languages of ISO 639-1 and ISO 639-2."""
        return _registry().listed

    def problem(self, code: str) -> str | None:
        """Return which subtag is wrong."""
        found = _read(code)
        return found if isinstance(found, str) else None

    def mismatch(self, code: str, filters: Sequence[Filter]) -> str | None:
        """Return nothing more: the filters speak of the subtags, which can be seen."""
        return None


@lru_cache(maxsize=1024)
def _read(tag: str) -> Tag | str:
    """Return the parts of a tag, or what is wrong with it (RFC 5646 section 2.1)."""
    low = tag.lower()
    registry = _registry()
    if low in registry.whole:
        return Tag((("language", registry.whole[low][0]),))
    if len(tag) > _MAX_TAG:
        return "A language tag has at most 128 characters here"
    if re.fullmatch(_PRIVATE, low):
        return Tag((("private-use", low),))
    found = _TAG.fullmatch(low)
    if found is None:
        return "The tag is not of the form language-script-region-variant"
    parts = list(_parts(found))
    for kind, subtag in parts:
        if kind in _KINDS and not registry.has(kind, subtag):
            return f"The {kind} subtag '{subtag}' is not in the registry"
    for kind in ("variant", "extension"):
        given = [s.partition("-")[0] for k, s in parts if k == kind]
        if len(set(given)) < len(given):
            return f"A {kind} stands twice in the tag"
    return Tag(tuple(parts))


def _parts(found: re.Match[str]) -> Iterator[tuple[str, str]]:
    """Yield the parts in the case of RFC 5646 section 2.1.1."""
    language, *extlangs = found["language"].split("-")
    yield "language", language
    for extlang in extlangs:
        yield "extlang", extlang
    if found["script"]:
        yield "script", found["script"].title()
    if found["region"]:
        yield "region", found["region"].upper()
    for variant in filter(None, found["variant"].split("-")):
        yield "variant", variant
    for extension in re.findall(r"-([0-9a-wy-z](?:-[a-z0-9]{2,8})+)", found["extension"]):
        yield "extension", extension
    if found["private"]:
        yield "private-use", found["private"]


def _concept(tag: Tag) -> Concept:
    """Return the concept of a valid tag: 'German (Region=Switzerland)', 德语（地区=瑞士）."""
    names = [_registry().named(kind, subtag) for kind, subtag in tag.parts]
    display = _display(tag, [english for english, _ in names], 0, " ({})", ", ")
    designations = [Designation(_short(names), "en")] if len(names) > 1 else []
    # Other names of a language, "Castilian" beside "Spanish".
    designations += [Designation(other, "en") for other in _registry().others(tag)]
    if all(chinese for _, chinese in names):
        chinese = _display(tag, [chinese for _, chinese in names], 1, "（{}）", "，")
        designations.append(Designation(chinese, "zh-CN"))
        if len(names) > 1:
            first, *more = (name for _, name in names)
            designations.append(Designation(f"{first}（{'，'.join(more)}）", "zh-CN"))
    return Concept(
        code=tag.code,
        display=display,
        designations=designations,
        properties=[Property(kind, "string", subtag) for kind, subtag in tag.parts]
        + ([Property("status", "code", "deprecated")] if _registry().deprecated(tag) else []),
    )


def _display(tag: Tag, names: Sequence[str], which: int, wrap: str, comma: str) -> str:
    more = [
        f"{_NAMED[kind][which]}={name}"
        for (kind, _), name in zip(tag.parts[1:], names[1:], strict=True)
    ]
    return names[0] + (wrap.format(comma.join(more)) if more else "")


def _short(names: Sequence[tuple[str, str]]) -> str:
    first, *more = (english for english, _ in names)
    return f"{first} ({', '.join(more)})"


class _Registry:
    """The IANA registry of language subtags."""

    def __init__(self) -> None:
        facts = table("languages")
        self.version = facts.version
        self.whole: dict[str, tuple[str, _Subtag]] = {}  # grandfathered tags
        self.listed: list[str] = []
        self._subtags: dict[tuple[str, str], _Subtag] = {}
        for kind, code, names, chinese, _prefixes, preferred, deprecated, common in facts.rows:
            subtag = _Subtag(names.split("|"), chinese, preferred, bool(deprecated))
            if kind == "grandfathered":
                self.whole[code.lower()] = (code, subtag)
            elif kind != "redundant":
                self._subtags[kind, code.lower()] = subtag
            if common:
                self.listed.append(code)
        self.listed.sort()

    def has(self, kind: str, subtag: str) -> bool:
        """Say whether a subtag is registered, or one of private use."""
        low = subtag.lower()
        private = _PRIVATE_RANGES.get(kind)
        return (kind, low) in self._subtags or bool(private and private.fullmatch(low))

    def named(self, kind: str, subtag: str) -> tuple[str, str]:
        """Return the English and the Chinese name of a subtag; itself where nothing is named."""
        found = self._found(kind, subtag)
        if found is not None:
            return found.names[0], found.chinese
        return subtag, "" if kind == "language" else subtag

    def others(self, tag: Tag) -> Sequence[str]:
        """Return further names of a tag that is one language alone."""
        found = self._found(*tag.parts[0]) if len(tag.parts) == 1 else None
        return found.names[1:] if found else ()

    def deprecated(self, tag: Tag) -> bool:
        """Say whether a part of the tag should not be used any more."""
        return any(s is not None and s.deprecated for s in (self._found(*p) for p in tag.parts))

    def _found(self, kind: str, subtag: str) -> _Subtag | None:
        low = subtag.lower()
        if kind == "language" and low in self.whole:
            return self.whole[low][1]
        return self._subtags.get((kind, low))


@cache
def _registry() -> _Registry:
    return _Registry()


def names_of(tag: str) -> Mapping[str, str]:
    """Return the English and Chinese names of a language tag, {} when it is none."""
    found = _read(tag)
    if isinstance(found, str):
        return {}
    concept = _concept(found)
    chinese = [d.value for d in concept.designations if d.language == "zh-CN"]
    return {"en": concept.display or tag} | ({"zh": chinese[0]} if chinese else {})
