"""JSON Patch: RFC 6902 with JSON Pointer (RFC 6901), on JSON whose numbers keep their text.

`tree` reads a document so that `text` gives every number back as it was written; two numbers are
equal if their values are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from decimal import Decimal
from typing import Any

import msgspec

from app.errors import Malformed, Unprocessable

Json = Any  # dict, list, str, bool, None or Number


class Number(str):
    """A number as it was written."""

    __slots__ = ()


def tree(document: bytes) -> Json:
    """Return parsed JSON with `Number` for numbers. Raises Malformed."""
    try:
        return json.loads(document, parse_float=Number, parse_int=Number, parse_constant=_refuse)
    except RecursionError as exc:
        raise Malformed("The JSON is nested too deeply") from exc
    except ValueError as exc:
        raise Malformed("The body is not valid JSON in UTF-8") from exc


def text(tree: Json) -> bytes:
    """Return the JSON of a tree."""
    return msgspec.json.encode(_plain(tree))


def apply(document: Json, patch: Json) -> Json:
    """Return the document with all operations done in order; the given one is left as it is.

    Raises Malformed for what is no patch, Unprocessable for an operation that cannot be done.
    """
    if not isinstance(patch, list):
        raise Malformed("A JSON Patch is an array of operations")
    result = deepcopy(document)
    for index, operation in enumerate(patch):
        result = _applied(result, operation, f"$[{index}]")
    return result


def _refuse(_: str) -> Json:
    raise ValueError("NaN and Infinity are no JSON")


def _plain(value: Json) -> Any:
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return msgspec.Raw(value.encode()) if isinstance(value, Number) else value


def _applied(document: Json, operation: Json, at: str) -> Json:
    if not isinstance(operation, dict) or not isinstance(operation.get("op"), str):
        raise Malformed("Not a JSON Patch operation", at=at)
    work = _OPERATIONS.get(operation["op"])
    if work is None:
        raise Malformed("There is no such JSON Patch operation", at=f"{at}.op")
    return work(document, operation, at)


def _add(document: Json, operation: Mapping[str, Json], at: str) -> Json:
    return _put(document, _pointer(operation, "path", at), _value(operation, at), at)


def _remove(document: Json, operation: Mapping[str, Json], at: str) -> Json:
    return _cut(document, _pointer(operation, "path", at), at)[0]


def _replace(document: Json, operation: Mapping[str, Json], at: str) -> Json:
    path = _pointer(operation, "path", at)
    value = _value(operation, at)
    if not path:
        return value
    parent = _find(document, path[:-1], at)
    key = _existing(parent, path[-1], at)
    parent[key] = value
    return document


def _move(document: Json, operation: Mapping[str, Json], at: str) -> Json:
    source, path = _pointer(operation, "from", at), _pointer(operation, "path", at)
    if path[: len(source)] == source and path != source:
        raise Unprocessable("A value cannot be moved into itself", at=f"{at}.path")
    document, value = _cut(document, source, at)
    return _put(document, path, value, at)


def _copy(document: Json, operation: Mapping[str, Json], at: str) -> Json:
    value = deepcopy(_find(document, _pointer(operation, "from", at), at))
    return _put(document, _pointer(operation, "path", at), value, at)


def _test(document: Json, operation: Mapping[str, Json], at: str) -> Json:
    found = _find(document, _pointer(operation, "path", at), at)
    if not equal(found, _value(operation, at)):
        raise Unprocessable("The test of the patch does not hold", at=at)
    return document


_OPERATIONS: Mapping[str, Callable[[Json, Mapping[str, Json], str], Json]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}


def equal(one: Json, other: Json) -> bool:
    """Say whether two values are equal: numbers by value, objects in any order (section 4.6)."""
    if isinstance(one, Number) and isinstance(other, Number):
        return Decimal(one) == Decimal(other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def _value(operation: Mapping[str, Json], at: str) -> Json:
    if "value" not in operation:
        raise Malformed("The operation has no value", at=at)
    return operation["value"]


def _pointer(operation: Mapping[str, Json], name: str, at: str) -> list[str]:
    """Return the parts of a JSON Pointer."""
    given = operation.get(name)
    if not isinstance(given, str) or (given and not given.startswith("/")):
        raise Malformed("Not a JSON Pointer", at=f"{at}.{name}")
    return [part.replace("~1", "/").replace("~0", "~") for part in given.split("/")[1:]]


def _find(document: Json, path: list[str], at: str) -> Json:
    for part in path:
        document = document[_existing(document, part, at)]
    return document


def _existing(parent: Json, part: str, at: str) -> Any:
    """Return the key of something that is there. Raises Unprocessable."""
    if isinstance(parent, dict) and part in parent:
        return part
    if isinstance(parent, list):
        index = _index(part, at)
        if index < len(parent):
            return index
    raise Unprocessable("The path of the operation leads nowhere", at=at)


def _index(part: str, at: str) -> int:
    if not (part.isascii() and part.isdigit()) or (part[0] == "0" and part != "0"):
        raise Unprocessable("Not an index of an array", at=at)
    return int(part[:9])


def _put(document: Json, path: list[str], value: Json, at: str) -> Json:
    if not path:
        return value
    parent = _find(document, path[:-1], at)
    part = path[-1]
    if isinstance(parent, dict):
        parent[part] = value
    elif isinstance(parent, list):
        index = len(parent) if part == "-" else _index(part, at)
        if index > len(parent):
            raise Unprocessable("The index is beyond the end of the array", at=at)
        parent.insert(index, value)
    else:
        raise Unprocessable("The path of the operation leads nowhere", at=at)
    return document


def _cut(document: Json, path: list[str], at: str) -> tuple[Json, Json]:
    """Return the document without what the path points to, and that."""
    if not path:
        return None, document
    parent = _find(document, path[:-1], at)
    return document, parent.pop(_existing(parent, path[-1], at))
