"""Read one HL7 v2 message in ER7 encoding, lazily (HL7 v2.5.1 chapter 2, sections 2.5 to 2.8).

`read` decides the character set and the delimiters and finds the segments. Fields split when a
segment is first asked, components when a repetition is first asked, and escapes are undone on
the leaf. Numbers count from 1 as in the standard; MSH-1 is the field separator itself.

A value that is empty and the null `""` both read as "": null is told by `is_null`, so that it
can never become a value by mistake.

Leaves out: the abstract message structures. Context rules over `Message.segments`, which keeps
every segment in the order received, serve real feeds better.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.errors import Issue, Malformed, NotSupported, TooMuch
from app.feeds.hl7v2 import charset
from app.feeds.hl7v2.escapes import Delimiters, unescape

MOST_SEGMENTS = 100_000
MOST_REPETITIONS = 10_000
MOST_ISSUES = 100

# fmt: off
VERSIONS = (
    "2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1",
    "2.8.2", "2.9", "2.9.1",
)
# Segment ids that need no look at their spelling; any other takes a slower turn.
_USUAL = frozenset({
    "MSH", "EVN", "PID", "PD1", "NK1", "PV1", "PV2", "MRG", "AL1", "DG1", "ORC", "OBR", "OBX",
    "NTE", "SPM", "PRT", "GT1", "IN1", "IN2", "IN3", "SFT", "TQ1", "RXA", "RXR", "RXE", "RXO",
    "RXC", "RXD", "TXA", "SCH", "AIS", "AIG", "AIL", "AIP", "RGS", "FT1", "PR1", "ROL", "ACC",
    "MSA", "ERR", "IAM", "UB1", "UB2", "DB1", "DRG", "ARV", "PDA", "SAC", "FHS", "BHS",
})
# fmt: on
DEFAULT_VERSION = "2.3"

NULL = '""'
_HEADERS = frozenset(("MSH", "FHS", "BHS"))
_BOUNDS = _HEADERS | {"BTS", "FTS"}  # of messages and batches
_USUAL_HEADER = "MSH|^~\\&|"
_USUAL_DELIMITERS = Delimiters()

# MSH-9.3 when it is missing, by message code and event where the structure has another name
# than the event (HL7 v2.5.1 table 0354).
_ADT_STRUCTURES = {
    **dict.fromkeys(("A04", "A08", "A13"), "ADT_A01"),
    **dict.fromkeys(("A14", "A28", "A31"), "ADT_A05"),
    "A07": "ADT_A06",
    **dict.fromkeys(("A10", "A11", "A12"), "ADT_A09"),
    **dict.fromkeys(("A21", "A22", "A23", "A25", "A26", "A27", "A29", "A32", "A33"), "ADT_A21"),
    **dict.fromkeys(("A34", "A35", "A36", "A46", "A47", "A48", "A49"), "ADT_A30"),
    **dict.fromkeys(("A40", "A41", "A42"), "ADT_A39"),
    "A44": "ADT_A43",
    "A51": "ADT_A50",
    "A55": "ADT_A54",
    "A62": "ADT_A61",
}
_STRUCTURES = {
    "ADT": _ADT_STRUCTURES,
    "SIU": {f"S{n}": "SIU_S12" for n in range(13, 27)},
    "MDM": {
        **dict.fromkeys(("T03", "T05", "T07", "T09", "T11"), "MDM_T01"),
        **dict.fromkeys(("T04", "T06", "T08", "T10"), "MDM_T02"),
    },
    "REF": dict.fromkeys(("I13", "I14", "I15"), "REF_I12"),
    "PPR": dict.fromkeys(("PC2", "PC3"), "PPR_PC1"),
    "RDE": {"O25": "RDE_O11", "O01": "RDE_O11"},
    "BAR": {},
}
_SEGMENT_LINE = re.compile(r"[A-Za-z][A-Za-z0-9]{2}(?![A-Za-z0-9 ])")


@dataclass(frozen=True, slots=True)
class MessageType:
    """MSH-9, with the structure derived where the sender left it out."""

    code: str
    event: str
    structure: str


_NO_TYPE = MessageType("", "", "")


class Repetition:
    """One repetition of a field: components and subcomponents on demand."""

    __slots__ = ("_components", "number", "occurrence", "raw", "segment")

    def __init__(self, raw: str, segment: Segment, number: int, occurrence: int) -> None:
        self.raw = raw
        self.segment = segment
        self.number = number
        self.occurrence = occurrence
        self._components: list[str] | None = None

    @property
    def components(self) -> list[str]:
        """The components as they stand, escapes and subcomponents untouched."""
        parts = self._components
        if parts is None:
            parts = self._components = self.raw.split(self.segment.message.component_separator)
        return parts

    def value(self, component: int = 1, subcomponent: int = 1) -> str:
        """Return one leaf, escapes undone, without trailing blanks; "" when empty or null."""
        parts = self._components
        if parts is None:
            parts = self.components
        if component > len(parts):
            return ""
        leaf = parts[component - 1]
        if subcomponent == 1 and leaf.isalnum():  # neither delimiter, escape, blank nor null
            return leaf
        if not leaf:
            return ""
        message = self.segment.message
        if message.subcomponent_separator in leaf:
            leaves = leaf.split(message.subcomponent_separator)
            leaf = leaves[subcomponent - 1] if subcomponent <= len(leaves) else ""
        elif subcomponent > 1:
            return ""
        if leaf == NULL:
            return ""
        if message.escape_character in leaf:
            return self._unescaped(leaf)
        return leaf.rstrip()

    def text(self, component: int = 0) -> str:
        """Return a whole component, or the whole repetition for 0, as one text.

        For ST, TX and FT values whose sender left delimiters unescaped: nothing is cut off.
        """
        leaf = self.raw
        if component:
            parts = self.components
            leaf = parts[component - 1] if component <= len(parts) else ""
        if leaf == NULL:
            return ""
        if self.segment.message.escape_character in leaf:
            return self._unescaped(leaf)
        return leaf.rstrip()

    def is_null(self, component: int = 0, subcomponent: int = 0) -> bool:
        """Say whether the sender asks to delete: `""` stands here or in what holds it."""
        if self.raw == NULL:
            return True
        if not component or NULL not in self.raw:
            return False
        parts = self.components
        part = parts[component - 1] if component <= len(parts) else ""
        if part == NULL or not subcomponent:
            return part == NULL
        leaves = part.split(self.segment.message.subcomponent_separator)
        return subcomponent <= len(leaves) and leaves[subcomponent - 1] == NULL

    @property
    def place(self) -> str:
        """Where this stands, for issues: PID-3, OBX[2]-5, PID-3[2]."""
        again = f"[{self.occurrence}]" if self.occurrence > 1 else ""
        return f"{self.segment.place}-{self.number}{again}"

    def _unescaped(self, leaf: str) -> str:
        message = self.segment.message

        def warn(text: str, details: str) -> None:
            message.warn(text, at=self.place, details=details)

        return unescape(leaf, message.delimiters, message.charset, warn).rstrip()


class Segment:
    """One segment: repetitions on demand."""

    __slots__ = ("_repetitions", "fields", "id", "index", "message", "raw")

    def __init__(self, raw: str, message: Message, index: int) -> None:
        self.raw = raw
        self.message = message
        self.index = index  # place in message.segments, from 0
        self.id = raw[:3]
        # The fields as they stand, so that fields[n] is field n; fields[0] is the segment id.
        self.fields = message.fields[index]
        self._repetitions: dict[int, list[Repetition]] | None = None

    def field(self, number: int) -> str:
        """Return a field as it stands, "" when it is not there."""
        parts = self.fields
        return parts[number] if number < len(parts) else ""

    def repetitions(self, number: int) -> list[Repetition]:
        """Return the repetitions of a field that are not empty; numbers stay as sent."""
        known = self._repetitions
        if known is None:
            known = self._repetitions = {}
        found = known.get(number)
        if found is None:
            found = known[number] = self._split(number)
        return found

    def first(self, number: int) -> Repetition | None:
        """Return the first repetition of a field that is not empty."""
        known = self.repetitions(number)
        return known[0] if known else None

    def value(
        self, number: int, component: int = 1, subcomponent: int = 1, repetition: int = 1
    ) -> str:
        """Return one leaf, as `Repetition.value` does."""
        parts = self.fields
        if number >= len(parts):
            return ""
        raw = parts[number]
        if not raw:
            return ""
        if raw.isalnum():  # one leaf: it holds no delimiter
            return raw if component == subcomponent == repetition == 1 else ""
        for one in self.repetitions(number):
            if one.occurrence == repetition:
                return one.value(component, subcomponent)
        return ""

    def forget(self) -> None:
        """Let go of what was split."""
        self._repetitions = None

    def is_null(self, number: int) -> bool:
        """Say whether the whole field is `""`."""
        return self.field(number) == NULL

    @property
    def place(self) -> str:
        """Where this stands, for issues: PID, or OBX[2] for the second OBX."""
        same = self.message.all(self.id)
        if len(same) == 1:
            return self.id
        return f"{self.id}[{same.index(self) + 1}]"

    def _split(self, number: int) -> list[Repetition]:
        raw = self.field(number)
        if not raw:
            return []
        separator = self.message.delimiters.repetition
        if separator not in raw or (number < 3 and self.id in _HEADERS):
            return [Repetition(raw, self, number, 1)]
        parts = raw.split(separator)
        return [Repetition(one, self, number, n) for n, one in enumerate(parts, 1) if one]


class Message:
    """One message: its segments in the order received, and what was doubtful in reading it.

    text: all of it, as it came.
    ids, lines, fields: of each segment its id, its text and its fields, so that fields[at][n] is
    field n of a segment. fields ends with an empty list: of segments that are not there. alone: no
    other message, and no batch, begins or ends behind MSH.
    """

    def __init__(self, text: str, codec: str, delimiters: Delimiters) -> None:
        self.charset = codec  # a Python codec
        self.delimiters = delimiters
        self.field_separator = separator = delimiters.field
        self.component_separator = delimiters.component
        self.subcomponent_separator = delimiters.subcomponent
        self.escape_character = delimiters.escape
        self.issues: list[Issue] = []
        self._warned: set[tuple[str, str | None]] = set()
        self.version = ""  # the version whose rules apply, one of VERSIONS
        self.type = _NO_TYPE
        self.text = text
        self.has_null = '"' in text and NULL in text  # somewhere: one character is found fast
        lines = self._lines(text)
        fields = [line.split(separator) for line in lines]
        ids = tuple([parts[0] for parts in fields])
        if not _USUAL.issuperset(ids):
            lines = self._spelled(lines)
            fields = [line.split(separator) for line in lines]
            ids = tuple([line[:3] for line in lines])
        self.alone = _BOUNDS.isdisjoint(ids[1:])
        for parts in fields[:1] if self.alone else fields:
            if parts[0] in _HEADERS:
                parts.insert(1, separator)
        fields.append([])
        self.ids, self.lines, self.fields = ids, lines, fields
        self._segments: dict[int, Segment] = {}
        self._by_id: dict[str, list[Segment]] = {}

    def close(self) -> None:
        """Let go of the segments, which refer to it: its memory is free at once then."""
        for segment in self._segments.values():
            segment.forget()
        self._segments = {}
        self._by_id = {}
        self.text = ""

    @property
    def segments(self) -> list[Segment]:
        """All segments, in the order received."""
        return [self.segment(at) for at in range(len(self.lines))]

    def segment(self, at: int) -> Segment:
        """Return a segment by its place, from 0."""
        found = self._segments.get(at)
        if found is None:
            found = self._segments[at] = Segment(self.lines[at], self, at)
        return found

    @property
    def header(self) -> Segment:
        """MSH."""
        return self.segment(0)

    @property
    def control_id(self) -> str:
        """MSH-10 exactly as it stands: what MSA-2 repeats."""
        header = self.fields[0]
        return header[10] if len(header) > 10 else ""

    def all(self, segment_id: str) -> list[Segment]:
        """Return the segments of that id, in order."""
        found = self._by_id.get(segment_id)
        if found is None:
            places = [at for at, id_ in enumerate(self.ids) if id_ == segment_id]
            found = self._by_id[segment_id] = [self.segment(at) for at in places]
        return found

    def first(self, segment_id: str) -> Segment | None:
        """Return the first segment of that id."""
        return self.segment(self.ids.index(segment_id)) if segment_id in self.ids else None

    def get(
        self,
        segment_id: str,
        number: int,
        repetition: int = 1,
        component: int = 1,
        subcomponent: int = 1,
    ) -> str:
        """Return one leaf of the first segment of that id: the terser path of other tools."""
        found = self.first(segment_id)
        return found.value(number, component, subcomponent, repetition) if found else ""

    def of_header(self, number: int) -> str:
        """Return a field of MSH as `get` does; most hold nothing but letters and digits."""
        header = self.fields[0]
        raw = header[number] if number < len(header) else ""
        return raw if not raw or raw.isalnum() else self.segment(0).value(number)

    def warn(self, text: str, *, at: str | None, details: str, severity: str = "warning") -> None:
        """Note something doubtful, once per place, and no more than a sender can read."""
        key = (details, at)
        if key not in self._warned and len(self.issues) < MOST_ISSUES:
            self._warned.add(key)
            self.issues.append(Issue(severity, "value", text, at, details))

    def _lines(self, text: str) -> list[str]:
        if "\n" in text:
            text = self._with_carriage_returns(text)
        lines = text.split("\r")
        if len(lines) > MOST_SEGMENTS + 1:
            raise TooMuch(f"more than {MOST_SEGMENTS} segments", details="too-many-segments")
        if not lines[-1]:
            lines.pop()
        return lines

    def _spelled(self, lines: list[str]) -> list[str]:
        """Return the lines without empty ones, and with segment ids in capitals."""
        out = []
        for line in lines:
            if not line[:3].isupper() and _SEGMENT_LINE.match(line):
                self.warn("segment ids in lower case", at=None, details="lower-case-segment")
                line = line[:3].upper() + line[3:]
            if line and not line.isspace():
                out.append(line)
        return out

    def _with_carriage_returns(self, text: str) -> str:
        """Return the text with CR at segment ends; LF inside a value stays.

        A line behind a bare LF that cannot be a segment continues the value before it: senders
        put report text there unescaped.
        """
        lines = text.replace("\r\n", "\r").split("\n")
        out = [lines[0]]
        for line in lines[1:]:
            if line and line[0] != "\r" and not _SEGMENT_LINE.match(line) and not line.isspace():
                self.warn("a line feed inside a value", at=None, details="line-feed")
                out.append("\n")
            else:
                out.append("\r")
            out.append(line)
        return "".join(out)


def read(
    raw: bytes,
    *,
    default_charset: str | None = None,
    fallback: str | None = "GB18030",
    mislabelled: str | None = None,
) -> Message:
    """Return the message in `raw`, which begins with MSH (a byte order mark may precede).

    The character set arguments are those of `charset.decode`.

    Raises Malformed (no readable MSH), Invalid (bytes that do not fit the character set),
    NotSupported (MSH-9 or MSH-12 that cannot be served) and TooMuch (shape limits).
    """
    decoded = charset.decode(
        raw if raw[:3] == b"MSH" else raw.lstrip(b"\x0b\r\n\t "),
        default_charset=default_charset,
        fallback=fallback,
        mislabelled=mislabelled,
    )
    text = decoded.text.removeprefix("\ufeff")
    delimiters = read_delimiters(text)
    if len(text) > MOST_REPETITIONS <= text.count(delimiters.repetition):
        _limit_repetitions(text, delimiters)
    message = Message(text, decoded.codec, delimiters)
    message.issues.extend(decoded.issues)
    message.version, message.type = _described(message)
    return message


def read_delimiters(text: str) -> Delimiters:
    """Return the delimiters that MSH-1 and MSH-2 name (section 2.5.4).

    Raises Malformed when they are fewer than four, not distinct, alphanumeric or white space.
    """
    if text.startswith(_USUAL_HEADER):
        return _USUAL_DELIMITERS
    if not text.startswith("MSH") or len(text) < 4:
        raise Malformed("the message does not begin with a MSH segment", at="MSH")
    field = text[3]
    encoding = text[4 : text.find(field, 4)] if text.find(field, 4) > 0 else text[4:12]
    encoding = encoding.split("\r", 1)[0].split("\n", 1)[0]
    if len(encoding) < 4:
        raise Malformed("MSH-2 has fewer than four encoding characters", at="MSH-2")
    marks = field + encoding[:5]
    if len(set(marks)) != len(marks):
        raise Malformed("the delimiters are not distinct", at="MSH-2")
    if any(mark.isalnum() or not "!" <= mark <= "~" for mark in marks):
        raise Malformed("a delimiter is a letter, a digit or white space", at="MSH-2")
    component, repetition, escape, subcomponent = tuple(encoding[:4])
    truncation = encoding[4:5] or None
    return Delimiters(field, component, repetition, escape, subcomponent, truncation)


def nearest_version(sent: str) -> str | None:
    """Return the version of VERSIONS at or below what MSH-12 says; None when it is no version."""
    if sent in VERSIONS:
        return sent
    if not re.fullmatch(r"2(\.\d{1,3}){1,2}", sent):
        return None
    key = version_key(sent)
    lower = [known for known in VERSIONS if version_key(known) <= key]
    return lower[-1] if lower else VERSIONS[0]


def version_key(version: str) -> list[int]:
    """Return what versions are compared by."""
    return [int(part) for part in version.split(".")]


_MOST_DESCRIBED, _LONGEST_DESCRIBED = 1024, 60
_described_before: dict[tuple[str, ...], tuple[str, MessageType]] = {}


def _described(message: Message) -> tuple[str, MessageType]:
    """Return version and type: remembered where MSH-9 and MSH-12 say all, without a doubt."""
    header = message.fields[0]
    if len(header) < 13:
        return _version(message), _type(message)
    key = message.charset, header[1], header[2], header[9], header[12]
    found = _described_before.get(key)
    if found is None:
        found = _version(message), _type(message)
        doubts = message.issues or not message.header.value(9, 2)
        if not doubts and len(header[9]) + len(header[12]) <= _LONGEST_DESCRIBED:
            if len(_described_before) >= _MOST_DESCRIBED:
                _described_before.clear()
            _described_before[key] = found
    return found


def _version(message: Message) -> str:
    sent = message.header.value(12)
    if sent in VERSIONS:
        return sent
    if not sent:
        message.warn("no version is named; 2.3 is taken", at="MSH-12", details="no-version")
        return DEFAULT_VERSION
    near = nearest_version(sent)
    if near is None:
        raise NotSupported("not a version of HL7 v2", at="MSH-12", details="version")
    message.warn(f"unknown version; {near} is taken", at="MSH-12", details="unknown-version")
    return near


def _type(message: Message) -> MessageType:
    header = message.header
    code = header.value(9)
    if len(header.fields) < 10:
        raise Malformed("MSH is cut off before MSH-9", at="MSH")
    if not code:
        raise NotSupported("no message type", at="MSH-9", details="message-type")
    event = header.value(9, 2)
    if not event and (evn := message.first("EVN")) is not None:
        event = evn.value(1)
    return MessageType(code, event, header.value(9, 3) or structure_of(code, event))


def structure_of(code: str, event: str) -> str:
    """Return the message structure (MSH-9.3) of a message code and trigger event."""
    if not event:
        return code
    return _STRUCTURES.get(code, {}).get(event, f"{code}_{event}")


def _limit_repetitions(text: str, delimiters: Delimiters) -> None:
    start = len(delimiters.encoding_characters) + 4
    for line in re.split("[\r\n]", text[start:]):
        for number, raw in enumerate(line.split(delimiters.field)):
            if raw.count(delimiters.repetition) >= MOST_REPETITIONS:
                at = f"{line[:3]}-{number}" if number else None
                raise TooMuch(
                    f"more than {MOST_REPETITIONS} repetitions of one field",
                    at=at,
                    details="too-many-repetitions",
                )
