"""One message from bytes to statements: everything that needs no store.

What comes out is plain values, so that another process may do it (`helpers.py`): reading,
converting, checking and indexing are most of the work on a message.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from app import errors
from app.errors import Issue, NotSupported, Unavailable, YilianError
from app.feeds.apply import Stated
from app.feeds.hl7v2 import ack, er7, required
from app.feeds.hl7v2.ack import Header, Positive, Verdict
from app.feeds.hl7v2.convert import Options, convert_message
from app.feeds.hl7v2.escapes import Delimiters
from app.feeds.hl7v2.lifecycle import Lifecycle, removed
from app.feeds.hl7v2.named import Named, named
from app.feeds.statement import Recent, Statement, statements
from app.fhir import dates
from app.store.prepare import Preparer, pack_words

log = logging.getLogger(__name__)

_SILENT = frozenset(("ACK", "MCF"))  # acknowledgements are not acknowledged
_ANSWERS_TO_US = frozenset(("RSP", "ORA", "NMR", "DSR", "EDR", "ERP", "TBR", "RTB"))


class Said(msgspec.Struct, frozen=True, array_like=True):
    """What a message says. at: event time, microseconds since 1970; None when it names none."""

    statements: list[Statement]
    event: str
    at: int | None
    at_text: str | None
    removed: Mapping[str, frozenset[str]]

    def stated(self, now_us: int) -> Stated:
        """Return it as what is applied; a message without a time is of now."""
        lifecycle = Lifecycle(self.event, self.at_text)
        at = now_us if self.at is None else self.at
        return Stated(self.statements, at, lifecycle, self.removed)


@dataclass(frozen=True, slots=True)
class Wrong:
    """An error of `app/errors.py` as plain values."""

    kind: str
    issues: tuple[Issue, ...]

    def error(self) -> YilianError:
        kind: type[YilianError] = getattr(errors, self.kind, YilianError)
        if kind is Unavailable:
            return Unavailable(self.issues[0].text)
        return kind.of(self.issues)


_FAULT = Wrong(
    "YilianError",
    (Issue("error", "exception", "an internal error; the message is kept", None, "fault"),),
)


class Read(msgspec.Struct, frozen=True):
    """One message read: its header, and what it says or what is wrong with it.

    silent: it wants no answer. refused: what is wrong makes it unacceptable as a message.
    named, positive: what follows from header and bytes, when who read it has looked.
    """

    header: Header
    said: Said | None = None
    wrong: Wrong | None = None
    silent: bool = False
    refused: bool = False
    issues: tuple[Issue, ...] = ()
    named: Named | None = None
    positive: Positive | None = None


class _Packed(msgspec.Struct, array_like=True):
    """A message read, without names and with its header in pieces."""

    marks: str  # the delimiters
    codec: str
    fields: tuple[str, ...]
    said: Said | None
    wrong: Wrong | None
    silent: bool
    refused: bool
    issues: tuple[Issue, ...]
    named: Named | None
    positive: Positive | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads messages with one sender's settings; `preparer` None leaves preparing to others."""

    options: Options
    zone: tzinfo
    preparer: Preparer | None = None
    recent: Recent = field(default_factory=Recent, compare=False)

    def read(self, raw: bytes) -> Read:
        """Return a message read and converted, or what is wrong with it."""
        read = self._read(raw)
        header = read.header
        return replace(read, named=named(header, raw), positive=ack.positive(header))

    def _read(self, raw: bytes) -> Read:
        options = self.options
        try:
            message = er7.read(
                raw,
                default_charset=options.default_charset,
                fallback=options.fallback_charset,
                mislabelled=options.mislabelled,
            )
        except YilianError as exc:
            return Read(ack.header_of_raw(raw), wrong=_wrong(exc), refused=True)
        header = ack.header_of(message)
        if message.type.code in _SILENT:
            return Read(header, silent=True, issues=tuple(message.issues))
        try:
            required.check(message)
            return self._converted(message, header)
        except YilianError as exc:
            refused = ack.verdict_of(exc) is Verdict.REJECT
            return Read(header, wrong=_wrong(exc), refused=refused, issues=tuple(message.issues))
        except Exception:
            log.exception("hl7v2.read_failed")
            return Read(header, wrong=_FAULT, issues=tuple(message.issues))
        finally:
            message.close()

    def _converted(self, message: er7.Message, header: Header) -> Read:
        result = convert_message(message, self.options)
        if result.refused:
            raise YilianError.of(result.issues)
        if result.bundle is None:
            if message.type.code in _ANSWERS_TO_US:
                return Read(header, issues=result.issues)
            raise NotSupported(
                "this type of message is not supported", at="MSH-9", details="message-type"
            )
        at = dates.bounds(result.event_time, self.zone)[0] if result.event_time else None
        stated = statements(result.bundle, self.preparer, self.recent, result.entries)
        patients = [one.id for one in stated if one.type == "Patient"]
        taken = removed(message, patients)
        said = Said(stated, message.type.event, at, result.event_time, taken)
        return Read(header, said, issues=result.issues)


def packed(read: Read) -> bytes:
    """Return a message as it goes over a pipe; it is used up. A body that is prepared goes once."""
    for one in read.said.statements if read.said is not None else ():
        prepared = one.prepared
        if prepared is not None:
            pack_words(prepared)
            if prepared.body is one.body:
                prepared.body = b""
    header = read.header
    return _encode(
        (
            header.delimiters.field + header.delimiters.encoding_characters,
            header.codec,
            header.fields,
            read.said,
            read.wrong,
            read.silent,
            read.refused,
            read.issues,
            read.named,
            read.positive,
        )
    )


def unpacked(data: bytes | memoryview) -> Read:
    """Return what `packed` was given. Raises msgspec.MsgspecError for anything else."""
    found = _decode(data)
    for one in found.said.statements if found.said is not None else ():
        prepared = one.prepared
        if prepared is not None and not prepared.body:
            prepared.body = one.body
    return Read(
        Header(_delimiters(found.marks), found.codec, found.fields),
        found.said,
        found.wrong,
        found.silent,
        found.refused,
        found.issues,
        found.named,
        found.positive,
    )


@lru_cache(maxsize=16)
def _delimiters(marks: str) -> Delimiters:
    return Delimiters(*marks)


def _wrong(error: YilianError) -> Wrong:
    return Wrong(type(error).__name__, tuple(error.issues))
