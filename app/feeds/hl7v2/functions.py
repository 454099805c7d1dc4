"""Functions that mapping formulas over HL7 v2 may use besides the general ones.

Dates: HL7 v2.5.1 section 2.A.21 (DT, TM, DTM, TS) to FHIR date, dateTime, instant and time, with
the sender's offset and precision. Names of coding systems: table 0396. Values: SN, NA, ED.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import defaultdict
from datetime import datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from app.errors import Issue
from app.feeds.hl7v2.er7 import NULL, Message
from app.fhir.ids import encode_part
from app.mapping.functions import integer, number
from app.mapping.source import Function
from app.registry import carrier

_DTM = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,9}))?)?)?)?)?)?"
    r"([+-]\d\d(?:\d\d)?)?",
    re.ASCII,
)
# What careless senders write: 2024-05-02, 2024/05/02 08:30, 2024-05-02T08:30:00.123+08:00.
_LOOSE = re.compile(
    r"(\d{4})[-/.](\d\d?)[-/.](\d\d?)(?:[T ](\d\d?):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?"
    r"\s*(Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
_TIME = re.compile(r"(\d\d):?(?:(\d\d):?(?:(\d\d)(?:\.(\d{1,9}))?)?)?(?:[+-]\d{2,4})?", re.ASCII)
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*)){2,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TABLE = re.compile(r"(?:HL7)?-?(\d{1,4})", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/]+")


def date_time(value: str, run: Any) -> str | None:
    """Return the FHIR dateTime of a DTM: precision and offset as sent; None when impossible.

    An hour alone gets minutes and seconds of zero (FHIR has no such precision), a time without
    offset that of the message (MSH-7) or the sender's zone.
    """
    found = _times[run.zone].get(value, _NEW)
    return _new_date_time(value, run.zone) if found is _NEW else found


# What is remembered without asking who was first, which takes longer than it saves: the times of
# one message are few, and asked for again and again; results of a test are alike.
_times: defaultdict[tzinfo, dict[str, Any]] = defaultdict(dict)
_numbers: dict[str, Any] = {}
_NEW = object()
_LONGEST = 32  # characters of what is remembered: longer ones hardly come
_MOST = 8192  # texts
_MOST_ZONES = 64


def _date_time(value: str, zone: tzinfo) -> str | None:
    found = _times[zone].get(value, _NEW)
    return _new_date_time(value, zone) if found is _NEW else found


def _new_date_time(value: str, zone: tzinfo) -> str | None:
    made = _made_second(value, zone)
    if len(value) <= _LONGEST:
        if len(_times) > _MOST_ZONES or len(_times[zone]) >= _MOST:
            _times.clear()
        _times[zone][value] = made
    return made


def _made_second(value: str, zone: tzinfo) -> str | None:
    if len(value) == 14:  # to the second and without offset, as nearly all are
        second = _SECONDS.get(value[10:])
        hour = _hour(value[:10], zone) if second is not None else None
        if hour is not None:
            return f"{hour[0]}{second}{hour[1]}"
    return _made_date_time(value, zone)


_SECONDS = {f"{m:02}{s:02}": f":{m:02}:{s:02}" for m in range(60) for s in range(61)}


@lru_cache(maxsize=4096)
def _hour(value: str, zone: tzinfo) -> tuple[str, str] | None:
    """Return YYYYMMDDHH as a FHIR dateTime begins, and the offset of all of that hour.

    None when it is no hour, or one in which clocks change.
    """
    if not (value.isascii() and value.isdigit()):
        return None
    try:
        parts = int(value[:4]), int(value[4:6]), int(value[6:8]), int(value[8:])
        first, last = (_offset(datetime(*parts, m, s, tzinfo=zone)) for m, s in ((0, 0), (59, 59)))
    except ValueError:
        return None
    shown = f"{value[:4]}-{value[4:6]}-{value[6:8]}T{value[8:]}"
    return (shown, first) if first == last else None


def _made_date_time(value: str, zone: tzinfo) -> str | None:
    parts = _parts(value)
    if parts is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = parts
    if hour is None:
        text = "-".join(part for part in (year, month, day) if part)
        return text if _possible(year, month, day) else None
    clock = (int(hour), int(minute or 0), min(int(second or 0), 59))
    try:
        at = datetime(int(year), int(month or 0), int(day or 0), *clock, tzinfo=zone)
    except ValueError:
        return None
    if int(second or 0) > 60:
        return None
    shown = f"{year}-{month}-{day}T{hour}:{minute or '00'}:{second or '00'}"
    if fraction:
        shown += f".{fraction}"
    return shown + (offset or _offset(at))


def zone_of(message: Message, default: tzinfo) -> tzinfo:
    """Return the zone of times without an offset: that of MSH-7 if it has one, else `default`.

    HL7 v2.5.1 section 2.15.9.7: an offset in MSH-7 holds for the whole message.
    """
    sent = message.of_header(7)
    if sent.isdigit():
        return default
    parts = _parts(sent)
    offset = parts[7] if parts else None
    if offset is None:
        return default
    minutes = int(offset[1:3]) * 60 + int(offset[4:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))


def event_time(message: Message, zone: tzinfo) -> str | None:
    """Return when the event happened, by the sender: EVN-6, EVN-2, else MSH-7; a dateTime."""
    event = message.first("EVN")
    if event is not None:
        for number_ in (6, 2):
            value = event.value(number_)
            found = _date_time(value, zone) if value else None
            if found:
                return found
    value = message.of_header(7)
    return _date_time(value, zone) if value else None


Parts = tuple[
    str, str | None, str | None, str | None, str | None, str | None, str | None, str | None
]


def _parts(value: str) -> Parts | None:
    found = _DTM.fullmatch(value)
    if found is not None:
        *numbers, offset = found.groups()
        return (*numbers, _colon(offset))  # type: ignore[return-value]
    loose = _LOOSE.fullmatch(value.strip())
    if loose is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = loose.groups()
    return (
        year, month.zfill(2), day.zfill(2), hour and hour.zfill(2), minute, second, fraction,
        _colon(offset),
    )  # fmt: skip


def _colon(offset: str | None) -> str | None:
    """Return +08, +0800 or Z as +08:00; None for what lies beyond 14 hours."""
    if not offset or offset == "Z":
        return "+00:00" if offset else None
    digits = offset[1:].replace(":", "").ljust(4, "0")
    if int(digits[:2]) > 14 or int(digits[2:]) > 59:
        return None
    return f"{offset[0]}{digits[:2]}:{digits[2:]}"


def _possible(year: str, month: str | None, day: str | None) -> bool:
    try:
        datetime(int(year), int(month or 1), int(day or 1))  # noqa: DTZ001 - only the calendar
    except ValueError:
        return False
    return True


def _offset(at: datetime) -> str:
    shift = at.utcoffset() or timedelta()
    minutes = round(shift.total_seconds() / 60)  # zones of the 19th century have seconds
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def date(value: str, run: Any) -> str | None:
    """Return the FHIR date: year, month or day, whatever time follows."""
    found = _date_time(value, run.zone)
    return None if found is None else found.partition("T")[0]


def instant(value: str, run: Any) -> str | None:
    """Return the FHIR instant of a value that has at least an hour; a date alone is none."""
    found = _date_time(value, run.zone)
    return found if found is not None and "T" in found else None


def instant_of_day(value: str, run: Any) -> str | None:
    """Return the instant, for a date alone that of its first second (Provenance.recorded)."""
    found = _date_time(value, run.zone)
    if found is None or "T" in found:
        return found
    year, month, day = ([*found.split("-"), "01", "01"])[:3]
    return _date_time(f"{year}{month}{day}000000", run.zone)


def time(value: str, _: Any) -> str | None:
    """Return the FHIR time of a TM; an offset is left out (R4 times have none)."""
    found = _TIME.fullmatch(value)
    if found is None:
        return None
    hour, minute, second, fraction = found.groups()
    if int(hour) > 23 or int(minute or 0) > 59 or int(second or 0) > 60:
        return None
    return f"{hour}:{minute or '00'}:{second or '00'}" + (f".{fraction}" if fraction else "")


def utc(value: str, _: Any) -> str:
    """Return a FHIR dateTime in UTC, as record keys write times; without a time as it is."""
    return _utc(value) if "T" in value else value


@lru_cache(maxsize=4096)
def _utc(value: str) -> str:
    at = datetime.fromisoformat(value.replace(":60", ":59"))
    shown = (at - (at.utcoffset() or timedelta())).replace(tzinfo=None).isoformat()
    return f"{shown}Z"


def in_minutes(value: str, _: Any, unit: Any) -> int | None:
    """Return a duration in whole minutes; without a unit minutes are meant."""
    found = number(value)
    factor = _MINUTES.get(str(unit or "min").strip().lower())
    if found is None or factor is None or found <= 0:
        return None
    return max(1, round(found * factor))


_MINUTES = {
    "min": Decimal(1), "m": Decimal(1), "minute": Decimal(1), "minutes": Decimal(1),
    "分": Decimal(1), "分钟": Decimal(1), "h": Decimal(60), "hr": Decimal(60), "hour": Decimal(60),
    "hours": Decimal(60), "小时": Decimal(60), "s": Decimal(1) / 60, "sec": Decimal(1) / 60,
    "d": Decimal(1440), "day": Decimal(1440),
}  # fmt: skip


def later(value: str, _: Any, minutes: Any) -> str | None:
    """Return a FHIR dateTime so many minutes later; a date alone stays as it is unknown."""
    shift = integer(minutes) if minutes is not None else None
    if "T" not in value or shift is None:
        return None
    return (datetime.fromisoformat(value) + timedelta(minutes=shift)).isoformat()


def instant_of_fhir(value: str, _: Any) -> str | None:
    """Return a FHIR dateTime that is an instant, None for a date."""
    return value if "T" in value else None


def omit_number(value: Any, _: Any, unwanted: Any) -> Any:
    return None if value == unwanted else value


def omit_same(value: Any, _: Any, other: Any) -> Any:
    return None if value == other else value


def has_time(value: str, _: Any) -> str | None:
    """Return the value if it says more than a day."""
    return value if len(value) > 8 else None


def system_uri(value: str, run: Any) -> str | None:
    """Return the URI of a coding system that no table knows, from its name (table 0396)."""
    name = value.strip()
    if not name:
        return None
    upper = name.upper()
    if upper.startswith("HL7") and (found := _TABLE.fullmatch(upper)):
        return f"http://terminology.hl7.org/CodeSystem/v2-{found[1].zfill(4)}"
    if name.startswith(("http://", "https://", "urn:")) and not re.search(r"\s", name):
        return name
    if _OID.fullmatch(name):
        return f"urn:oid:{name}"
    return f"urn:x-yilian:code:{encode_part(run.doc.facility) or 'local'}:{encode_part(name)}"


def assigner(_: Any, run: Any, namespace: Any, universal: Any, kind: Any) -> str | None:
    """Return the identifier system of an assigning authority (HD); see mappings/assigners.yaml."""
    system, known = run.context.values["assigners"].system(
        namespace, universal, kind, run.doc.facility, run.doc.application
    )
    if not known:
        run.issues.append(_UNRESOLVED)
    return str(system)


_UNRESOLVED = Issue(
    "warning",
    "not-found",
    "an assigning authority is in no table; its own name is used",
    None,
    "unresolved-assigner",
)


def in_table(concept: dict[str, Any], _: Any, table: Any) -> dict[str, Any]:
    """Return the concept; a first coding without system gets that of the HL7 table."""
    codings = concept.get("coding")
    if not codings or "system" in codings[0]:
        return concept
    system = f"http://terminology.hl7.org/CodeSystem/v2-{table}"
    return {**concept, "coding": [{"system": system, **codings[0]}, *codings[1:]]}


def social_number_system(value: str, run: Any) -> str:
    """Return the system of PID-19: by its form US social security, Chinese resident id, or own."""
    if re.fullmatch(r"\d{3}-?\d{2}-?\d{4}", value):
        return "http://hl7.org/fhir/sid/us-ssn"
    if re.fullmatch(r"\d{17}[0-9Xx]", value):
        return "urn:oid:2.16.156.10011.1.3"
    return f"urn:x-yilian:ns:{encode_part(run.doc.facility) or 'local'}:pid-19"


def comparator_sign(value: str, _: Any) -> str | None:
    """Return SN.1 when it is a comparator of FHIR; `=` says nothing, `<>` cannot be said."""
    sign = _COMPARATORS.get(value, value)
    return sign if sign in ("<", "<=", ">=", ">") else None


def own_identifier(identifiers: list[Any], run: Any) -> Any:
    """Return the Identifier that names the record: the sender's own number, never a person's.

    First a medical record number, then any other number of the sender's facility, then any
    other; resident ids, passports, insurance numbers (person-wide ones) never.
    """
    table = run.context.values["assigners"]
    own, _ = table.system(None, None, None, run.doc.facility, run.doc.application)
    best: Any = None
    best_rank = 9
    for identifier in identifiers:
        kind = _type_code(identifier)
        system = identifier.get("system")
        if not system or not identifier.get("value") or table.person_wide(kind, system):
            continue
        rank = (0 if kind in _RECORD_NUMBERS else 2 if kind in _NOT_FIRST else 1) * 2
        rank += 0 if system == own else 1
        if rank < best_rank:
            best, best_rank = identifier, rank
    return best


_RECORD_NUMBERS = ("MR", "PI", "MRN", "PT")
_NOT_FIRST = ("AN", "VN", "ANON", "U", "XX", "DN", "BCT", "ACSN")


def _type_code(identifier: dict[str, Any]) -> str | None:
    codings = identifier.get("type", {}).get("coding", ())
    return codings[0].get("code") if codings else None


def own_number(identifiers: list[Any], run: Any) -> str | None:
    """Return the value of `own_identifier`, else of any number: it names the patient's things."""
    found = own_identifier(identifiers, run)
    return str(found["value"]) if found else any_number(identifiers, run)


def any_number(identifiers: list[Any], run: Any) -> str | None:
    """Return the first number there is: for records that come with person-wide numbers only."""
    for identifier in identifiers:
        if identifier.get("value"):
            return str(identifier["value"])
    return None


def universal_uri(value: str, run: Any, kind: Any) -> str | None:
    """Return a universal id (HD.2, by its type HD.3) as a URI."""
    if kind == "ISO" or (not kind and _OID.fullmatch(value)):
        return f"urn:oid:{value}" if _OID.fullmatch(value) else None
    if kind in ("UUID", "GUID") or _UUID.fullmatch(value):
        return f"urn:uuid:{value.lower()}" if _UUID.fullmatch(value) else None
    if kind == "DNS":
        return f"urn:dns:{quote(value, safe='.-')}"
    if value.startswith(("http://", "https://", "urn:", "ldap:")):
        return quote(value, safe=":/?#[]@!$&'()*+,;=%-._~")
    return None


def eui64(value: str, _: Any) -> str | None:
    """Return an EUI-64 in capitals with hyphens (iot.md section 3)."""
    digits = re.sub(r"[^0-9A-Fa-f]", "", value).upper()
    if len(digits) != 16:
        return None
    return "-".join(digits[i : i + 2] for i in range(0, 16, 2))


def udi_key(value: str, _: Any) -> dict[str, str] | None:
    """Return the registry's key of a UDI that names one device (DI and serial)."""
    return carrier.key_of(value)


def udi(value: str, _: Any) -> dict[str, Any]:
    """Return a UDI as a Device.udiCarrier."""
    return carrier.carrier_of(value)


# --- observation values --------------------------------------------------------------------------

_COMPARED = re.compile(
    r"(<=|>=|<|>|≤|≥|＜|＞)\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?)", re.ASCII
)
_SIGNS = "<>≤≥＜＞ "
_COMPARATORS = {"≤": "<=", "≥": ">=", "＜": "<", "＞": ">"}
_RANGE = re.compile(
    r"\s*[(（\[]?\s*([+-]?\d+(?:\.\d+)?)\s*(?:-|--|~|—|——|–|－|～|to)\s*([+-]?\d+(?:\.\d+)?)"
    r"\s*(?:[)）\]]\s*)?(\S.*)?"
)


def comparator(value: str, _: Any) -> str | None:
    """Return the comparator of `<0.01`; none for a plain number or other text."""
    if value[0] not in _SIGNS:  # nearly all
        return None
    found = _COMPARED.fullmatch(value.strip())
    return _COMPARATORS.get(found[1], found[1]) if found else None


def compared(value: str, _: Any) -> Any:
    """Return the number of `5.60` or `<0.01`."""
    found = _numbers.get(value, _NEW)
    return _new_compared(value) if found is _NEW else found


def _new_compared(value: str) -> Decimal | None:
    text = value.strip()
    found = _COMPARED.fullmatch(text)
    made = number(found[2] if found else text)
    if len(value) <= _LONGEST:
        if len(_numbers) >= _MOST:
            _numbers.clear()
        _numbers[value] = made
    return made


def range_low(value: str, _: Any) -> Any:
    """Return the low end of a reference range: 3.5 of `3.5-5.5` or of `>3.5`."""
    ends = _ends(value)
    if ends:
        return ends[0]
    limit = _COMPARED.fullmatch(value.strip())
    return number(limit[2]) if limit and limit[1] in (">", ">=", "≥", "＞") else None


def range_high(value: str, _: Any) -> Any:
    """Return the high end of a reference range: 5.5 of `3.5-5.5` or of `<5.5`."""
    ends = _ends(value)
    if ends:
        return ends[1]
    limit = _COMPARED.fullmatch(value.strip())
    return number(limit[2]) if limit and limit[1] in ("<", "<=", "≤", "＜") else None


def _ends(value: str) -> tuple[Decimal, Decimal] | None:
    """Return both ends of a range; in `3.5--5.5` the second hyphen is no sign."""
    found = _RANGE.fullmatch(value)
    low, high = (number(found[1]), number(found[2])) if found else (None, None)
    if low is None or high is None:
        return None
    if high < low and low <= -high:
        high = -high
    return (low, high) if low <= high else None


def samples(part: Any, _: Any) -> str | None:
    """Return the values of a numeric array (NA) as SampledData.data.

    One that is missing between others keeps its place (`E`: R4 datatypes.html#SampledData).
    """
    values = ["" if v.strip() == NULL else v.strip() for v in part.rep.components]
    while values and not values[-1]:
        values.pop()
    if not any(values) or any(v and number(v) is None for v in values):
        return None
    return " ".join(v or "E" for v in values)


def content(value: str, _: Any, encoding: Any) -> str:
    """Return the data of an ED as base64, from whatever ED.4 says it is in.

    Data that is not what ED.4 says is kept as the text it is.
    """
    kind = str(encoding or "").lower()
    tight = re.sub(r"\s+", "", value)
    if kind == "base64":
        bare = tight.rstrip("=")
        if _BASE64.fullmatch(bare) and len(bare) % 4 != 1:
            return bare + "=" * (-len(bare) % 4)
    if kind == "hex":
        try:
            return base64.b64encode(binascii.unhexlify(tight)).decode()
        except (binascii.Error, ValueError):
            pass
    return base64.b64encode(value.encode()).decode()


_MEDIA = {
    "AP": "application", "AU": "audio", "FT": "text", "IM": "image", "NS": "image",
    "SD": "application", "SI": "image", "TX": "text", "TEXT": "text", "MULTIPART": "multipart",
}  # fmt: skip
_SUBTYPES = {"": "octet-stream", "JPG": "jpeg", "TXT": "plain", "ASCII": "plain", "TEXT": "plain",
             "HL7V3.0": "xml", "CDA": "xml", "HTM": "html", "WORD": "msword"}  # fmt: skip


def media_type(_: Any, __: Any, kind: Any, subtype: Any) -> str | None:
    """Return the MIME type of ED.2 and ED.3 (tables 0191 and 0291); None without either."""
    if not kind and not subtype:
        return None
    second = str(subtype or "").strip()
    if "/" in second:
        return second.lower()
    second = _SUBTYPES.get(second.upper(), second.lower())
    first = str(kind or "").strip()
    if "/" in first:
        return first.lower()
    first = _MEDIA.get(first.upper(), first.lower())
    if second == "pdf":
        first = "application"
    if not first:
        first = "application"
    if first == "text" and second == "octet-stream":
        second = "plain"
    return f"{first}/{second}" if re.fullmatch(r"[a-z0-9.+-]+", first + second) else None


# Chinese characters, kana, hangul: the family name comes first, and nothing between.
_HAN = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\U00020000-\U0003ffff]")


def name_text(_: Any, __: Any, family: Any, given: Any, middle: Any) -> str | None:
    """Return a name as it is written: 王小明, else given names before the family name."""
    parts = [str(part) for part in (given, middle, family) if part]
    if family and _HAN.search(str(family)):
        return "".join(str(part) for part in (family, given, middle) if part)
    return " ".join(parts) or None


def digits(value: Any, _: Any) -> str | None:
    return re.sub(r"\D", "", str(value)) or None


_LONGEST_TEXT = 1024 * 1024  # R4 datatypes.html#string


def note_text(value: str, _: Any) -> str | None:
    """Return a text that R4 can hold; one that is longer stays in the raw message alone."""
    return value if len(value) <= _LONGEST_TEXT else None


_NOTE_FAILS = ("note-too-long", "a note of more than 1 MiB was left out")
_DATE_FAILS = ("impossible-date", "a date or time that cannot be read was left out")

FUNCTIONS: dict[str, Function] = {
    "udi": Function(udi, type="BackboneElement"),
    "udi-key": Function(udi_key, type="Identifier"),
    "dateTime": Function(date_time, type="dateTime", fails=_DATE_FAILS),
    "date": Function(date, type="date", fails=_DATE_FAILS),
    "instant": Function(instant, type="instant"),
    "instant-of-day": Function(instant_of_day, type="instant"),
    "time": Function(time, type="time"),
    "utc": Function(utc, type="string", of="dateTime"),
    "in-minutes": Function(in_minutes, type="positiveInt", args=(1, 1)),
    "later": Function(later, type="dateTime", args=(1, 1), of="dateTime", kinds=("integer",)),
    "instant-of-fhir": Function(instant_of_fhir, type="instant", of="dateTime"),
    "omit-number": Function(omit_number, type="decimal", args=(1, 1)),
    "omit-same": Function(omit_same, args=(1, 1)),
    "has-time": Function(has_time, type="string"),
    "system-uri": Function(system_uri, type="string"),
    "universal-uri": Function(universal_uri, type="string", args=(1, 1)),
    "assigner": Function(assigner, takes="none", type="string", args=(3, 3)),
    "own-identifier": Function(own_identifier, takes="values", type="Identifier", of="Identifier"),
    "own-number": Function(own_number, takes="values", type="string", of="Identifier"),
    "any-number": Function(any_number, takes="values", type="string", of="Identifier"),
    "media-type": Function(media_type, takes="none", type="string", args=(2, 2)),
    "name-text": Function(name_text, takes="node", type="string", args=(3, 3)),
    "eui64": Function(eui64, type="string"),
    "comparator-sign": Function(comparator_sign, type="string"),
    "in-table": Function(in_table, type="CodeableConcept", args=(1, 1), of="CodeableConcept"),
    "social-number-system": Function(social_number_system, type="string"),
    "comparator": Function(comparator, type="string"),
    "compared": Function(compared, type="decimal"),
    "range-low": Function(range_low, type="decimal"),
    "range-high": Function(range_high, type="decimal"),
    "samples": Function(samples, takes="node", type="string"),
    "content": Function(content, type="base64Binary", args=(1, 1)),
    "digits": Function(digits, type="string"),
    "note-text": Function(note_text, type="string", fails=_NOTE_FAILS),
}
