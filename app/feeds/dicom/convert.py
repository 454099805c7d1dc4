"""DICOM objects to FHIR: `yilian convert dicom FILE...`, and the converter behind the listener.

All files of one call that belong to one study become one transaction Bundle, in the order in which
the studies first appear; what cannot be read becomes an OperationOutcome in its place. Counts are
counted, an object that comes again counts once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import IO

import msgspec

from app.errors import Issue, Malformed, YilianError
from app.feeds import site
from app.feeds.dicom import dataset
from app.feeds.dicom.dataset import DICOMDIR, DataSet
from app.feeds.dicom.objects import uids
from app.feeds.dicom.source import DicomSource, Study, study
from app.fhir.ids import CONVERT_SECRET, Ids
from app.fhir.outcome import operation_outcome
from app.mapping import explain
from app.mapping.compile import compile_library
from app.mapping.library import (
    belonging,
    merge,
    read_file,
    read_folder,
    shipped_only,
    unconditional,
)
from app.mapping.run import Context, Made, Mapping_
from app.mapping.trace import Trace

DEFAULT_ZONE = "Asia/Shanghai"

Key = tuple[str, str, str]

_json = msgspec.json.Encoder(decimal_format="number")


class Converter:
    """Converts the objects of a study with one compiled mapping."""

    def __init__(
        self, mapping: Mapping_, context: Context, zone: tzinfo, *, most_instances: int = 2000
    ) -> None:
        self.mapping = mapping
        self.context = context
        self.zone = zone
        self.most_instances = most_instances

    def study(self, instances: Mapping[Key, DataSet], sender: str | None = None) -> Study:
        """Return the study as the mapping sees it. `sender`: the calling AE."""
        most = self.most_instances
        return study(instances, zone=self.zone, sender=sender, most_instances=most)

    def convert(self, instances: Mapping[Key, DataSet], sender: str | None = None) -> Made:
        """Return what all that is known of one study says."""
        return self.mapping.run(self.study(instances, sender), self.context)

    def explain(
        self, instances: Mapping[Key, DataSet], sender: str | None = None
    ) -> tuple[Made, list[str]]:
        """Return the same, and which rule made what; needs a mapping loaded with `trace`."""
        doc, trace = self.study(instances, sender), Trace()
        made = self.mapping.run(doc, self.context, trace)
        return made, list(explain.lines(doc, made, trace))


def load(folders: Sequence[Path], files: Iterable[Path] = (), *, trace: bool = False) -> Mapping_:
    """Return the compiled DICOM mapping of shipped files, a site's overlays and given files."""
    parts = [file for folder in folders if folder.is_dir() for file in read_folder(folder)]
    parts += [read_file(path, path.name) for path in files]
    parts = unconditional(belonging(parts, "dicom"))
    check = not shipped_only(parts)
    return compile_library(merge("dicom", parts), DicomSource(), check=check, trace=trace)


@dataclass(slots=True)
class Group:
    """The objects of one study of the call, or why one object is in none."""

    instances: dict[Key, DataSet] = field(default_factory=dict)
    issues: Sequence[Issue] = ()


def grouped(files: Iterable[bytes], charset: str | None = None) -> list[Group]:
    """Return the studies of a call in order of first appearance, and the bad objects between."""
    studies: dict[str, Group] = {}
    out: list[Group] = []
    for data in files:
        try:
            sets = read(data, charset)
            keys = [uids(ds) for ds in sets]
        except YilianError as exc:
            out.append(Group(issues=exc.issues))
            continue
        if not sets:
            out.append(Group(issues=(_INDEX,)))
        for key, ds in zip(keys, sets, strict=True):
            group = studies.get(key[0])
            if group is None:
                group = studies[key[0]] = Group()
                out.append(group)
            known = group.instances.get(key)
            if known is None or created(ds) >= created(known):
                group.instances[key] = ds
    return out


_INDEX = Issue("information", "informational", "a DICOMDIR is an index: the files beside it count")


def read(data: bytes, charset: str | None = None) -> list[DataSet]:
    """Return the data sets in the bytes of a file; none for a DICOMDIR. Raises Malformed."""
    if not data:
        raise Malformed("the file is empty")
    if dataset.is_json(data):
        return dataset.read_json(data)
    ds = dataset.read(data, charset=charset)
    return [] if DICOMDIR in (ds.text("MediaStorageSOPClassUID"), ds.text("SOPClassUID")) else [ds]


def created(ds: DataSet) -> str:
    """Return when an object was made (0008,0012) (0008,0013), for comparing two of one UID."""
    return ds.text("InstanceCreationDate") + ds.text("InstanceCreationTime")


# --------------------------------------------------------------------------------- the command


def main(
    argv: Sequence[str], stdin: IO[bytes], stdout: IO[str], stderr: IO[str] | None = None
) -> int:
    """Convert files to NDJSON; return 0, or 1 when a file could not be converted.

    Warnings and what `--explain` has to tell go to `stderr`.
    """
    told = stderr or sys.stderr
    args = _parser().parse_args(argv)
    converter = _converter(args)
    failed = False
    for group in grouped(_files(args.files, stdin), args.charset):
        if group.issues:
            line = operation_outcome(group.issues)
            failed = failed or any(issue.severity != "information" for issue in group.issues)
        else:
            made, notes = _converted(converter, group, args)
            line = _json.encode(made.bundle())
            for issue in made.issues:
                told.write(f"{issue.severity}: {issue.text}\n")
            for note in notes:
                told.write(f"{note}\n")
        if args.pretty:
            line = msgspec.json.format(line, indent=2)
        stdout.write(line.decode() + "\n")
    return 1 if failed else 0


def _converted(
    converter: Converter, group: Group, args: argparse.Namespace
) -> tuple[Made, Sequence[str]]:
    if args.explain:
        return converter.explain(group.instances, args.calling)
    return converter.convert(group.instances, args.calling), ()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="yilian convert dicom",
        description="DICOM objects to FHIR R4: one transaction Bundle per study, one a line.",
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="Part 10 or DICOM JSON; - is stdin"
    )
    parser.add_argument("--mapping", metavar="FILE", type=Path, help="one more mapping file")
    parser.add_argument("--overlay", metavar="DIR", type=Path, help="mappings of the site")
    parser.add_argument("--calling", metavar="AE", help="the AE title of the sender")
    parser.add_argument("--charset", metavar="TERMS", help="instead of (0008,0005)")
    parser.add_argument("--time-zone", metavar="ZONE", default=DEFAULT_ZONE)
    parser.add_argument("--explain", action="store_true", help="which rule made which element")
    parser.add_argument("--pretty", action="store_true", help="indented JSON")
    return parser


def _converter(args: argparse.Namespace) -> Converter:
    zone = site.zone(args.time_zone)
    folders = site.folders("dicom", args.overlay)
    mapping = load(folders, [args.mapping] if args.mapping else [], trace=args.explain)
    values = {
        "assigners": site.authorities(args.overlay),
        "mapping_digest": mapping.digest,
        "mapping_files": " ".join(mapping.files),
    }
    return Converter(mapping, Context(Ids(CONVERT_SECRET), values), zone)


def _files(names: Sequence[str], stdin: IO[bytes]) -> Iterator[bytes]:
    for name in names:
        path = Path(name)
        if name == "-":
            yield stdin.read()
        elif path.is_dir():
            for one in sorted(found for found in path.rglob("*") if found.is_file()):
                yield one.read_bytes()
        else:
            yield path.read_bytes()
