"""YAML as plain values that remember their lines.

YAML 1.1 as PyYAML reads it (safe subset), narrowed: keys are always text, a plain scalar is a
number or `true`/`false` only when it looks like nothing else, so that `NO`, `on`, `.1` and dates
stay text; a key given twice is an error.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import yaml

from app.errors import Invalid, Malformed

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
_WORDS: dict[str, Any] = {"true": True, "false": False, "~": None, "null": None, "": None}
_MAX_DEPTH = 60
# What those who write a mapping did when the parser says this.
_INDENTED = ": look at how far this line, and those above, are indented"
_QUOTED = ": inside brackets a formula that holds a comma, a bracket or a colon stands in quotes"
_HINTS = {
    "did not find expected '-' indicator": _INDENTED,
    "did not find expected key": _INDENTED,
    "mapping values are not allowed in this context": _INDENTED,
    "did not find expected ',' or '}'": _QUOTED,
    "did not find expected ',' or ']'": _QUOTED,
    "found character that cannot start any token": (
        ": lines are indented with blanks, never tabs; text that begins with ` @ or % stands in "
        "quotes"
    ),
}


class Block(dict[str, Any]):
    """A YAML mapping: `line` where it begins, `lines` of its keys.

    file, files: where it, or a key that an overlay brought, stands; set when files are merged.
    """

    line: int = 0
    lines: dict[str, int]
    file: str
    files: dict[str, str]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.lines = {}
        self.file = ""
        self.files = {}


class Items(list[Any]):
    """A YAML sequence with the lines of its items (and files, when an overlay appended some)."""

    line: int = 0
    lines: list[int]
    files: list[str]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.lines = []
        self.files = []


def parse(text: str, name: str) -> Any:
    """Return the document in `text`; `name` is the file name for errors.

    Raises Malformed when it is no YAML, Invalid for a key given twice or aliases.
    """
    try:
        node = yaml.compose(text, Loader=Loader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(exc, "problem", None) or "it cannot be read"
        text = f"not YAML: {problem}{_HINTS.get(problem, '')}"
        raise Malformed(text, at=f"{name}:{line}") from exc
    return None if node is None else _value(node, name, 0)


def _value(node: Any, name: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise Invalid("nested too deeply", at=f"{name}:{node.start_mark.line + 1}")
    if isinstance(node, yaml.MappingNode):
        return _block(node, name, depth)
    if isinstance(node, yaml.SequenceNode):
        items = Items(_value(item, name, depth + 1) for item in node.value)
        items.line = node.start_mark.line + 1
        items.lines = [item.start_mark.line + 1 for item in node.value]
        return items
    return _scalar(node)


def _block(node: Any, name: str, depth: int) -> Block:
    block = Block()
    block.line = node.start_mark.line + 1
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise Invalid("a key has to be text", at=f"{name}:{line}")
        if key.value in block:
            raise Invalid(f"key `{key.value}` is given twice", at=f"{name}:{line}")
        block[key.value] = _value(value, name, depth + 1)
        block.lines[key.value] = line
    return block


def _scalar(node: Any) -> Any:
    text: str = node.value
    if node.style:  # quoted or block text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return Decimal(text)
    return text
