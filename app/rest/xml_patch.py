"""XML Patch: RFC 5261 on the XML form of a resource. R4 http.html#patch.

`sel` is an XPath 1.0 expression that has to select exactly one node (section 4.1). Namespaces are
those in scope in the patch; an unprefixed name means FHIR. Left out, because it can cost without
limit: `//`, axes and predicates within predicates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from lxml import etree

from app.errors import Malformed, Unprocessable
from app.fhir import xml

_SEL_MAX = 1000
# What could look at the whole document for each of its nodes.
_COSTLY = re.compile(r"//|::|\[[^\]]*\[")
_BARE_NAME = re.compile(r"(?<![\w:@$.-])(?=[A-Za-z_])([A-Za-z_][\w.-]*)(?![\w.-]*[:(])")
_WORDS = frozenset(("and", "or", "div", "mod"))
_LITERAL = re.compile(r"(\"[^\"]*\"|'[^']*')")

Node = Any  # an element, or lxml's text of an attribute


def apply(resource: bytes, patch: bytes) -> bytes:
    """Return the XML of a resource with the patch applied.

    Raises Malformed for what is no patch, Unprocessable for an operation that cannot be done.
    """
    root = _parse(resource)
    operations = [node for node in _parse(patch) if isinstance(node.tag, str)]
    for index, operation in enumerate(operations, 1):
        at = f"/diff/*[{index}]"
        work = _OPERATIONS.get(etree.QName(operation).localname)
        if work is None:
            raise Malformed("There is no such operation of an XML Patch", at=at)
        work(operation, _selected(root, operation, at), at)
    patched: bytes = etree.tostring(root, encoding="utf-8")
    return patched


def _parse(body: bytes) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as exc:
        raise Malformed("The body is not well-formed XML") from exc
    if b"<!DOCTYPE" in body or root.getroottree().docinfo.internalDTD is not None:
        raise Malformed("A DOCTYPE is not allowed")
    return root


def _selected(root: etree._Element, operation: etree._Element, at: str) -> Node:
    """Return the one node that `sel` selects."""
    sel = operation.get("sel", "")
    if not sel or len(sel) > _SEL_MAX or _COSTLY.search(_LITERAL.sub("", sel)):
        raise Malformed("The operation has no usable sel", at=at)
    prefixes = {prefix: uri for prefix, uri in operation.nsmap.items() if prefix}
    prefixes["fhir.default"] = xml.FHIR
    path = _qualified(sel if sel.startswith("/") else f"/{sel}")
    try:
        found = root.getroottree().xpath(path, namespaces=prefixes)
    except etree.XPathError as exc:
        raise Malformed("The sel is not XPath", at=at) from exc
    if not isinstance(found, list) or len(found) != 1:
        raise Unprocessable("The sel has to select exactly one node", at=at)
    return found[0]


def _qualified(path: str) -> str:
    """Return the path with names that have no prefix in FHIR's namespace."""

    def qualify(match: re.Match[str]) -> str:
        return match[1] if match[1] in _WORDS else f"fhir.default:{match[1]}"

    pieces = _LITERAL.split(path)  # text between quotes stays as it is
    return "".join(p if i % 2 else _BARE_NAME.sub(qualify, p) for i, p in enumerate(pieces))


def _add(operation: etree._Element, node: Node, at: str) -> None:
    """Add children (`pos`: prepend, before, after; else append) or an attribute (`type`)."""
    if not isinstance(node, etree._Element):
        raise Unprocessable("Only an element can be added to", at=at)
    kind = operation.get("type", "")
    if kind.startswith("@"):
        node.set(kind[1:], operation.text or "")
        return
    children = [deepcopy(child) for child in operation]
    position = operation.get("pos")
    if position == "prepend":
        node[0:0] = children
    elif position in ("before", "after"):
        parent = node.getparent()
        if parent is None:
            raise Unprocessable("The root has no neighbours", at=at)
        place = parent.index(node) + (position == "after")
        parent[place:place] = children
    elif position is None:
        node.extend(children)
    else:
        raise Malformed("There is no such pos", at=at)


def _replace(operation: etree._Element, node: Node, at: str) -> None:
    if not isinstance(node, etree._Element):
        _holder(node, at).set(node.attrname, operation.text or "")
        return
    parent = node.getparent()
    if len(operation) != 1 or parent is None:
        raise Unprocessable("An element is replaced by exactly one other", at=at)
    parent.replace(node, deepcopy(operation[0]))


def _remove(operation: etree._Element, node: Node, at: str) -> None:
    if not isinstance(node, etree._Element):
        del _holder(node, at).attrib[node.attrname]
        return
    parent = node.getparent()
    if parent is None:
        raise Unprocessable("The resource itself cannot be removed", at=at)
    parent.remove(node)


def _holder(node: Node, at: str) -> etree._Element:
    """Return the element whose attribute was selected."""
    if not getattr(node, "is_attribute", False):
        raise Unprocessable("The sel has to select an element or attribute", at=at)
    holder: etree._Element = node.getparent()
    return holder


_OPERATIONS: Mapping[str, Callable[[etree._Element, Node, str], None]] = {
    "add": _add,
    "replace": _replace,
    "remove": _remove,
}
