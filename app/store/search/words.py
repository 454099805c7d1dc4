"""`_text` and `_content`: words in the narrative or anywhere. R4 search.html#content.

A word is found anywhere, case and accents aside, so that one Chinese character finds its text.
All words have to be there; OR between them means either side. There is no index: the other
parameters name the candidates and their bodies are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lxml import etree

from app.errors import Invalid
from app.fhir.strings import fold
from app.store.search.conditions import All, Condition
from app.store.search.parse import unescape

Words = list[list[str]]  # one of the lists has to be there whole


def in_narrative(value: str) -> Condition:
    """Return the condition that the narrative has the words."""
    return _condition(value, lambda resource: [_narrative(resource)])


def in_content(value: str) -> Condition:
    """Return the condition that the resource's texts, narrative included, have the words."""
    return _condition(value, lambda resource: [_narrative(resource), *_texts(resource)])


def _condition(value: str, texts: Callable[[Mapping[str, Any]], list[str]]) -> Condition:
    wanted = _parse(unescape(value))

    def verify(type_name: str, resource: Mapping[str, Any]) -> bool:
        whole = fold("\n".join(texts(resource)))
        return any(all(word in whole for word in words) for words in wanted)

    condition = All([])
    condition.verify = verify
    return condition


def _parse(text: str) -> Words:
    wanted: Words = [[]]
    for word in text.replace('"', " ").split():
        if word == "OR":
            wanted.append([])
        elif word != "AND":
            wanted[-1].append(fold(word))
    if not all(wanted):
        raise Invalid("no words to look for", at="http._text")
    return wanted


def _narrative(resource: Mapping[str, Any]) -> str:
    div = resource.get("text", {}).get("div")
    if not div:
        return ""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    return " ".join(str(part) for part in etree.fromstring(div.encode(), parser).itertext())


def _texts(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _texts(member, key)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member, name)
    elif isinstance(value, str) and name not in ("div", "id", "reference", "url", "system", "data"):
        yield value
