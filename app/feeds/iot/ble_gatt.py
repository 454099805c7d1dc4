"""Bluetooth health characteristics: octets to named readings.

Bluetooth SIG GATT Specification Supplement (characteristic layouts), little endian; IEEE 11073
numbers as metric codes. A gateway sends service, characteristic and hexadecimal octets; what comes
out has the shape of a `measurements` message, so that one mapping serves all of them:

    {"records": [{"sequence": 7, "time": "2026-03-01T08:30:00",
                  "measurements": [{"code": "150021", "value": 126, "unit": "mm[Hg]"}]}]}

`time` is the device's local time without a zone, absent when the device sent none. A value that is
none carries `absent` instead. A characteristic that is shorter or longer than its flags say is
refused whole.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final

from app.errors import Malformed, NotSupported
from app.feeds.iot import times
from app.feeds.iot.ieee11073 import float32, sfloat
from app.feeds.iot.times import Moment

Record = dict[str, Any]

_MAX_OCTETS = 1024


def decode(characteristic: str, octets: bytes) -> list[Record]:
    """Return the records in one value of a characteristic ("2A1C", also as a 128 bit UUID).

    Raises NotSupported for a characteristic that is not known, Malformed for octets that are cut
    off, left over or not what its flags say.
    """
    layout = LAYOUTS.get(short_uuid(characteristic))
    if layout is None:
        raise NotSupported("a Bluetooth characteristic that is not known", at="$.characteristic")
    if len(octets) > _MAX_OCTETS:
        raise Malformed("longer than a Bluetooth value can be", at="$.payload")
    reader = _Octets(octets)
    records = layout(reader)
    reader.end()
    return records


def octets_of(text: str) -> bytes:
    """Return the octets of a hexadecimal text ("0A 1B", "0a:1b", "0x0a1b"); raises Malformed."""
    plain = text.strip().removeprefix("0x").replace(":", "").replace("-", "")
    try:
        return bytes.fromhex(plain)
    except ValueError as exc:
        raise Malformed("the value is not hexadecimal", at="$.payload") from exc


def short_uuid(text: str) -> str:
    """Return the 16 bit form of an assigned UUID in upper case; other texts as they are."""
    plain = text.strip().upper().removeprefix("0X")
    if len(plain) == 36 and plain.endswith("-0000-1000-8000-00805F9B34FB"):
        return plain[4:8]
    return plain


def with_offset(record: Record, session_start: Moment | None, zone: tzinfo) -> Record:
    """Return the record with the time that its offset in minutes gives.

    The offset counts from the record's own base time, or from the start of the sensor's session,
    which only the gateway knows.
    """
    minutes = record.get("offsetMinutes")
    if minutes is None:
        return record
    start = times.parse(record["time"], zone) if "time" in record else session_start
    if start is None:
        return record
    local = start.at + timedelta(minutes=minutes)
    pattern = "%Y-%m-%dT%H:%M:%S" if "time" in record else "%Y-%m-%dT%H:%M:%S%z"
    return {**record, "time": local.strftime(pattern)}


class _Octets:
    """Reads fields one after another; says so when they do not fit."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def take(self, code: str) -> int:
        size = struct.calcsize(code)
        if self._at + size > len(self._octets):
            raise Malformed("the value is shorter than its flags say", at="$.payload")
        (value,) = struct.unpack_from("<" + code, self._octets, self._at)
        self._at += size
        return int(value)

    def u8(self) -> int:
        return self.take("B")

    def u16(self) -> int:
        return self.take("H")

    def s16(self) -> int:
        return self.take("h")

    def u24(self) -> int:
        return self.take("H") | self.take("B") << 16

    def sfloat(self) -> Decimal | str:
        return sfloat(self.take("H"))

    def float32(self) -> Decimal | str:
        return float32(self.take("I"))

    def left(self) -> int:
        return len(self._octets) - self._at

    def part(self, size: int) -> _Octets:
        """Return the next `size` octets as a value of its own."""
        if size > self.left():
            raise Malformed("a record is shorter than its size says", at="$.payload")
        part = _Octets(self._octets[self._at : self._at + size])
        self._at += size
        return part

    def time(self) -> str | None:
        """Return a Date Time field as local time, None when the year or the day is unknown."""
        year, month, day = self.u16(), self.u8(), self.u8()
        hour, minute, second = self.u8(), self.u8(), self.u8()
        if month > 12 or day > 31 or hour > 23 or minute > 59 or second > 59:
            raise Malformed("a date and time that does not exist", at="$.payload")
        if not (year and month and day):
            return None
        return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"

    def end(self) -> None:
        if self.left():
            raise Malformed("the value is longer than its flags say", at="$.payload")


def _reading(code: str, value: Decimal | int | str, unit: str, **more: Any) -> dict[str, Any]:
    """Return one measurement; a reason instead of a value becomes `absent`."""
    if isinstance(value, str):
        return {"code": code, "absent": value, "unit": unit, **more}
    return {"code": code, "value": value, "unit": unit, **more}


def _record(time: str | None, measurements: list[dict[str, Any]], **more: Any) -> list[Record]:
    record: Record = {"measurements": measurements, **more}
    if time is not None:
        record["time"] = time
    return [record]


def _times(value: Decimal | str, factor: str) -> Decimal | str:
    if isinstance(value, str):
        return value
    product = (value * Decimal(factor)).normalize()
    return Decimal(format(product, "f"))


# --------------------------------------------------------- 2A1C Temperature Measurement

# Temperature Type -> MDC metric: armpit, body, ear, finger, gastro-intestinal, mouth, rectum, toe,
# tympanum. Places without a number of their own are body temperature, named as the site.
_TEMPERATURES: Final = {
    1: ("188452", None),
    2: ("150364", None),
    3: ("188428", None),
    4: ("188432", "finger"),
    5: ("150364", "gastro-intestinal tract"),
    6: ("188424", None),
    7: ("188420", None),
    8: ("150364", "toe"),
    9: ("150392", None),
}


def _temperature(octets: _Octets) -> list[Record]:
    flags = octets.u8()
    value = octets.float32()
    time = octets.time() if flags & 2 else None
    code, site = _TEMPERATURES.get(octets.u8() if flags & 4 else 2, ("150364", None))
    more = {"site": site} if site else {}
    return _record(time, [_reading(code, value, "[degF]" if flags & 1 else "Cel", **more)])


# --------------------------------------------------------- 2A37 Heart Rate Measurement


def _heart_rate(octets: _Octets) -> list[Record]:
    flags = octets.u8()
    rate = octets.u16() if flags & 1 else octets.u8()
    contact_lost = flags >> 1 & 3 == 2  # the sensor can tell, and has no skin contact
    measurement = _reading("147842", "error" if contact_lost else rate, "/min")
    if flags & 8:
        octets.u16()  # energy expended since the last reset, kJ
    if flags & 16:
        if octets.left() < 2 or octets.left() % 2:
            raise Malformed("RR intervals are cut off", at="$.payload")
        intervals = []
        while octets.left():
            milliseconds = (Decimal(octets.u16()) * 1000 / 1024).quantize(Decimal("0.1"))
            intervals.append(_reading("147240", milliseconds, "ms"))
        measurement["components"] = intervals
    return _record(None, [measurement])


# --------------------------------------------------------- 2A35 Blood Pressure Measurement

_PRESSURE_STATUS: Final = (
    (0x0001, 0x0001, "body movement during measurement"),
    (0x0002, 0x0002, "cuff too loose"),
    (0x0004, 0x0004, "irregular pulse"),
    (0x0018, 0x0008, "pulse rate above the range"),
    (0x0018, 0x0010, "pulse rate below the range"),
    (0x0020, 0x0020, "improper measurement position"),
)


def _blood_pressure(octets: _Octets) -> list[Record]:
    flags = octets.u8()
    unit = "kPa" if flags & 1 else "mm[Hg]"
    codes = ("150021", "150022", "150023")
    pressures = [_reading(code, octets.sfloat(), unit) for code in codes]
    if "absent" in pressures[2]:  # the mean is optional in practice: NaN says "not measured"
        pressures.pop()
    time = octets.time() if flags & 2 else None
    pulse = [_reading("149546", octets.sfloat(), "/min")] if flags & 4 else []
    more: dict[str, Any] = {}
    if flags & 8 and (user := octets.u8()) != 0xFF:
        more["user"] = user
    if flags & 16:
        status = octets.u16()
        notes = [text for mask, bits, text in _PRESSURE_STATUS if status & mask == bits]
        if notes:
            more["note"] = "; ".join(notes)
    return _record(time, pressures + pulse, **more)


# --------------------------------------------------------- 2A18 Glucose Measurement

# Type nibble -> MDC metric; 10 is control solution, which is never a patient's result.
_GLUCOSE: Final = {
    1: "160184",
    2: "160188",
    3: "160192",
    4: "160192",
    5: "160200",
    6: "160200",
    7: "160020",
    8: "160020",
    9: "160212",
    10: "160208",
}
_GLUCOSE_SITES: Final = {
    1: "finger",
    2: "alternate site test",
    3: "earlobe",
    4: "control solution",
}


def _glucose(octets: _Octets) -> list[Record]:
    flags = octets.u8()
    more: dict[str, Any] = {"sequence": octets.u16()}
    time = octets.time()
    if flags & 1:
        more["offsetMinutes"] = octets.s16()
    measurements = []
    if flags & 2:
        value = octets.sfloat()
        molar = bool(flags & 4)
        # kg/L -> mg/dL, mol/L -> mmol/L
        value = _times(value, "1000" if molar else "100000")
        place = octets.u8()
        kind, site = place & 15, _GLUCOSE_SITES.get(place >> 4)
        if kind == 10 or place >> 4 == 4:
            more["control"] = True
            kind = 10
        code = _GLUCOSE.get(kind, "160020")
        extra = {"site": site} if site and kind != 10 else {}
        measurements.append(_reading(code, value, "mmol/L" if molar else "mg/dL", **extra))
    if flags & 8:
        more["sensorStatus"] = octets.u16()
    return _record(time, measurements, **more)


# --------------------------------------------------------- 2A34 Glucose Measurement Context

_CARBOHYDRATES: Final = ("", "breakfast", "lunch", "dinner", "snack", "drink", "supper", "brunch")
_MEALS: Final = ("", "preprandial", "postprandial", "fasting", "casual", "bedtime")
_HEALTH: Final = {1: "minor", 2: "major", 3: "menses", 4: "stress", 5: "none"}
_TESTERS: Final = {1: "self", 2: "professional", 3: "laboratory"}
_MEDICATIONS: Final = ("", "rapid", "short", "intermediate", "long", "premix")


def _glucose_context(octets: _Octets) -> list[Record]:
    flags = octets.u8()
    more: dict[str, Any] = {"sequence": octets.u16(), "context": True}
    measurements = []
    if flags & 0x80:
        octets.u8()  # extended flags: all reserved
    if flags & 1:
        _name(more, "carbohydrate", _CARBOHYDRATES, octets.u8())
        measurements.append(_reading("carbohydrate-intake", _times(octets.sfloat(), "1000"), "g"))
    if flags & 2:
        _name(more, "meal", _MEALS, octets.u8())
    if flags & 4:
        nibbles = octets.u8()
        _name(more, "tester", _TESTERS, nibbles & 15)
        _name(more, "health", _HEALTH, nibbles >> 4)
    if flags & 8:
        seconds, percent = octets.u16(), octets.u8()
        more["exercise"] = {"seconds": seconds, "percent": percent}
    if flags & 16:
        _name(more, "medication", _MEDICATIONS, octets.u8())
        litres = bool(flags & 32)
        amount = octets.sfloat()
        # kg -> mg, L -> mL
        more["medicationAmount"] = _times(amount, "1000" if litres else "1000000")
        more["medicationUnit"] = "mL" if litres else "mg"
    if flags & 64:
        measurements.append(_reading("160220", octets.sfloat(), "%"))
    return _record(None, measurements, **more)


def _name(more: dict[str, Any], key: str, names: Any, number: int) -> None:
    """Note what a number means, if it means something."""
    name = names.get(number) if isinstance(names, dict) else _at(names, number)
    if name:
        more[key] = name


def _at(names: tuple[str, ...], number: int) -> str | None:
    return names[number] if number < len(names) else None


# --------------------------------------------------------- 2A5E, 2A5F Pulse oximetry


def _oximetry(saturation: Decimal | str, pulse: Decimal | str) -> list[dict[str, Any]]:
    return [_reading("150456", saturation, "%"), _reading("149530", pulse, "/min")]


def _spot_check(octets: _Octets) -> list[Record]:
    flags = octets.u8()
    measurements = _oximetry(octets.sfloat(), octets.sfloat())
    time = octets.time() if flags & 1 else None
    _oximeter_tail(octets, flags, 1, measurements)
    return _record(None if flags & 16 else time, measurements)


def _continuous(octets: _Octets) -> list[Record]:
    flags = octets.u8()
    measurements = _oximetry(octets.sfloat(), octets.sfloat())
    for bit in (1, 2):  # fast and slow averages beside the normal ones: not kept
        if flags & bit:
            octets.sfloat(), octets.sfloat()
    _oximeter_tail(octets, flags, 2, measurements)
    return _record(None, measurements)


def _oximeter_tail(
    octets: _Octets, flags: int, shift: int, measurements: list[dict[str, Any]]
) -> None:
    """Read measurement status, sensor status and pulse amplitude, whose flags follow `shift`."""
    if flags & 1 << shift:
        octets.u16()
    if flags & 2 << shift:
        octets.u24()
    if flags & 4 << shift:
        measurements.append(_reading("150448", octets.sfloat(), "%"))


# --------------------------------------------------------- 2A9D Weight, 2A9C Body Composition


def _weight(octets: _Octets) -> list[Record]:
    flags = octets.u8()
    imperial = bool(flags & 1)
    measurements = [_mass("188736", octets.u16(), imperial=imperial)]
    time = octets.time() if flags & 2 else None
    more = _user(octets) if flags & 4 else {}
    if flags & 8:
        measurements.append(_reading("188752", _tenths(octets.u16()), "kg/m2"))
        measurements.append(_height(octets.u16(), imperial=imperial))
    return _record(time, measurements, **more)


def _body_composition(octets: _Octets) -> list[Record]:
    flags = octets.u16()
    imperial = bool(flags & 1)
    fat = octets.u16()
    measurements = [_reading("188748", "error" if fat == 0xFFFF else _tenths(fat), "%")]
    time = octets.time() if flags & 2 else None
    more = _user(octets) if flags & 4 else {}
    if flags & 8:
        kilocalories = (Decimal(octets.u16()) / Decimal("4.184")).quantize(Decimal(1))
        measurements.append(_reading("188768", kilocalories, "kcal/d"))
    if flags & 16:
        measurements.append(_reading("muscle-percentage", _tenths(octets.u16()), "%"))
    # muscle, fat free, soft lean, body water
    masses = ((32, "188776"), (64, "188756"), (128, "soft-lean-mass"), (256, "188764"))
    for bit, code in masses:
        if flags & bit:
            measurements.append(_mass(code, octets.u16(), imperial=imperial))
    if flags & 512:
        measurements.append(_reading("body-impedance", _tenths(octets.u16()), "Ohm"))
    if flags & 1024:
        measurements.append(_mass("188736", octets.u16(), imperial=imperial))
    if flags & 2048:
        measurements.append(_height(octets.u16(), imperial=imperial))
    return _record(time, measurements, **more)


def _user(octets: _Octets) -> dict[str, Any]:
    user = octets.u8()
    return {} if user == 0xFF else {"user": user}


def _tenths(value: int) -> Decimal:
    return Decimal(value) / 10


def _mass(code: str, raw: int, *, imperial: bool) -> dict[str, Any]:
    if raw == 0xFFFF:
        return _reading(code, "error", "[lb_av]" if imperial else "kg")
    if imperial:
        return _reading(code, Decimal(raw) / 100, "[lb_av]")
    return _reading(code, Decimal(raw) * 5 / 1000, "kg")


def _height(raw: int, *, imperial: bool) -> dict[str, Any]:
    if imperial:
        return _reading("188740", _tenths(raw), "[in_i]")
    return _reading("188740", Decimal(raw) / 1000, "m")


# --------------------------------------------------------- 2AA7 CGM Measurement


def _cgm(octets: _Octets) -> list[Record]:
    records: list[Record] = []
    while octets.left() > 2 or (octets.left() and not records):
        size = octets.u8()
        if size < 6:
            raise Malformed("a record that is too short", at="$.payload")
        records += _cgm_record(octets.part(size - 1))
    if octets.left() == 2:
        octets.u16()  # E2E-CRC of the last record
    return records


def _cgm_record(octets: _Octets) -> list[Record]:
    flags = octets.u8()
    value = octets.sfloat()
    offset = octets.u16()
    more: dict[str, Any] = {"offsetMinutes": offset, "sequence": offset}
    annunciation = [octets.u8() for bit in (0x80, 0x40, 0x20) if flags & bit]
    measurements = [_reading("160212", value, "mg/dL")]
    if flags & 1:
        measurements.append(_reading("glucose-trend", octets.sfloat(), "mg/dL/min"))
    if flags & 2:
        measurements.append(_reading("glucose-quality", octets.sfloat(), "%"))
    if annunciation and any(annunciation):
        more["sensorStatus"] = int.from_bytes(bytes(annunciation), "little")
    if octets.left() == 2:
        octets.u16()  # E2E-CRC
    octets.end()
    return _record(None, measurements, **more)


LAYOUTS: Final[dict[str, Callable[[_Octets], list[Record]]]] = {
    "2A1C": _temperature,
    "2A37": _heart_rate,
    "2A35": _blood_pressure,
    "2A18": _glucose,
    "2A34": _glucose_context,
    "2A5E": _spot_check,
    "2A5F": _continuous,
    "2A9D": _weight,
    "2A9C": _body_composition,
    "2AA7": _cgm,
}
