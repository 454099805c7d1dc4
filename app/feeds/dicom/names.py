"""Person names of DICOM as HumanName.

PS3.5 6.2.1.2; R4 datatypes.html#HumanName, extension iso21090-EN-representation: the ideographic
group is IDE, the phonetic one SYL. A Chinese name that came without "^" is split by the list of
compound surnames (复姓).
"""

from __future__ import annotations

from typing import Any, Final

from app.feeds.dicom.values import NameGroup, PersonName

REPRESENTATION: Final = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"

# The compound surnames in use (of about eighty that are known), two characters each.
_SURNAMES: Final = (
    "欧阳司马诸葛上官皇甫尉迟公孙慕容令狐司徒东方南宫西门夏侯长孙宇文轩辕端木百里呼延"
    "独孤闻人澹台公冶宗政濮阳淳于单于太叔申屠仲孙钟离鲜于闾丘司空亓官司寇赫连拓跋万俟乐正第五"
    "東方歐陽司馬諸葛尉遲公孫南宮西門長孫軒轅獨孤"
)
COMPOUND_SURNAMES: Final = frozenset(_SURNAMES[at : at + 2] for at in range(0, len(_SURNAMES), 2))


def human_names(name: PersonName) -> list[dict[str, Any]]:
    """Return one HumanName per component group that is not empty."""
    groups = ((name.alphabetic, None), (name.ideographic, "IDE"), (name.phonetic, "SYL"))
    return [_human_name(group, code) for group, code in groups if group]


def plain_name(name: PersonName) -> str:
    """Return the name as one text, by which people without a number are told apart."""
    group = name.ideographic or name.alphabetic or name.phonetic
    return " ".join((group.text if group else "").replace("^", " ").split())


def _human_name(group: NameGroup, representation: str | None) -> dict[str, Any]:
    human: dict[str, Any] = {}
    if representation:
        human["extension"] = [{"url": REPRESENTATION, "valueCode": representation}]
    human["text"] = _text(group)
    family, given = group.family, list(group.given)
    if not group.structured and _is_han(group.text):
        family, first = split_han(group.text)
        given = [first] if first else []
    if family:
        human["family"] = family
    if given:
        human["given"] = given
    if group.prefix:
        human["prefix"] = list(group.prefix)
    if group.suffix:
        human["suffix"] = list(group.suffix)
    return human


def split_han(text: str) -> tuple[str, str]:
    """Return family and given name of a Chinese name in one piece."""
    size = 2 if text[:2] in COMPOUND_SURNAMES and len(text) > 2 else 1
    return text[:size], text[size:]


def _text(group: NameGroup) -> str:
    """Return the name as people write it: Han without spaces, others given name first."""
    if not group.structured:
        return group.text
    if _is_han(group.family):
        return group.family + "".join(group.given)
    parts = (*group.prefix, *group.given, group.family, *group.suffix)
    return " ".join(part for part in parts if part)


def _is_han(text: str) -> bool:
    return bool(text) and all("\u3400" <= sign <= "\u9fff" or sign == "·" for sign in text)
