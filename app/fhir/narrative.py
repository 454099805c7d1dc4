"""Says whether the xhtml of a Narrative.div is one: R4 narrative.html#xhtml, txt-1 and txt-2.

Well-formed XML whose root is `div` in the XHTML namespace, basic formatting elements and
attributes only, no scripts, no DOCTYPE, no entities but XML's own, and something to see.
"""

from __future__ import annotations

from lxml import etree

XHTML = "http://www.w3.org/1999/xhtml"

_PREFIX = f"{{{XHTML}}}"
_ELEMENTS = frozenset(
    _PREFIX + name
    for name in (
        *("a", "abbr", "acronym", "b", "big", "blockquote", "br", "caption", "cite", "code"),
        *("col", "colgroup", "dd", "dfn", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5"),
        *("h6", "hr", "i", "img", "li", "ol", "p", "pre", "q", "samp", "small", "span"),
        *("strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "tt"),
        *("ul", "var"),
    )
)
_ATTRIBUTES = frozenset(
    (
        *("abbr", "accesskey", "align", "alt", "axis", "bgcolor", "border", "cellhalign"),
        *("cellpadding", "cellspacing", "cellvalign", "char", "charoff", "charset", "cite"),
        *("class", "colspan", "compact", "coords", "dir", "frame", "headers", "height", "href"),
        *("hreflang", "hspace", "id", "lang", "longdesc", "name", "nowrap", "rel", "rev"),
        *("rowspan", "rules", "scope", "shape", "span", "src", "start", "style", "summary"),
        *("tabindex", "title", "type", "valign", "value", "vspace", "width"),
        "{http://www.w3.org/XML/1998/namespace}lang",
    )
)
_ACTIVE_SCHEMES = ("javascript:", "vbscript:", "data:text")
_LINKS = ("href", "src")

_PARSER = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    huge_tree=False,
    remove_comments=True,
)


def is_narrative(text: object) -> bool:
    """Say whether the value is the text of a div that a Narrative may hold."""
    if type(text) is not str or "<!DOCTYPE" in text or "<?" in text:
        return False
    try:
        root = etree.fromstring(text.strip().encode(), _PARSER)
    except (etree.XMLSyntaxError, UnicodeEncodeError):
        return False
    if root.tag != _PREFIX + "div" or root.getprevious() is not None:
        return False
    return all(_is_basic(element) for element in root.iter()) and _shows_something(root)


def _is_basic(element: etree._Element) -> bool:
    if element.tag not in _ELEMENTS:  # processing instructions and entities have no name
        return False
    return all(
        name in _ATTRIBUTES and not (name in _LINKS and _is_active(str(value)))
        for name, value in element.items()
    )


def _is_active(link: str) -> bool:
    scheme = "".join(c for c in link if c > " ").lower()
    return scheme.startswith(_ACTIVE_SCHEMES)


def _shows_something(root: etree._Element) -> bool:
    """txt-2: text that is not only whitespace, or an image."""
    return any(t.strip() for t in root.itertext()) or root.find(f".//{_PREFIX}img") is not None
