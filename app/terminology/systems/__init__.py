"""Code systems that are built in: grammars (UCUM, BCP-47, MIME types) and published lists.

`special(url)` returns them; `Specials` is the source of them for a catalogue. They never change
while a process runs, so each is made once, when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from app.terminology.systems import languages, lists, mime, ucum
from app.terminology.systems.grammar import common_value_set
from app.terminology.types import Json, System

_GRAMMARS: Mapping[str, Callable[[], System]] = {
    ucum.URL: ucum.Ucum,
    languages.URL: languages.LanguageTags,
    mime.URL: mime.MimeTypes,
}


def special(url: str) -> Sequence[System]:
    """Return the built-in code system of a url; none for any other url."""
    return (_made(url),) if url in _GRAMMARS or url in lists.LISTS else ()


def urls() -> Sequence[str]:
    """Return the urls of all built-in code systems."""
    return [*_GRAMMARS, *lists.LISTS]


@cache
def _made(url: str) -> System:
    """Return one of them; asked for known urls only, so the cache is bounded."""
    make = _GRAMMARS.get(url)
    return make() if make is not None else lists.made(url)


@cache
def _common() -> Mapping[str, Sequence[Json]]:
    """Return the value sets of common codes that come with the grammars."""
    return {
        url: (common_value_set(url, name, system, special(system)[0].children(None)),)
        for url, name, system in (
            (languages.LanguageTags.common, "CommonLanguages", languages.URL),
            (mime.MimeTypes.common, "CommonMimeTypes", mime.URL),
        )
    }


class Specials:
    """The built-in code systems and their maps, as one source of a catalogue."""

    def systems(self, url: str) -> Sequence[System]:
        """Return the built-in code system of that url."""
        return special(url)

    def value_sets(self, url: str) -> Sequence[Json]:
        """Return the value set that lists the common codes of a grammar, where R4 has none."""
        return _common().get(url, ())

    def concept_maps(
        self, *, url: str | None = None, source: str | None = None, target: str | None = None
    ) -> Sequence[Json]:
        """Return nothing."""
        return ()

    def supplements(self, url: str) -> Sequence[System]:
        """Return nothing."""
        return ()

    def headers(self) -> Sequence[Json]:
        """Return the headers of all built-in code systems."""
        return [system.header for url in urls() for system in special(url)]
