"""FHIR XML to FHIR JSON and back without loss: R4 xml.html, json.html.

Both ways go over the definitions: they give the order of the elements, which of them repeat, which
are attributes and which values are numbers. Numbers keep their text. XML that is not ours is not
trusted: a DOCTYPE is refused, entities are not resolved, nothing is loaded. What comes out of
`to_json` is JSON of the right shape, not yet valid R4: `validate` looks at it like at any other.

Knowingly not kept: comments and processing instructions outside narratives, and how a narrative
wrote its characters (`&quot;` or `"`). An order of elements other than that of the specification
is accepted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from copy import deepcopy
from functools import cache
from itertools import zip_longest
from typing import Any

import orjson
from lxml import etree

from app.errors import Malformed
from app.fhir import definitions, rules
from app.fhir.definitions import Member, Shape
from app.fhir.narrative import XHTML

Json = dict[str, Any]

FHIR = "http://hl7.org/fhir"

_PREFIX = f"{{{FHIR}}}"
_DIV = f"{{{XHTML}}}div"
_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
_RESOURCES = frozenset({"Resource", "DomainResource"})
_ESCAPES = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        "\t": "&#9;",
        "\n": "&#10;",
        "\r": "&#13;",
    }
)
_INTEGER = re.compile(r"\+?(-?(?:0|[1-9][0-9]*))")
# XML's lexical forms of the types that are not strings in JSON; group 1 is the JSON text.
_BARE_FORMS: Mapping[str, re.Pattern[str]] = {
    "boolean": re.compile("(true|false)"),
    "decimal": re.compile(r"(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"),
    "integer": _INTEGER,
    "positiveInt": _INTEGER,
    "unsignedInt": _INTEGER,
}


# --- to XML --------------------------------------------------------------------------------------


class _Number(str):
    """The text of a JSON number."""

    __slots__ = ()


def to_xml(body: bytes, *, pretty: bool = False) -> bytes:
    """Return a valid resource in JSON as XML (UTF-8). Raises Malformed for unknown members."""
    resource = json.loads(body, parse_float=_Number, parse_int=_Number)
    writer = _Writer("\n" if pretty else "")
    writer.resource(resource, 0, f' xmlns="{FHIR}"')
    return ('<?xml version="1.0" encoding="UTF-8"?>' + "".join(writer.parts) + "\n").encode()


class _Writer:
    """Writes XML in the order of the definitions. line: what begins a line, nothing if compact."""

    def __init__(self, line: str) -> None:
        self.parts: list[str] = []
        self._line = line

    def resource(self, value: Json, depth: int, namespace: str = "") -> None:
        name = value["resourceType"]
        shape = definitions.structure(name).shape
        self._open(f"{name}{namespace}", depth)
        self._members(value, shape, depth + 1)
        self._close(name, depth)

    def _open(self, tag: str, depth: int, end: str = ">") -> None:
        self.parts.append(f"{self._indent(depth)}<{tag}{end}")

    def _close(self, name: str, depth: int) -> None:
        self.parts.append(f"{self._indent(depth)}</{name}>")

    def _indent(self, depth: int) -> str:
        return self._line and self._line + "  " * depth

    def _members(self, value: Json, shape: Shape, depth: int) -> None:
        for member in _in_order(value, shape):
            values = _listed(value, member.name)
            beside = _listed(value, "_" + member.name)
            for one, extended in zip_longest(values, beside):
                self._element(member, one, extended or {}, depth)

    def _element(self, member: Member, value: Any, extended: Json, depth: int) -> None:
        name, shape = member.name, member.shape
        if member.type.code in _RESOURCES:
            self._open(name, depth)
            self.resource(value, depth + 1)
            self._close(name, depth)
            return
        if member.type.code == "xhtml":
            self.parts.append(f"{self._indent(depth)}{value.strip()}")
            return
        children = value if shape is not None else extended
        shape = shape or rules.element_shape()
        attributes = [(n, children[n]) for n in _attributes(shape) if n in children]
        if children is extended and value is not None:
            attributes.append(("value", value))
        tag = name + "".join(f' {n}="{_text(text)}"' for n, text in attributes)
        if children.keys() <= _attributes(shape):
            self._open(tag, depth, "/>")
            return
        self._open(tag, depth)
        self._members(children, shape, depth + 1)
        self._close(name, depth)


@cache
def _attributes(shape: Shape) -> Set[str]:
    """Return the members that are attributes in XML: ids of elements, Extension.url."""
    return {name: None for name, m in shape.members.items() if m.element.xml_attribute}.keys()


def _in_order(value: Json, shape: Shape) -> Iterator[Member]:
    """Yield the members that become elements, in the order of the specification."""
    order = _order(shape)
    names = {name.removeprefix("_") for name in value}
    if "resourceType" not in shape.members:  # ExampleScenario.instance has an element of the name
        names.discard("resourceType")
    try:
        ordered = sorted(names, key=order.__getitem__)
    except KeyError as exc:
        raise Malformed("A member is not known here.", at=shape.path) from exc
    for name in ordered:
        if name not in _attributes(shape):
            yield shape.members[name]


@cache
def _order(shape: Shape) -> dict[str, int]:
    return {name: place for place, name in enumerate(shape.members)}


def _listed(value: Json, name: str) -> list[Any]:
    found = value.get(name)
    if found is None:
        return []
    return found if type(found) is list else [found]


def _text(value: Any) -> str:
    if value is True or value is False:
        return "true" if value else "false"
    return str(value).translate(_ESCAPES)


# --- to JSON -------------------------------------------------------------------------------------

_PARSER = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    huge_tree=False,
    remove_pis=True,
)


def to_json(body: bytes) -> bytes:
    """Return a resource in XML as compact JSON.

    Raises Malformed, with the place, for what is no well-formed FHIR XML: a DOCTYPE, a foreign
    namespace, unknown elements and attributes, text between elements, an element too often,
    a number or boolean that is none.
    """
    root = _parse(body)
    try:
        return _resource_text(root, _local_name(root, "")).encode()
    except RecursionError as exc:  # over some 240 levels; lxml itself refuses 256
        raise Malformed("The body is nested too deeply.") from exc


def _parse(body: bytes) -> etree._Element:
    if b"<!DOCTYPE" in body:
        raise Malformed("A DOCTYPE is not allowed in FHIR XML.")
    try:
        root = etree.fromstring(body, _PARSER)
    except (etree.XMLSyntaxError, ValueError) as exc:
        raise Malformed("The body is not well-formed XML.") from exc
    if root.getroottree().docinfo.internalDTD is not None:  # hidden by another encoding
        raise Malformed("A DOCTYPE is not allowed in FHIR XML.")
    return root


def _local_name(node: etree._Element, at: str) -> str:
    """Return the name of an element in FHIR's namespace (or of a narrative's div)."""
    tag = str(node.tag)
    if tag.startswith(_PREFIX):
        return tag[len(_PREFIX) :]
    if tag == _DIV:
        return "div"
    raise Malformed("An element is not in the namespace of FHIR.", at=at or None)


def _resource_text(node: etree._Element, at: str) -> str:
    name = _local_name(node, at)
    if not definitions.is_resource_type(name):
        raise Malformed("This is no resource type of R4.", at=at)
    _check_attributes(node, frozenset(), at)
    members = _members_text(node, definitions.structure(name).shape, at)
    return "{" + ",".join([f'"resourceType":"{name}"', *members]) + "}"


def _members_text(node: etree._Element, shape: Shape, at: str) -> list[str]:
    """Return `"name":value` for the children of an element, in their order."""
    if (node.text or "").strip():
        raise Malformed("Text is not allowed here: FHIR has values in attributes.", at=at)
    groups: dict[str, list[etree._Element]] = {}
    for child in node:
        if type(child.tag) is not str:  # a comment
            if isinstance(child, etree._Entity):
                raise Malformed("An entity is not resolved.", at=at)
        else:
            groups.setdefault(_local_name(child, at), []).append(child)
        if (child.tail or "").strip():
            raise Malformed("Text is not allowed here: FHIR has values in attributes.", at=at)
    found: list[str] = []
    for name, nodes in groups.items():
        member = shape.members.get(name)
        if member is None or name in _attributes(shape):
            raise Malformed("This element is not known here.", at=f"{at}.{name}")
        if len(nodes) > 1 and not member.element.is_list:
            raise Malformed("This element may stand only once.", at=f"{at}.{name}")
        found += _member_text(member, nodes, f"{at}.{member.element.name}")
    return found


def _member_text(member: Member, nodes: Sequence[etree._Element], at: str) -> Iterator[str]:
    """Yield `"name":value` and, where a primitive has id or extensions, `"_name":...`."""
    places = [f"{at}[{index}]" if member.element.is_list else at for index in range(len(nodes))]
    if member.is_primitive and member.type.code != "xhtml":
        pairs = [_primitive_texts(member, n, p) for n, p in zip(nodes, places, strict=True)]
        values, beside = [value for value, _ in pairs], [extended for _, extended in pairs]
        for name, found in ((member.name, values), ("_" + member.name, beside)):
            if any(text is not None for text in found):
                yield f'"{name}":{_array(member, [text or "null" for text in found])}'
        return
    texts = [_object_text(member, n, p) for n, p in zip(nodes, places, strict=True)]
    yield f'"{member.name}":{_array(member, texts)}'


def _array(member: Member, texts: Sequence[str]) -> str:
    return f"[{','.join(texts)}]" if member.element.is_list else texts[0]


def _object_text(member: Member, node: etree._Element, at: str) -> str:
    if member.type.code == "xhtml":
        return _div_text(node, at)
    if member.type.code in _RESOURCES:
        return _nested_text(node, at)
    shape = member.shape
    if shape is None:
        raise Malformed("This element has no content in R4.", at=at)
    _check_attributes(node, _attributes(shape), at)
    given = [(name, node.get(name)) for name in _attributes(shape)]
    found = [f'"{name}":{_string(str(value))}' for name, value in given if value is not None]
    return "{" + ",".join(found + _members_text(node, shape, at)) + "}"


def _primitive_texts(
    member: Member, node: etree._Element, at: str
) -> tuple[str | None, str | None]:
    """Return the JSON of the value and that of id and extensions, None where there is none."""
    _check_attributes(node, frozenset({"id", "value"}), at)
    beside = _members_text(node, rules.element_shape(), at)
    value, id_ = node.get("value"), node.get("id")
    if id_ is not None:
        beside.insert(0, f'"id":{_string(str(id_))}')
    if value is None and not beside:
        raise Malformed("ele-1: an element needs a value or children.", at=at)
    text = None if value is None else _value_text(member.type.code, str(value), at)
    return text, "{" + ",".join(beside) + "}" if beside else None


def _value_text(code: str, value: str, at: str) -> str:
    form = _BARE_FORMS.get(code)
    if form is None:
        return _string(value)
    match = form.fullmatch(value)
    if match is None:
        raise Malformed(f"The value is not of the type {code}.", at=at)
    return match[1]


def _nested_text(node: etree._Element, at: str) -> str:
    _check_attributes(node, frozenset(), at)
    inner = [child for child in node if type(child.tag) is str]
    if len(inner) != 1:
        raise Malformed("Exactly one resource is expected here.", at=at)
    return _resource_text(inner[0], at)


def _div_text(node: etree._Element, at: str) -> str:
    if node.tag != _DIV:
        raise Malformed("A narrative is a div of XHTML.", at=at)
    div = deepcopy(node)
    div.tail = None
    etree.cleanup_namespaces(div)
    return _string(etree.tostring(div, encoding="unicode"))


def _check_attributes(node: etree._Element, allowed: Set[str], at: str) -> None:
    for name in node.keys():  # noqa: SIM118 - an element is no dict: it yields its children
        if name not in allowed and not str(name).startswith(_XSI):
            raise Malformed("This attribute is not known here.", at=at)


def _string(value: str) -> str:
    return orjson.dumps(value).decode()
