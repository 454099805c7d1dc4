"""Acknowledgements: which to send, and how they are written (HL7 v2.5.1 section 2.9).

Original mode answers once, after processing: AA, AE or AR. Enhanced mode (MSH-15 or MSH-16
valued) answers CA, CE or CR when the message is stored or not, and AA, AE or AR when it is
applied or not, each only when its field asks for it (table 0155). Everything here is pure: the
caller says what happened, when, and under which control id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

import msgspec

from app.errors import (
    Conflict,
    Deleted,
    Forbidden,
    Invalid,
    Issue,
    Malformed,
    NotFound,
    NotSignedIn,
    NotSupported,
    TooMuch,
    Unavailable,
    YilianError,
)
from app.feeds.hl7v2 import charset, er7
from app.feeds.hl7v2.escapes import Delimiters, escape

MOST_ERRORS = 50

# HL7 table 0357, in the wording of version 2.5.1.
CONDITIONS = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "104": "Value too long",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}


class Verdict(StrEnum):
    """What became of a message: the second letter of MSA-1."""

    ACCEPT = "A"
    ERROR = "E"  # its content is wrong: mend it and send again
    REJECT = "R"  # not acceptable as a message, or not possible now


# The errors of the house: verdict and condition where neither `details` nor the issue says more.
_BY_CLASS: tuple[tuple[type[YilianError], Verdict, str], ...] = (
    (Malformed, Verdict.REJECT, "100"),
    (NotSupported, Verdict.REJECT, "200"),
    (Invalid, Verdict.ERROR, "102"),
    (NotFound, Verdict.ERROR, "204"),
    (Deleted, Verdict.ERROR, "204"),
    (Conflict, Verdict.ERROR, "205"),
    (NotSignedIn, Verdict.REJECT, "207"),
    (Forbidden, Verdict.REJECT, "207"),
    (TooMuch, Verdict.ERROR, "104"),
    (Unavailable, Verdict.REJECT, "207"),
)
_BY_DETAILS = {
    "message-type": "200",
    "event": "201",
    "processing-id": "202",
    "version": "203",
    "frame-too-long": "207",
    "too-many-segments": "104",
    "too-many-repetitions": "104",
    "too-many-messages": "104",
    "charset": "102",
}
_BY_ISSUE = {
    "structure": "100",
    "required": "101",
    "value": "102",
    "invariant": "102",
    "code-invalid": "103",
    "too-long": "104",
    "not-supported": "200",
    "not-found": "204",
    "deleted": "204",
    "conflict": "205",
    "duplicate": "205",
    "multiple-matches": "205",
    "lock-error": "206",
    "transient": "207",
    "exception": "207",
}
_REJECTED_DETAILS = {"frame-too-long"}
_SEVERITIES = {"fatal": "F", "error": "E", "warning": "W", "information": "I"}

_WANTED = {  # table 0155: is an answer wanted on (success, failure)
    "AL": (True, True),
    "NE": (False, False),
    "ER": (False, True),
    "SU": (True, False),
}

_LONGEST_REMEMBERED = 500  # characters of a MSH: what a sender can make long is not kept

_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")  # an answer must not break its frame
_PLACE = re.compile(
    r"(?P<segment>[A-Z][A-Z0-9]{2})(?:\[(?P<sequence>\d+)\])?"
    r"(?:-(?P<field>\d+)(?:\[(?P<repetition>\d+)\])?"
    r"(?:\.(?P<component>\d+)(?:\.(?P<subcomponent>\d+))?)?)?"
)


@dataclass(frozen=True, slots=True)
class Mode:
    """How a message wants to be answered."""

    original: bool
    accept: str = "NE"
    application: str = "NE"


_ORIGINAL = Mode(original=True)


@dataclass(frozen=True, slots=True)
class Header:
    """What could be read of the MSH of a received message: enough to answer it.

    fields: fields[n] is MSH-n as it stands; missing ones are "".
    """

    delimiters: Delimiters = field(default_factory=Delimiters)
    codec: str = "utf-8"
    fields: tuple[str, ...] = ()

    def field(self, number: int) -> str:
        return self.fields[number] if number < len(self.fields) else ""

    def component(self, number: int, component: int) -> str:
        parts = self.field(number).split(self.delimiters.component)
        return parts[component - 1].strip() if component <= len(parts) else ""

    @property
    def version(self) -> str:
        """The version whose rules the answer follows."""
        sent = self.component(12, 1)
        if not sent:
            return er7.DEFAULT_VERSION if self.field(9) else "2.5.1"
        return er7.nearest_version(sent) or er7.VERSIONS[-1]


class Positive(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An acknowledgement without errors, but for its time, its code and its own control id.

    start, between, end: of its MSH; said: of its MSA, after MSA-1.
    """

    codec: str
    start: str
    between: str
    end: str
    said: str

    def built(self, code: str, control_id: str, sent_at: datetime) -> bytes:
        """Return it as `build` does."""
        stamp = _stamp(sent_at)
        text = f"{self.start}{stamp}{self.between}{control_id}{self.end}{code}{self.said}"
        return _encoded(text, self.codec)


def positive(header: Header) -> Positive:
    """Return the acknowledgement of a message with this header, if nothing goes wrong."""
    start, between, end = _around(header)
    said = _msa(header, "", (), None)
    mark = header.delimiters.field
    head = f"{end}\rMSA{mark}"
    return Positive(header.codec, start, between, head, f"{said[4:]}\r")


def header_of(message: er7.Message) -> Header:
    """Return the header of a message that could be read."""
    return Header(message.delimiters, message.charset, tuple(message.header.fields))


def header_of_raw(raw: bytes) -> Header:
    """Return whatever can be read of the header of bytes that need not be a message."""
    wide = charset.wide_codec(raw)
    skip, codec = wide or (0, None)
    line = raw[skip:].removeprefix(b"\xef\xbb\xbf").lstrip(b"\x0b\r\n\t ")[:20_000]
    if codec is None:
        line = re.split(rb"[\r\n]", line, maxsplit=1)[0]
    text, codec = _readable(line, codec)
    text = re.split(r"[\r\n]", text, maxsplit=1)[0]
    try:
        delimiters = er7.read_delimiters(text)
    except Malformed:
        return _cut_header(text, codec)
    return Header(delimiters, codec, ("MSH", delimiters.field, *text.split(delimiters.field)[1:]))


def mode_of(header: Header, *, force_original: bool = False) -> Mode:
    """Return original mode when MSH-15 and MSH-16 are empty, else enhanced (section 2.9.1).

    force_original: a sender that fills MSH-15 but understands only AA, AE and AR.
    """
    if force_original or not (header.field(15) or header.field(16)):
        return _ORIGINAL
    accept, application = (
        "" if value == er7.NULL else value.upper()
        for value in (header.component(15, 1), header.component(16, 1))
    )
    if not (accept or application):
        return _ORIGINAL
    return Mode(False, _wish(accept), _wish(application))


def accept_code(mode: Mode, verdict: Verdict) -> str | None:
    """Return CA, CE or CR as the first answer of enhanced mode, None when none is due."""
    if mode.original or not _wanted(mode.accept, verdict):
        return None
    return "C" + verdict


def application_code(
    mode: Mode, verdict: Verdict, *, accepted: Verdict = Verdict.ACCEPT
) -> str | None:
    """Return AA, AE or AR as the answer after processing, None when none is due.

    accepted: what the accept stage said. A message refused there is not processed; it gets an
    application answer only when no accept answer told the sender.
    """
    if accepted is not Verdict.ACCEPT:
        verdict = accepted
    if mode.original:
        return "A" + verdict
    if accepted is not Verdict.ACCEPT and accept_code(mode, accepted):
        return None
    return "A" + verdict if _wanted(mode.application, verdict) else None


def verdict_of(error: YilianError) -> Verdict:
    """Return whether an error is one of content (AE, CE) or makes a message unacceptable."""
    if error.issues[0].details in _REJECTED_DETAILS:
        return Verdict.REJECT
    return next((v for kind, v, _ in _BY_CLASS if isinstance(error, kind)), Verdict.ERROR)


def errors_of(error: YilianError) -> list[tuple[str, Issue]]:
    """Return each issue of an error with its condition code of table 0357."""
    plain = next((c for kind, _, c in _BY_CLASS if isinstance(error, kind)), "207")
    return [(condition(issue, plain), issue) for issue in error.issues]


def condition(issue: Issue, default: str = "207") -> str:
    """Return the code of table 0357 that says what an issue says."""
    return _BY_DETAILS.get(issue.details or "") or _BY_ISSUE.get(issue.code, default)


def build(
    header: Header,
    code: str,
    *,
    control_id: str,
    sent_at: datetime,
    errors: Sequence[tuple[str, Issue]] = (),
    expected_sequence: int | None = None,
) -> bytes:
    """Return an acknowledgement as bytes, without its frame.

    It speaks the delimiters, version and character set of the message it answers. MSA-2 is
    MSH-10 exactly as received, and empty when that could not be read.

    code: MSA-1. control_id: the answer's own MSH-10. sent_at: MSH-7, aware.
    errors: condition code and issue, one ERR each (section 2.15.5).
    """
    told = errors[:MOST_ERRORS]
    segments = [
        _msh(header, control_id, sent_at),
        _msa(header, code, told, expected_sequence),
        *_err(header, told),
    ]
    return _encoded("".join(segment + "\r" for segment in segments), header.codec)


def _encoded(text: str, codec: str) -> bytes:
    try:
        return text.encode(codec)
    except UnicodeEncodeError:  # reached by code extension (ISO 2022) alone
        return text.encode("iso2022_jp_ext", "replace")


def _wish(value: str) -> str:
    """Return one of table 0155: empty counts as NE, an unknown value as AL (say too much)."""
    return value if value in _WANTED else "AL" if value else "NE"


def _wanted(wish: str, verdict: Verdict) -> bool:
    on_success, on_failure = _WANTED[wish]
    return on_success if verdict is Verdict.ACCEPT else on_failure


def _readable(line: bytes, codec: str | None) -> tuple[str, str]:
    """Return the text of a MSH line and its codec, by Latin-1 where nothing fits."""
    if codec is not None:
        return _CONTROLS.sub("", line.decode(codec, "ignore")), codec
    try:
        decoded = charset.decode(line)
    except Invalid:
        return _CONTROLS.sub("", line.decode("latin-1")), "latin-1"
    return decoded.text, decoded.codec


def _cut_header(text: str, codec: str) -> Header:
    """Return what a MSH without four good delimiters gives: its fields, if it has a separator."""
    separator = text[3:4]
    if not text.startswith("MSH") or not separator or separator.isalnum():
        return Header(codec=codec)
    if separator in " ^~\\&" or not "!" <= separator <= "~":
        return Header(codec=codec)
    return Header(Delimiters(separator), codec, ("MSH", separator, *text.split(separator)[1:]))


def _msh(header: Header, control_id: str, sent_at: datetime) -> str:
    start, between, end = _around(header)
    return f"{start}{_stamp(sent_at)}{between}{control_id}{end}"


@lru_cache(maxsize=16)
def _stamp(sent_at: datetime) -> str:
    """Return MSH-7. Many answers go out in one second."""
    return f"{sent_at:%Y%m%d%H%M%S%z}"


def _around(header: Header) -> tuple[str, str, str]:
    """Return the MSH of an answer before, between and after MSH-7 and MSH-10.

    A sender's messages differ in hardly anything else.
    """
    fields = header.fields
    parts = header.delimiters, fields[:7], fields[8:10], fields[11:21]
    if sum(map(len, fields[:21])) > _LONGEST_REMEMBERED:
        return _turned_round(*parts)
    return _remembered_turned_round(*parts)


def _turned_round(
    marks: Delimiters, parties: tuple[str, ...], kind: tuple[str, ...], more: tuple[str, ...]
) -> tuple[str, str, str]:
    header = Header(marks, fields=(*parties, "", *kind, "", *more))
    version = header.version
    event = header.component(9, 2)
    late = er7.version_key(version) >= [2, 4]
    type_ = marks.component.join(("ACK", event, "ACK")) if event and late else "ACK"
    start = (
        "MSH",
        marks.encoding_characters,
        *map(header.field, (5, 6, 3, 4)),
        "",
    )
    end = (
        "",
        header.field(11) or "P",
        header.field(12) or version,
        *[""] * 5,
        header.field(18),
        "",
        header.field(20),
    )
    between = ("", "", type_, "")
    return (
        marks.field.join(start),
        marks.field.join(between),
        marks.field.join(end).rstrip(marks.field),
    )


_remembered_turned_round = lru_cache(maxsize=256)(_turned_round)


def _msa(
    header: Header,
    code: str,
    errors: Sequence[tuple[str, Issue]],
    expected_sequence: int | None,
) -> str:
    marks = header.delimiters
    old = er7.version_key(header.version) < [2, 7]  # MSA-3 is withdrawn from 2.7 on
    text = escape(errors[0][1].text[:80], marks) if errors and old else ""
    expected = "" if expected_sequence is None else str(expected_sequence)
    return marks.field.join(("MSA", code, header.field(10), text, expected)).rstrip(marks.field)


def _err(header: Header, errors: Sequence[tuple[str, Issue]]) -> Iterable[str]:
    """Yield ERR segments: one per error from 2.5, one with repetitions of ERR-1 before."""
    if not errors:
        return
    marks = header.delimiters
    if er7.version_key(header.version) < [2, 5]:
        told = (_location_and_code(marks, code, issue) for code, issue in errors)
        yield f"ERR{marks.field}{marks.repetition.join(told)}"
        return
    for code, issue in errors:
        fields = (
            "ERR",
            "",
            marks.component.join(_location(issue.at)),
            marks.component.join((code, CONDITIONS[code], "HL70357")),
            _SEVERITIES.get(issue.severity, "E"),
            "",
            "",
            escape(issue.details or issue.code, marks),
            escape(issue.text, marks),
        )
        yield marks.field.join(fields)


def _location_and_code(marks: Delimiters, code: str, issue: Issue) -> str:
    """Return ERR-1 (ELD): segment, sequence, field, and the code as subcomponents."""
    place = [*_location(issue.at), "", "", ""][:3]
    coded = marks.subcomponent.join((code, CONDITIONS[code], "HL70357"))
    return marks.component.join((*place, coded))


def _location(at: str | None) -> list[str]:
    """Return the parts of ERL: segment, its sequence, field, repetition, component, ..."""
    found = _PLACE.fullmatch(at or "")
    if found is None:
        return []
    parts = [found["segment"], found["sequence"] or "1"]
    if found["field"]:
        parts.append(found["field"])
    if found["repetition"] or found["component"]:
        parts.append(found["repetition"] or "1")
    parts += [part for part in (found["component"], found["subcomponent"]) if part]
    return parts
