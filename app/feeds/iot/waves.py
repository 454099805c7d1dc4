"""Regular series as SampledData.

R4 datatypes.html#SampledData: value = origin + factor x number; the numbers are written as integers
where the series allows, "E" stands for a missing sample, "L" and "U" for under and over range.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from app.feeds.iot.vocabulary import Vocabulary

UCUM: Final = "http://unitsofmeasure.org"
_MOST_PLACES: Final = 6
_MARKS: Final = frozenset("ELU")


def sampled(
    values: Sequence[Any],
    vocabulary: Vocabulary,
    period_ms: Any,
    unit: Any,
    factor: Any = None,
    offset: Any = None,
    missing: Any = None,
) -> dict[str, Any] | None:
    """Return the SampledData of a series, None when it is no series.

    factor, offset: value = (number - offset) x factor in `unit`, for raw samples of a converter.
    Without a factor the values are stored with as many places as the finest of them has. missing:
    indexes (a list) of samples that are none.
    """
    period = _decimal(period_ms)
    if period is None or period <= 0 or not values:
        return None
    gaps = {int(index) for index in missing if isinstance(index, int)} if missing else set()
    numbers = [None if at in gaps else _sample(value) for at, value in enumerate(values)]
    scale = _decimal(factor)
    if scale is None:
        places = max((_places(one) for one in numbers if isinstance(one, Decimal)), default=0)
        scale = Decimal(1).scaleb(-min(places, _MOST_PLACES))
        numbers = [
            (one / scale).to_integral_value() if isinstance(one, Decimal) else one
            for one in numbers
        ]
    origin = -(_decimal(offset) or Decimal(0)) * scale
    code = vocabulary.unit(None if unit is None else str(unit))
    measured_in: dict[str, Any] = {"value": _plain(origin) + 0}
    if unit is not None:
        measured_in["unit"] = code or str(unit)
    if code:
        measured_in |= {"system": UCUM, "code": code}
    body: dict[str, Any] = {"origin": measured_in, "period": _plain(period.normalize())}
    if scale != 1:
        body["factor"] = _plain(scale)
    return body | {"dimensions": 1, "data": " ".join(_text(one) for one in numbers)}


def _sample(value: Any) -> Decimal | str | None:
    if isinstance(value, str) and value in _MARKS:
        return value
    return _decimal(value)


def _decimal(value: Any) -> Decimal | None:
    if value is None or isinstance(value, bool | list | dict):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 20 else None


def _places(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _plain(value: Decimal) -> Decimal:
    return Decimal(format(value, "f"))


def _text(value: Decimal | str | None) -> str:
    if value is None:
        return "E"
    return value if isinstance(value, str) else format(value.normalize(), "f")
