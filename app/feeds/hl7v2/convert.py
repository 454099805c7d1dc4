"""HL7 v2 messages to FHIR R4 Bundles: the function behind MLLP, HTTP and `yilian convert hl7v2`.

Pure: no clock, no randomness, no database; the same bytes give the same Bundles. What a message
means is in `mappings/hl7v2/`; this module reads, chooses the mapping and reports.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import lru_cache
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from app.errors import Invalid, Issue, NotFound, YilianError
from app.feeds.hl7v2 import er7, split
from app.feeds.hl7v2.functions import event_time, zone_of
from app.feeds.hl7v2.source import Document, Hl7Source
from app.fhir.ids import CONVERT_SECRET, Ids
from app.fhir.outcome import operation_outcome
from app.fhir.validate import problems
from app.mapping import assigners, examples, explain, library
from app.mapping.compile import compile_condition, compile_library
from app.mapping.run import Context, Entry, Made, Mapping_, Run
from app.mapping.trace import Trace
from app.paths import shipped

HUB_VERSION = "0.1.0"
DEFAULT_ZONE = "Asia/Shanghai"

# Messages that carry answers or questions, no content (hl7v2.md 6.2); RSP with PID does.
_NO_CONTENT = frozenset(
    ("ACK", "QBP", "QRY", "QCN", "QSB", "QSX", "MCF", "ORA", "NMD", "NMQ", "NMR", "QVR", "VXQ",
     "SPQ", "VQQ", "EQQ", "RQQ", "OSQ", "DSR", "EDR", "ERP", "TBR", "UDM", "RTB")
)  # fmt: skip
# Segments that carry no data of their own.
_STRUCTURAL = frozenset(("RGS", "DSC", "MFI", "MFE", "QAK", "QPD", "ERR", "MSA", "EVN", "SFT"))
_ENVELOPE = frozenset(("MessageHeader", "Provenance"))  # of what a message says
_MOST_UNMAPPED = 50
_MOST_CONTEXTS = 64
_SHORT = 64_000  # bytes of what is read first as one message
_LF, _VT = b"\n\x0b"  # numbers: they are found faster than bytes of one
_ENCODER = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class Options:
    """What a sender's profile may set.

    mappings: folders or files of overlays, over the shipped mappings. assigners: further tables
    of assigning authorities. explain: also say which rule made what. contexts: what was worked out
    for conversions with these options.
    """

    time_zone: str = DEFAULT_ZONE
    default_charset: str | None = None
    fallback_charset: str | None = "GB18030"
    mislabelled: str | None = None
    mappings: tuple[Path, ...] = ()
    assigners: tuple[Path, ...] = ()
    facility: str | None = None
    provenance: bool = True
    bundle_type: str = "transaction"
    strict: bool = False
    explain: bool = False
    secret: bytes = CONVERT_SECRET
    tenant: str = ""
    contexts: dict[tuple[Mapping_, tzinfo], Context] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )


class Result(msgspec.Struct, frozen=True):
    """What became of one message.

    bundle: None when it was refused, or holds nothing to convert. refused: True for the former.
    event_time: when it happened, as the sender says (EVN-6, EVN-2, else MSH-7), a FHIR dateTime: an
        older message must not overwrite what a newer one wrote (hl7v2.md section 7).
    explained: lines for `--explain`. entries: what the Bundle's entries were printed from, in their
    order unless the Bundle is a `message`.
    """

    bundle: dict[str, Any] | None
    issues: tuple[Issue, ...]
    refused: bool = False
    event_time: str | None = None
    control_id: str = ""
    explained: tuple[str, ...] = ()
    entries: Sequence[Entry] = ()


def of_site(time_zone: str, secret: bytes, overlay: Path | None) -> Options:
    """Return the options of an installation.

    overlay: the site's folder, with its mappings in `hl7v2` and its rows of `assigners.yaml`.
    Raises Invalid with every problem of its mappings, file and line; NotFound without the folder.
    """
    if overlay is None:
        return Options(time_zone=time_zone, secret=secret)
    if not overlay.is_dir():
        raise NotFound("there is no such folder", at="--overlay")
    mappings, table = overlay / "hl7v2", overlay / "assigners.yaml"
    options = Options(
        time_zone=time_zone,
        secret=secret,
        mappings=(mappings,) if mappings.is_dir() else (),
        assigners=(table,) if table.is_file() else (),
    )
    if options.mappings or options.assigners:
        _engine(options.mappings, options.assigners, options.explain).check()
    return options


def convert(raw: bytes, options: Options | None = None) -> list[Result]:
    """Return one result for each message in `raw`: a message, a batch, several, MLLP frames."""
    chosen = options or Options()
    engine = _engine(chosen.mappings, chosen.assigners, chosen.explain)
    message = _alone(raw, chosen)
    if message is not None:
        return [_convert_read(message, chosen, engine, ())]
    return [_convert_one(piece, chosen, engine) for piece in split.split(raw)]


def convert_message(message: er7.Message, options: Options | None = None) -> Result:
    """Return the result of one message that has been read."""
    chosen = options or Options()
    engine = _engine(chosen.mappings, chosen.assigners, chosen.explain)
    return _converted(message, chosen, engine, [])


def _alone(raw: bytes, options: Options) -> er7.Message | None:
    """Return the message that is all of `raw`, as usual; None if that needs a closer look."""
    if len(raw) > _SHORT or raw[:3] != b"MSH" or _LF in raw or _VT in raw:
        return None
    try:
        message = _read(raw, options)
    except YilianError:
        return None
    if message.alone:
        return message
    message.close()
    return None


def _read(raw: bytes, options: Options) -> er7.Message:
    return er7.read(
        raw,
        default_charset=options.default_charset,
        fallback=options.fallback_charset,
        mislabelled=options.mislabelled,
    )


def _convert_one(piece: split.Piece, options: Options, engine: _Engine) -> Result:
    try:
        message = _read(piece.raw, options)
    except YilianError as exc:
        return Result(None, (*piece.issues, *exc.issues), refused=True)
    return _convert_read(message, options, engine, piece.issues)


def _convert_read(
    message: er7.Message, options: Options, engine: _Engine, issues: Sequence[Issue]
) -> Result:
    try:
        return _converted(message, options, engine, list(issues))
    except YilianError as exc:
        return Result(None, (*issues, *exc.issues), refused=True)
    finally:
        message.close()


def _converted(
    message: er7.Message, options: Options, engine: _Engine, issues: list[Issue]
) -> Result:
    zone = zone_of(message, _zone(options.time_zone))
    if message.type.code in _NO_CONTENT or (
        message.type.code == "RSP" and not message.first("PID")
    ):
        text = f"nothing to convert: {message.type.code} carries no data about a patient"
        told = Issue("information", "informational", text, "MSH-9", "nothing-to-convert")
        return Result(None, (*issues, *message.issues, told), control_id=message.control_id)
    mapping = engine.mapping_for(message)
    context = _context(options, engine, mapping, zone)
    doc = Document(message, context.values)
    trace = Trace() if options.explain else None
    made = mapping.run(doc, context, trace)
    issues += message.issues
    issues += made.issues
    issues += _unmapped(message, mapping)
    if all(entry.type in _ENVELOPE for entry in made.entries):
        told = Issue(
            "information",
            "informational",
            "nothing to convert in this message",
            None,
            "nothing-to-convert",
        )
        return Result(None, (*issues, told), control_id=message.control_id)
    bundle = _bundle(made, options)
    refused = False
    if options.strict:
        found = _problems(bundle)
        issues += found
        refused = any(issue.severity in ("error", "fatal") for issue in found)
    explained = tuple(explain.lines(doc, made, trace)) if trace is not None else ()
    doc.close()
    return Result(
        None if refused else bundle,
        tuple(issues),
        refused,
        event_time(message, zone),
        message.control_id,
        explained,
        made.entries,
    )


def _context(options: Options, engine: _Engine, mapping: Mapping_, zone: tzinfo) -> Context:
    """Return what conversions by a mapping are told; the same for all that have these options."""
    known = options.contexts
    found = known.get((mapping, zone))
    if found is None:
        values = {
            "zone": zone,
            "facility": options.facility,
            "assigners": engine.assigners,
            "provenance": "yes" if options.provenance else None,
            "bundle_type": options.bundle_type,
            "hub_version": HUB_VERSION,
            "mapping_digest": mapping.digest[:16],
            "mapping_files": mapping.names,
        }
        if len(known) >= _MOST_CONTEXTS:
            known.clear()
        found = known[mapping, zone] = Context(_ids(options.secret, options.tenant), values)
    return found


def _bundle(made: Made, options: Options) -> dict[str, Any]:
    bundle = made.bundle(options.bundle_type)
    if options.bundle_type == "message":
        entries = bundle["entry"]
        entries.sort(key=lambda entry: entry["resource"]["resourceType"] != "MessageHeader")
        for entry in entries:
            del entry["request"]
    return bundle


def _unmapped(message: er7.Message, mapping: Mapping_) -> list[Issue]:
    """Report segments that no rule looks at: they stay in the raw message only."""
    known = _segments_of(mapping)
    if known.issuperset(message.ids):
        return []
    unknown = dict.fromkeys(id_ for id_ in message.ids if id_ not in known)
    return [
        Issue(
            "information",
            "not-supported",
            "no mapping looks at this segment; it is kept in the raw message",
            id_ if id_.isalnum() else None,
            "unmapped-segment",
        )
        for id_ in list(unknown)[:_MOST_UNMAPPED]
    ]


@lru_cache(maxsize=64)
def _segments_of(mapping: Mapping_) -> frozenset[str]:
    """Return the ids of the segments that a mapping looks at, and of those about the file."""
    named = (re.findall(r"[A-Z][A-Z0-9]{2}", path.partition("-")[0]) for path in mapping.paths)
    return frozenset(id_ for ids in named for id_ in ids) | _STRUCTURAL


def _problems(bundle: Mapping[str, Any]) -> list[Issue]:
    out: list[Issue] = []
    for entry in bundle["entry"]:
        resource = entry["resource"]
        out.extend(problems(resource, resource["resourceType"]))
    return out


# --- mappings ------------------------------------------------------------------------------------


class _Engine:
    """The compiled mappings of one set of files; overlays with `for:` make variants."""

    def __init__(self, mappings: tuple[Path, ...], tables: tuple[Path, ...], trace: bool) -> None:
        self._files = library.read_folder(shipped("mappings") / "hl7v2")
        for path in mappings:
            found = library.read_folder(path) if path.is_dir() else [library.read_file(path)]
            self._files += library.belonging(found, "hl7v2")
        self._check = bool(mappings)  # the shipped ones have been
        self._trace = trace
        self._source = Hl7Source()
        self._variants: dict[tuple[bool, ...], Mapping_] = {}
        self._conditional = [
            (file, compile_condition(file.condition, file.condition_at, self._source))
            for file in self._files
            if file.condition is not None
        ]
        self.assigners = assigners.load((shipped("mappings") / "assigners.yaml", *tables))

    def check(self) -> None:
        """Compile what any message may need. Raises Invalid with every problem, file and line."""
        count = len(self._conditional)
        self._variant((False,) * count)
        for index in range(count):
            self._variant(tuple(index == other for other in range(count)))

    def examples(self) -> list[library.Example]:
        """Return the worked examples of all files."""
        return library.merge("hl7v2", self._files).examples

    def mapping_for(self, message: er7.Message) -> Mapping_:
        """Return the mapping with the overlays that are meant for this message."""
        if not self._conditional:
            return self._variant(())
        doc = Document(message, {})
        run = Run(doc, Context(_ids(CONVERT_SECRET, "")))
        chosen = tuple(bool(meant(doc.root, run)) for _, meant in self._conditional)
        doc.close()
        return self._variant(chosen)

    def _variant(self, chosen: tuple[bool, ...]) -> Mapping_:
        found = self._variants.get(chosen)
        if found is None:
            left_out = [
                file for (file, _), on in zip(self._conditional, chosen, strict=True) if not on
            ]
            files = [f for f in self._files if not any(f is other for other in left_out)]
            merged = library.merge("hl7v2", files)
            found = self._variants[chosen] = compile_library(
                merged, self._source, check=self._check, trace=self._trace
            )
        return found


@lru_cache(maxsize=16)
def _engine(mappings: tuple[Path, ...], tables: tuple[Path, ...], trace: bool) -> _Engine:
    return _Engine(mappings, tables, trace)


def reload() -> None:
    """Read the mapping files again when they are next needed: an overlay has changed."""
    _engine.cache_clear()


@lru_cache(maxsize=64)
def _ids(secret: bytes, tenant: str) -> Ids:
    return Ids(secret, tenant)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as exc:
        raise Invalid("unknown time zone", at="--time-zone") from exc


# --- command line --------------------------------------------------------------------------------


def main(
    argv: Sequence[str] | None = None,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
    stderr: IO[str] | None = None,
) -> int:
    """Run `yilian convert hl7v2`: one JSON line for each message; 0, 1 (refused) or 2 (usage)."""
    out = stdout or sys.stdout.buffer
    err = stderr or sys.stderr
    parser = _parser()
    try:
        args = parser.parse_args(argv)
        if not args.files and not args.examples:
            parser.error("name at least one FILE")
    except SystemExit as exc:
        return 2 if exc.code else 0
    try:
        options = _options(args)
        _zone(options.time_zone)
        engine = _engine(options.mappings, options.assigners, options.explain)
        engine.check()
    except YilianError as exc:
        for issue in exc.issues:
            err.write(f"{issue.at or 'convert'}: {issue.severity}: {issue.text}\n")
        return 2
    if args.examples:
        return _run_examples(engine, options, err)
    status = 0
    for name in args.files:
        try:
            raw = (stdin or sys.stdin.buffer).read() if name == "-" else Path(name).read_bytes()
        except OSError as exc:
            err.write(f"{name}: error: {exc.strerror or 'cannot be read'}\n")
            return 2
        for number, piece in enumerate(split.split(raw), 1):
            result = _convert_one(piece, options, engine)
            _write(result, args, out)
            for issue in result.issues:
                at = f" at {issue.at}" if issue.at else ""
                err.write(f"{name}:{number}: {issue.severity}: {issue.text}{at}\n")
            for line in result.explained:
                err.write(f"{line}\n")
            status = 1 if result.refused else status
    out.flush()
    return status


def _run_examples(engine: _Engine, options: Options, err: IO[str]) -> int:
    """Run the worked examples of all mapping files in use; say which do not come out."""
    found = engine.examples()
    wrong = 0
    for example in found:
        raw = library.examples_text(example).encode()
        results = convert(raw, options)
        lines = examples.failures(results[0].bundle, example.expect)
        wrong += bool(lines)
        for line in lines:
            err.write(f"{example.file}:{example.line}: {example.title}: {line}\n")
    err.write(f"{len(found) - wrong} of {len(found)} examples come out as written\n")
    return 1 if wrong else 0


def _write(result: Result, args: argparse.Namespace, out: IO[bytes]) -> None:
    if result.bundle is None:
        issues = [i for i in result.issues if i.severity in ("error", "fatal")] or result.issues
        line = operation_outcome(issues)
    else:
        line = _ENCODER.encode(result.bundle)
    if args.pretty:
        line = msgspec.json.format(line, indent=2)
    out.write(line + b"\n")


def _options(args: argparse.Namespace) -> Options:
    return Options(
        time_zone=args.time_zone,
        default_charset=args.charset,
        mappings=tuple(_overlay(name) for name in args.mapping),
        assigners=tuple(Path(name) for name in args.assigners),
        provenance=not args.no_provenance,
        bundle_type=args.bundle_type,
        strict=args.strict,
        explain=args.explain,
    )


def _overlay(name: str) -> Path:
    path = Path(name)
    if not path.exists():
        raise NotFound("there is no such mapping file or folder", at=name)
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="yilian convert hl7v2",
        description="Print one FHIR R4 Bundle for each HL7 v2 message, one JSON object a line.",
    )
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="a file of messages; - reads stdin"
    )
    parser.add_argument(
        "--mapping",
        action="append",
        default=[],
        metavar="FILE",
        help="an overlay file or folder over the shipped mappings; repeatable",
    )
    parser.add_argument(
        "--assigners",
        action="append",
        default=[],
        metavar="FILE",
        help="a further table of assigning authorities; repeatable",
    )
    parser.add_argument(
        "--time-zone",
        default=DEFAULT_ZONE,
        metavar="NAME",
        help=f"zone of times without an offset (default {DEFAULT_ZONE})",
    )
    parser.add_argument(
        "--charset", metavar="NAME", help="character set of messages that name none (MSH-18)"
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="say on stderr which rule made each element from which field",
    )
    parser.add_argument("--pretty", action="store_true", help="indent the JSON")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="validate each Bundle; one that is not valid R4 is refused",
    )
    parser.add_argument(
        "--no-provenance", action="store_true", help="leave out MessageHeader and Provenance"
    )
    parser.add_argument(
        "--examples",
        action="store_true",
        help="run the worked examples of the mapping files instead of converting",
    )
    parser.add_argument("--bundle-type", choices=("transaction", "message"), default="transaction")
    return parser


if __name__ == "__main__":
    sys.exit(main())
