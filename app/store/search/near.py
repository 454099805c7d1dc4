"""`near`: latitude|longitude|distance|units of a position. R4 location.html#search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from app.errors import Invalid
from app.fhir.extract import extractor
from app.fhir.searchparams import Param
from app.store.entries import POSITION
from app.store.search.conditions import Condition, Nothing, Rows, either
from app.store.search.context import Context
from app.store.search.parse import alternatives, split, unescape

_EARTH_KM = 6371.0088
_DEGREE_KM = math.pi * _EARTH_KM / 180
_DISTANCE = 10.0  # km, when none is given
_UNITS = {"": 1.0, "km": 1.0, "m": 0.001, "[mi_i]": 1.609344, "[mi_us]": 1.609347, "mi": 1.609344}


def condition(context: Context, param: Param, modifier: str | None, value: str) -> Condition:
    """Return what `near` asks for: a box of degrees finds the candidates, the distance decides."""
    circles = [_parse(param, each) for each in alternatives(value)]
    if not circles:
        return Nothing()
    tests: list[str] = []
    params: list[Any] = []
    for latitude, longitude, distance in circles:
        reach = distance / _DEGREE_KM
        farthest = abs(latitude) + reach
        # Around a pole every meridian is near.
        around = 180.0 if farthest >= 90 else min(180.0, reach / math.cos(math.radians(farthest)))
        tests.append(
            "(#.lo>=? AND #.lo<=? AND ((#.hi>=? AND #.hi<=?) OR #.hi>=? OR #.hi<=?))",
        )
        params += [latitude - reach, latitude + reach, longitude - around, longitude + around]
        params += [longitude - around + 360, longitude + around - 360]
    scope = context.scope(param)

    def within(type_name: str, resource: Mapping[str, Any]) -> bool:
        values = extractor(type_name)(resource, context.zone)
        return any(
            p == param.number and kilometres(latitude, longitude, lat, long) <= distance
            for p, lat, long in values.positions
            for latitude, longitude, distance in circles
        )

    where = f"#.p=? AND #.u=? AND ({either(tests)})"
    return Rows("qty", where, [scope, POSITION, *params], within)


def _parse(param: Param, text: str) -> tuple[float, float, float]:
    at = f"http.{param.code}"
    parts = [unescape(part) for part in split(text, "|")]
    if not 2 <= len(parts) <= 4 or not all(parts[:2]):
        raise Invalid("near is latitude|longitude|distance|units", at=at)
    try:
        numbers = [float(part) for part in parts[:3] if part]
    except ValueError as exc:
        raise Invalid("near needs numbers", at=at) from exc
    unit = parts[3] if len(parts) == 4 else ""
    if unit not in _UNITS:
        raise Invalid("near knows km, m and [mi_i]", at=at)
    latitude, longitude = numbers[:2]
    distance = numbers[2] * _UNITS[unit] if len(numbers) > 2 else _DISTANCE
    if not (abs(latitude) <= 90 and abs(longitude) <= 180 and 0 <= distance < math.inf):
        raise Invalid("near is not on this earth", at=at)
    return latitude, longitude, distance


def kilometres(latitude: float, longitude: float, to_latitude: float, to_longitude: float) -> float:
    """Return the great-circle distance between two positions in degrees."""
    a, b = math.radians(latitude), math.radians(to_latitude)
    turn = math.radians(to_longitude - longitude)
    half = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(turn / 2) ** 2
    return 2 * _EARTH_KM * math.asin(min(1.0, math.sqrt(half)))
