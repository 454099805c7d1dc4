"""Device messages to FHIR: `yilian convert iot FILE...`, and the converter behind every door.

One message becomes one transaction Bundle. What several messages say about one thing (an alarm from
start to end, a correction, a repetition) meets in `state.py`, so that the Bundles of one call,
applied in the order they are printed, end right whatever the order of the messages was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo

import msgspec

from app.errors import Invalid, Issue, Malformed, NotFound, YilianError
from app.feeds import site
from app.feeds.iot import ble_gatt, messages, times
from app.feeds.iot.catalogue import Catalogue, Entry
from app.feeds.iot.messages import Message
from app.feeds.iot.source import document
from app.feeds.iot.state import State
from app.feeds.iot.vocabulary import Vocabulary
from app.fhir.ids import CONVERT_SECRET, Ids
from app.fhir.outcome import operation_outcome
from app.mapping import explain
from app.mapping.run import Context, Made
from app.mapping.trace import Trace

DEFAULT_ZONE = "Asia/Shanghai"
_BLUETOOTH = "ble"

_json = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of one message: its entries, or nothing to convert and why."""

    mapping: str
    made: Made
    explained: tuple[str, ...] = ()


class Converter:
    """Converts messages with the mappings of one catalogue."""

    def __init__(
        self, catalogue: Catalogue, context: Context, zone: ZoneInfo, *, traced: bool = False
    ) -> None:
        self.catalogue = catalogue
        self.context = context
        self.zone = zone
        self.traced = traced
        self._contexts: dict[tuple[str, bool], Context] = {}

    def convert(
        self, raw: bytes, state: State | None = None, *, provenance: bool = True, **outside: Any
    ) -> Converted:
        """Return what one message says.

        outside: what the transport knows about it (see `messages.message`). state: what earlier
        messages said, changed by this one. Raises Malformed, TooMuch, NotSupported or Invalid.
        """
        message = messages.message(raw, **outside)
        return self.converted(message, state, provenance=provenance)

    def converted(
        self,
        message: Message,
        state: State | None = None,
        *,
        provenance: bool = True,
        vocabulary: Vocabulary | None = None,
    ) -> Converted:
        """Return what a message says. vocabulary: instead of the mapping's own."""
        entry = self.catalogue.get(self.name(message), trace=self.traced)
        zone = times.zone_of(message.utc_offset) or self.zone
        payload = _payload(message, zone)
        if not self.catalogue.fits(entry.name, payload):
            raise Invalid(
                "the message holds nothing that its mapping looks for", details="mapping-none"
            )
        doc = document(message, payload, entry.name, vocabulary or entry.vocabulary, zone)
        trace = Trace() if self.traced else None
        made = entry.mapping.run(doc, self._context(entry, provenance), trace)
        if state is not None:
            state.merge(made)
        explained = tuple(explain.lines(doc, made, trace)) if trace is not None else ()
        return Converted(entry.name, made, explained)

    def _context(self, entry: Entry, provenance: bool) -> Context:
        found = self._contexts.get((entry.name, provenance))
        if found is None:
            values = {
                **self.context.values,
                "mapping_digest": entry.mapping.digest,
                "mapping_files": " ".join(entry.mapping.files),
                "provenance": provenance,
            }
            found = self._contexts[entry.name, provenance] = Context(self.context.ids, values)
        return found

    def name(self, message: Message) -> str:
        """Return the mapping a message names in envelope or topic, else the only one that fits."""
        for name in (message.mapping, message.topic_mapping):
            if name is not None:
                if not self.catalogue.knows(name):
                    raise NotFound("there is no device mapping of that name", at="$.mapping")
                return name
        if message.characteristic is not None:
            return _BLUETOOTH
        names = self.catalogue.matching(message.payload)
        if len(names) == 1:
            return names[0]
        if names:
            raise Invalid(
                "several mappings fit this message: name one", details="mapping-ambiguous"
            )
        raise Invalid("no mapping fits this message", details="mapping-none")


def _payload(message: Message, zone: Any) -> Any:
    """Return the content as paths see it: JSON as it is, Bluetooth octets as named readings."""
    if message.characteristic is None:
        content = message.payload
        if isinstance(content, str):  # a gateway that passes on what it got as text
            content = messages.decode(content.encode("utf-8", "surrogatepass"))
        if not isinstance(content, dict):
            raise Malformed("a message is a JSON object")
        return content
    if not isinstance(message.payload, str):
        raise Malformed("a Bluetooth value is hexadecimal text", at="$.payload")
    octets = ble_gatt.octets_of(message.payload)
    start = times.parse(message.session_start, zone)
    records = ble_gatt.decode(message.characteristic, octets)
    return {
        "characteristic": ble_gatt.short_uuid(message.characteristic),
        "records": [ble_gatt.with_offset(record, start, zone) for record in records],
    }


# --------------------------------------------------------------------------------- the command


# What one message of a file becomes: its line, what to note, and whether it was good.
Line = tuple[bytes, Sequence[str], bool]
Other = Callable[[bytes], Iterable[Line]]


def main(
    argv: Sequence[str],
    stdin: IO[bytes],
    stdout: IO[str],
    stderr: IO[str] | None = None,
    *,
    others: Mapping[str, Other] | None = None,
) -> int:
    """Convert files to NDJSON; return 0, or 1 when a message could not be converted.

    Warnings and what `--explain` has to tell go to `stderr`. others: who converts files that are no
    device JSON, by the end of their names.
    """
    told = stderr or sys.stderr
    args = _parser().parse_args(argv)
    converter = _converter(args)
    name = None
    if args.mapping:
        name = converter.catalogue.given or args.mapping
        converter.catalogue.get(name)
    state = State()
    failed = False
    converted = (
        line
        for file in args.files
        for line in _file(
            file, stdin, others or {}, lambda raw: _convert(converter, raw, state, name)
        )
    )
    for number, (line, notes, ok) in enumerate(converted, 1):
        failed = failed or not ok
        for note in notes:
            told.write(f"message {number}: {note}\n")
        shown = msgspec.json.format(line, indent=2) if args.pretty else line
        stdout.write(shown.decode() + "\n")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="yilian convert iot",
        description="Device messages to FHIR R4: one transaction Bundle per message, one a line.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSON or NDJSON; - is stdin")
    parser.add_argument("--mapping", metavar="NAME|FILE", help="instead of finding the mapping")
    parser.add_argument("--overlay", metavar="DIR", type=Path, help="mappings of the site")
    parser.add_argument("--time-zone", metavar="ZONE", default=DEFAULT_ZONE)
    parser.add_argument("--explain", action="store_true", help="which rule made which element")
    parser.add_argument("--pretty", action="store_true", help="indented JSON")
    return parser


def _converter(args: argparse.Namespace) -> Converter:
    zone = site.zone(args.time_zone)
    given = [Path(args.mapping)] if args.mapping and _is_file(args.mapping) else []
    catalogue = Catalogue(site.folders("iot", args.overlay), given)
    values = {"assigners": site.authorities(args.overlay), "zone": zone}
    return Converter(catalogue, Context(Ids(CONVERT_SECRET), values), zone, traced=args.explain)


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml", ".json")) or "/" in name


def _file(
    name: str,
    stdin: IO[bytes],
    others: Mapping[str, Other],
    convert: Callable[[bytes | YilianError], Line],
) -> Iterator[Line]:
    body = stdin.read() if name == "-" else Path(name).read_bytes()
    other = others.get(Path(name).suffix)
    if other is not None:
        yield from other(body)
        return
    lines = True if name.endswith((".ndjson", ".jsonl")) else None
    try:
        for entry in messages.split(body, lines=lines):
            yield convert(entry)
    except YilianError as exc:
        yield convert(exc)


def _convert(
    converter: Converter, raw: bytes | YilianError, state: State, mapping: str | None
) -> Line:
    """Return the line for one entry, what there is to note, and whether the entry was good."""
    if isinstance(raw, YilianError):
        return operation_outcome(raw.issues), (), False
    try:
        found = converter.convert(raw, state, mapping=mapping)
    except YilianError as exc:
        return operation_outcome(exc.issues), (), False
    notes = [f"{issue.severity}: {issue.text}" for issue in found.made.issues]
    notes += found.explained
    if not found.made.entries:
        return operation_outcome([_NOTHING]), notes, True
    return _json.encode(found.made.bundle()), notes, True


_NOTHING = Issue("information", "informational", "there is nothing to convert in this message")
