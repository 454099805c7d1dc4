"""Functions of the language that mean the same for every feed.

Dates as a feed writes them and names of code systems are the feeds' own: each `Source` brings a
table like the one at the end of this module.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from app.fhir.ids import encode_part
from app.mapping.source import Function

_NUMBER = re.compile(
    r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?"
)
_MOST_DIGITS = 300  # before or behind the point: more is no number that JSON readers can hold
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")


def number(value: Any, _: Any = None) -> Decimal | None:
    """Return the number that `value` is, with its digits as written; None when it is none."""
    if value.__class__ is str and _PLAIN.fullmatch(value):  # nearly all
        return Decimal(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, Decimal)):
        return Decimal(value)
    text = str(value).strip()
    if _PLAIN.fullmatch(text):
        return Decimal(text)
    if not _NUMBER.fullmatch(text):
        return None
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if abs(found.adjusted()) <= _MOST_DIGITS else None


def integer(value: Any, _: Any = None) -> int | None:
    found = number(value)
    if found is None or found != found.to_integral_value() or abs(found) > 2147483647:
        return None
    return int(found)


def _natural(value: Any, _: Any) -> int | None:
    found = integer(value)
    return found if found is not None and found >= 0 else None


def _positive(value: Any, _: Any) -> int | None:
    found = integer(value)
    return found if found is not None and found > 0 else None


def _arithmetic(work: Callable[[Decimal, Decimal], Decimal]) -> Callable[..., Decimal | None]:
    def apply(value: Any, _: Any, by: Any) -> Decimal | None:
        left, right = number(value), number(by)
        if left is None or right is None:
            return None
        try:
            return plain(work(left, right))
        except (InvalidOperation, ZeroDivisionError):
            return None

    return apply


def plain(value: Decimal) -> Decimal:
    """Return the number without an exponent, as JSON readers like it best."""
    return value if "E" not in str(value) else Decimal(format(value, "f"))


def _round(value: Any, _: Any, places: Any) -> Decimal | None:
    found, digits = number(value), integer(places)
    if found is None or digits is None:
        return None
    try:
        return found.quantize(Decimal(1).scaleb(-digits))
    except InvalidOperation:  # more digits than the arithmetic keeps
        return None


def _concat(_: Any, __: Any, *parts: Any) -> str | None:
    return None if any(part is None for part in parts) else "".join(str(part) for part in parts)


def _together(_: Any, __: Any, *parts: Any) -> str | None:
    return "".join(str(part) for part in parts if part is not None) or None


def _join(values: list[Any], _: Any, separator: Any = " ") -> str | None:
    return str(separator).join(str(value) for value in values if value is not None) or None


def _replace(value: Any, _: Any, pattern: str, by: str) -> str | None:
    return re.sub(pattern, by, str(value)) or None


def _extract(value: Any, _: Any, pattern: str) -> str | None:
    found = re.search(pattern, str(value))
    if found is None:
        return None
    return found[1] if found.re.groups else found[0]


def _part(value: Any, _: Any, separator: Any, index: Any) -> str | None:
    at = integer(index)
    parts = str(value).split(str(separator)) if separator else []
    return parts[at].strip() or None if at is not None and -len(parts) <= at < len(parts) else None


def _parts(value: Any, _: Any, separator: Any = None) -> list[str]:
    parts = str(value).split(None if separator is None else str(separator))
    return [part.strip() for part in parts if part.strip()]


def _boolean(value: Any, _: Any) -> bool | None:
    return {
        "Y": True,
        "YES": True,
        "TRUE": True,
        "1": True,
        "是": True,
        "N": False,
        "NO": False,
        "FALSE": False,
        "0": False,
        "否": False,
    }.get(str(value).strip().upper())


def _text(value: Any, _: Any) -> str | None:
    """Return a value as text; an object or a list (of JSON) is none."""
    if isinstance(value, (dict, list)):
        return None
    return str(value).lower() if isinstance(value, bool) else str(value) or None


def _base64(value: Any, _: Any) -> str:
    return base64.b64encode(str(value).encode()).decode()


def _omit(value: Any, _: Any, *unwanted: Any) -> Any:
    return None if value in unwanted else value


def _if_then(_: Any, __: Any, then: Any) -> Any:
    return then


def _unless(value: Any, _: Any, other: Any) -> Any:
    return value if other is None else None


def _count(values: list[Any], _: Any) -> int:
    return len(values)


def _distinct(values: list[Any], _: Any) -> list[Any]:
    out: list[Any] = []
    for value in values:
        if value not in out:
            out.append(value)
    return out


def unfit(function: Function, given: Sequence[Any]) -> Iterator[str]:
    """Say what is wrong with the constants given to a function; None: not known before."""
    for number_, (kind, value) in enumerate(zip(function.kinds, given, strict=False), 1):
        problem = _KINDS[kind](value, given)
        if problem:
            yield f"cannot take its argument {number_}: {problem}"


def _no_text(value: Any, _: Sequence[Any]) -> str | None:
    return None if value is None or (isinstance(value, str) and value) else 'it is a text, as "/"'


def _no_integer(value: Any, _: Sequence[Any]) -> str | None:
    return None if value is None or integer(value) is not None else "it is a whole number, as 0"


def _no_number(value: Any, _: Sequence[Any]) -> str | None:
    return None if value is None or number(value) is not None else "it is a number"


def no_pattern(value: Any, _: Sequence[Any] = ()) -> str | None:
    """Say why a value is no regular expression; None when it is one."""
    if not isinstance(value, str):
        return "a pattern is a constant text"
    try:
        re.compile(value)
    except re.error as exc:
        return f"no pattern: {exc}"
    return None


def _no_template(value: Any, given: Sequence[Any]) -> str | None:
    if not isinstance(value, str):
        return "what replaces is a constant text"
    try:
        re.sub(given[0], value, "")
    except (re.error, IndexError) as exc:
        return str(exc)
    return None


_KINDS: dict[str, Callable[[Any, Sequence[Any]], str | None]] = {
    "text": _no_text,
    "integer": _no_integer,
    "number": _no_number,
    "pattern": no_pattern,
    "template": _no_template,
}

FUNCTIONS: dict[str, Function] = {
    "number": Function(number, type="decimal"),
    "integer": Function(integer, type="integer"),
    "natural": Function(_natural, type="unsignedInt"),
    "positive": Function(_positive, type="positiveInt"),
    "times": Function(
        _arithmetic(lambda a, b: a * b), type="decimal", args=(1, 1), kinds=("number",)
    ),
    "plus": Function(
        _arithmetic(lambda a, b: a + b), type="decimal", args=(1, 1), kinds=("number",)
    ),
    "minus": Function(
        _arithmetic(lambda a, b: a - b), type="decimal", args=(1, 1), kinds=("number",)
    ),
    "over": Function(
        _arithmetic(lambda a, b: a / b), type="decimal", args=(1, 1), kinds=("number",)
    ),
    "round": Function(_round, type="decimal", args=(1, 1), kinds=("integer",)),
    "boolean": Function(_boolean, type="boolean"),
    "text": Function(_text, type="string"),
    # A FHIR code: no blanks at its ends, single ones inside.
    "code-text": Function(lambda value, _: " ".join(str(value).split()) or None, type="code"),
    "id-text": Function(lambda value, _: value if _ID.fullmatch(str(value)) else None, type="id"),
    "upper": Function(lambda value, _: str(value).upper(), type="string"),
    "lower": Function(lambda value, _: str(value).lower(), type="string"),
    "trim": Function(lambda value, _: str(value).strip() or None, type="string"),
    "concat": Function(_concat, takes="none", type="string", args=(1, 20)),
    "together": Function(_together, takes="none", type="string", args=(1, 20)),
    "prefix": Function(lambda value, _, text: f"{text}{value}", type="string", args=(1, 1)),
    "suffix": Function(lambda value, _, text: f"{value}{text}", type="string", args=(1, 1)),
    "replace": Function(_replace, type="string", args=(2, 2), kinds=("pattern", "template")),
    "extract": Function(_extract, type="string", args=(1, 1), kinds=("pattern",)),
    "part": Function(_part, type="string", args=(2, 2), kinds=("text", "integer")),
    "parts": Function(_parts, gives_list=True, type="string", args=(0, 1), kinds=("text",)),
    "encode": Function(lambda value, _: encode_part(str(value)), type="string"),
    "base64": Function(_base64, type="base64Binary"),
    "omit": Function(_omit, args=(1, 20)),
    "if-then": Function(_if_then, args=(1, 1)),
    "unless": Function(_unless, args=(1, 1)),
    "join": Function(_join, takes="values", type="string", args=(0, 1)),
    "first": Function(lambda values, _: values[0] if values else None, takes="values"),
    "last": Function(lambda values, _: values[-1] if values else None, takes="values"),
    "rest": Function(lambda values, _: values[1:], takes="values", gives_list=True),
    "distinct": Function(_distinct, takes="values", gives_list=True),
    "count": Function(_count, takes="values", type="integer"),
}
