"""Units of measure: the canonical form of a UCUM code, so that 5.4 mg meets 0.0054 g.

UCUM 2.2, case-sensitive codes: prefixes, atoms, `.` and `/`, exponents, factors, parentheses and
annotations (with spaces too, as laboratories write them). The atoms are data (`ucum_atoms.py`);
factors are exact fractions, because a factor such as 1/60 has no finite decimal form. A scale with
an offset (Cel, [degF], [degRe]) counts only when it stands alone; arbitrary units ([iU]) and
logarithmic ones ([pH], B) are each a dimension of their own, comparable with themselves only.

Deviation: UCUM defines mol as a pure number (and eq and osm by it). Here it is a dimension, so
that amounts of substance never equal counts of cells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache

from app.fhir.ucum_atoms import ATOMS, PREFIXES

SYSTEM = "http://unitsofmeasure.org"

_MAX_CODE = 128
_MAX_EXPONENT = 99
_MAX_FACTOR = Fraction(10) ** 300
_OFFSETS = {  # of each scale's zero, in kelvin
    "Cel": Fraction("273.15"),
    "[degF]": Fraction("459.67") * 5 / 9,
    "[degRe]": Fraction("273.15"),
}
_OWN_DIMENSION = frozenset({"mol"})
_TOKEN = re.compile(r"[./()]|\{[ -z|~]*\}|(?:\[[!-Z\\^-~]*\]|[^][./(){}\s])+")
_SPLIT = re.compile(r"(10[*^]|.*?[^0-9+-])([+-]?\d+)?")

_Dimensions = dict[str, int]


@dataclass(frozen=True, slots=True)
class Canonical:
    """A unit in base units: value * factor + offset, measured in `unit` ("g.m-3", "1")."""

    unit: str
    factor: Fraction
    offset: Fraction = Fraction(0)

    def of(self, value: Decimal) -> float:
        """Return `value` of this unit in base units, rounded once (so that equal stays equal)."""
        number, divisor = value.as_integer_ratio()
        number *= self.factor.numerator
        divisor *= self.factor.denominator
        if self.offset:
            number = number * self.offset.denominator + divisor * self.offset.numerator
            divisor *= self.offset.denominator
        return number / divisor


@lru_cache(maxsize=4096)
def canonical(code: str) -> Canonical | None:
    """Return the canonical form of a UCUM code; None when it is not one we can compare."""
    if not code or len(code) > _MAX_CODE:
        return None
    scale = _scale(code)
    if scale is not None:
        return scale
    try:
        factor, dimensions = _Reader(code).read()
    except ValueError:
        return None
    if not 1 / _MAX_FACTOR < factor < _MAX_FACTOR:
        return None
    parts = (
        name if power == 1 else f"{name}{power}"
        for name, power in sorted(dimensions.items())
        if power
    )
    return Canonical(".".join(parts) or "1", factor)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a text is no UCUM code: a reason (a word of ours), the symbol and its place, from 0."""

    why: str
    symbol: str
    at: int


@dataclass(frozen=True, slots=True)
class Part:
    """One component of a simple product: a number, an annotation ("1"), or a unit's parts."""

    divides: bool
    symbol: str
    prefix: str = ""
    atom: str = ""
    exponent: int = 1


@lru_cache(maxsize=4096)
def fault(code: str) -> Fault | None:
    """Return what is wrong with a UCUM code; None when it is one."""
    if len(code) > _MAX_CODE:
        return Fault("long", code[:16], 0)
    if code and _scale(code) is not None:
        return None
    try:
        _Reader(code).read()
    except _Unreadable as found:
        return found.fault
    return None


def convert(value: Decimal, one: str, other: str) -> Decimal | None:
    """Return `value` of one unit in another, to 28 digits; None when they are not comparable."""
    first, second = canonical(one), canonical(other)
    if first is None or second is None or first.unit != second.unit:
        return None
    exact = (Fraction(value) * first.factor + first.offset - second.offset) / second.factor
    return Decimal(exact.numerator) / Decimal(exact.denominator)


def parts(code: str) -> list[Part] | None:
    """Return the components of a code without parentheses; None for others and for no code.

    An annotation is a factor of one, as are the parts it stands for.
    """
    if fault(code) is not None or "(" in code:
        return None
    found: list[Part] = []
    divides = False
    for symbol in _TOKEN.findall(code):
        if symbol in "./":
            divides = symbol == "/"
            continue
        found.append(_part(symbol, divides))
        divides = False
    return found


def _part(symbol: str, divides: bool) -> Part:
    if symbol.startswith("{"):
        return Part(divides, "1")
    if symbol.isdigit():
        return Part(divides, symbol)
    name, exponent = (symbol, None) if _resolve(symbol) else _split(symbol)
    found = _resolve(name)
    atom = found[1] if found else ""
    return Part(divides, symbol, name.removesuffix(atom), atom, int(exponent or 1))


def comparable(one: str, other: str) -> bool:
    """Say whether values in the two units measure the same thing."""
    first, second = canonical(one), canonical(other)
    return first is not None and second is not None and first.unit == second.unit


def _scale(code: str) -> Canonical | None:
    """Return the form of a temperature scale that stands alone."""
    found = _resolve(code)
    if found is None or not found[2]:
        return None
    prefix, atom, _ = found
    _, factor, unit = _atoms()[atom]
    size, dimensions = _Reader(unit.removeprefix("@")).read()
    (name,) = dimensions
    return Canonical(name, prefix * factor * size, _OFFSETS[atom])


@cache
def _prefixes() -> dict[str, Fraction]:
    return {
        code: Fraction(value)
        for code, value in (line.split() for line in PREFIXES.split("\n") if line)
    }


@cache
def _atoms() -> dict[str, tuple[bool, Fraction, str]]:
    """Return code -> (metric, factor, defining unit)."""
    atoms: dict[str, tuple[bool, Fraction, str]] = {}
    for line in ATOMS.splitlines():
        code, metric, factor, unit = line.split(" ")
        own = code in _OWN_DIMENSION
        atoms[code] = (metric == "*", Fraction(1 if own else factor), "!" if own else unit)
    return atoms


@lru_cache(maxsize=4096)
def _resolve(symbol: str) -> tuple[Fraction, str, bool] | None:
    """Return (prefix factor, atom, whether it is an offset scale) of a simple unit."""
    atoms = _atoms()
    if symbol in atoms:
        return Fraction(1), symbol, atoms[symbol][2].startswith("@")
    for size in (1, 2):
        prefix, atom = symbol[:size], symbol[size:]
        if prefix in _prefixes() and atom in atoms and atoms[atom][0]:
            return _prefixes()[prefix], atom, atoms[atom][2].startswith("@")
    return None


@cache
def _expand(atom: str) -> tuple[Fraction, _Dimensions]:
    _, factor, unit = _atoms()[atom]
    if unit == "!":
        return factor, {atom: 1}
    inner, dimensions = _Reader(unit).read()
    return factor * inner, dimensions


class _Unreadable(ValueError):
    """It is no UCUM code. Its message holds nothing of the input, its fault does."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.why)
        self.fault = fault


class _Reader:
    """Reads one code left to right; raises _Unreadable where it is no UCUM."""

    def __init__(self, code: str) -> None:
        self._tokens = _TOKEN.findall(code)
        if "".join(self._tokens) != code:
            at = _first_gap(code)
            raise _Unreadable(Fault("character", code[at], at))
        self._at = 0

    def read(self) -> tuple[Fraction, _Dimensions]:
        result = self._term(start=True)
        if self._at != len(self._tokens):
            self._at += 1
            raise self._wrong("unbalanced")
        return result

    def _wrong(self, why: str) -> _Unreadable:
        """Return the error about the token that was read last."""
        before = self._tokens[: self._at - 1]
        symbol = self._tokens[self._at - 1] if self._at <= len(self._tokens) else ""
        return _Unreadable(Fault(why, symbol, sum(map(len, before))))

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _term(self, *, start: bool = False) -> tuple[Fraction, _Dimensions]:
        factor, dimensions = Fraction(1), dict[str, int]()
        operator = self._next() if start and self._peek() == "/" else "."
        while True:
            size, parts = self._component()
            sign = -1 if operator == "/" else 1
            factor *= size**sign
            for name, power in parts.items():
                dimensions[name] = dimensions.get(name, 0) + sign * power
            if self._peek() not in {".", "/"}:
                return factor, dimensions
            operator = self._next()

    def _component(self) -> tuple[Fraction, _Dimensions]:
        symbol = self._next()
        if symbol.startswith("{"):
            return Fraction(1), {}
        if symbol == "(":
            unit = self._term(start=True)
            if self._next() != ")":
                raise self._wrong("unbalanced")
        elif not symbol or symbol in "./)":
            raise self._wrong("missing")
        else:
            unit = self._simple(symbol)
        if self._peek().startswith("{"):
            self._next()
        return unit

    def _simple(self, symbol: str) -> tuple[Fraction, _Dimensions]:
        if symbol.isascii() and symbol.isdigit():
            if int(symbol) == 0:
                raise self._wrong("zero")
            return Fraction(int(symbol)), {}
        name, exponent = _split(symbol)
        found = _resolve(name)
        if found is None:
            raise self._wrong("unknown")
        if found[2]:
            raise self._wrong("scale")
        power = int(exponent or 1)
        if abs(power) > _MAX_EXPONENT:
            raise self._wrong("exponent")
        size, dimensions = _expand(found[1])
        return (found[0] * size) ** power, {d: inner * power for d, inner in dimensions.items()}


def _first_gap(code: str) -> int:
    """Return where the first character stands that belongs to no token."""
    at = 0
    for token in _TOKEN.finditer(code):
        if token.start() != at:
            break
        at = token.end()
    return at


def _split(symbol: str) -> tuple[str, str | None]:
    """Return a simple unit and its exponent."""
    match = _SPLIT.fullmatch(symbol)
    if match is None:
        return symbol, None
    name, exponent = match.groups()
    return name, exponent
