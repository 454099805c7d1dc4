"""`yilian send dicom HOST:PORT FILE...`: store files as a modality would.

DICOM PS3.4 B (storage service class user), PS3.7 9.1.1. A file is sent in the transfer syntax it
is in; its bytes are not decoded. At most 128 presentation contexts fit into one association
(PS3.8 9.3.2.2), so many kinds of files need several.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from pydicom.dataset import Dataset
from pydicom.filereader import dcmread
from pydicom.uid import UID
from pynetdicom import AE, _config, build_context

from app.errors import Malformed, YilianError
from app.feeds.dicom.encoding import EXPLICIT_LITTLE, IMPLICIT_LITTLE, read, tag_text
from app.feeds.dicom.scp import AE_TITLE, VERIFICATION

_CONTEXTS: Final = 120
_META_SOP_CLASS: Final = 0x00020002
_SOP_CLASS: Final = 0x00080016
_SOP_INSTANCE: Final = 0x00080018
_TRANSFER_SYNTAX: Final = 0x00020010


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A file to send, and the presentation context it needs."""

    path: Path
    sop_class_uid: str
    transfer_syntax_uid: str
    bare: bool  # without file meta information: the transfer syntax was found by looking


def main(argv: Sequence[str], stdin: IO[bytes], stdout: IO[str]) -> int:
    """Send the files, print one line per file, and return 0 when all were stored.

    A name `-` reads more file names from `stdin`, one a line. Without files: C-ECHO.
    """
    parser = argparse.ArgumentParser(prog="yilian send dicom", description="C-STORE of files")
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("files", nargs="*", metavar="FILE", help="none: only C-ECHO")
    parser.add_argument("--calling", default="YILIAN-SCU", help="our AE title")
    parser.add_argument("--called", default=AE_TITLE, help="the AE title of the hub")
    args = parser.parse_args(argv)
    host, _, port = args.address.rpartition(":")
    if not host or not port.isdigit():
        parser.error("the address is HOST:PORT")
    to = (host.strip("[]"), int(port), args.called)
    if not args.files:
        return _echo(args.calling, to, stdout)
    failed = 0
    outgoing = []
    for path in _paths(args.files, stdin):
        try:
            outgoing.append(_outgoing(path))
        except (YilianError, OSError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else exc
            print(f"not sent  {path}: {reason}", file=stdout)
            failed += 1
    for group in _associations(outgoing):
        failed += _send(args.calling, to, group, stdout)
    return 1 if failed else 0


def _paths(names: Iterable[str], stdin: IO[bytes]) -> Iterator[Path]:
    for name in names:
        if name == "-":
            yield from (Path(line.decode().rstrip("\r\n")) for line in stdin if line.strip())
        elif Path(name).is_dir():
            yield from sorted(path for path in Path(name).rglob("*") if path.is_file())
        else:
            yield Path(name)


def _outgoing(path: Path) -> Outgoing:
    encoded = read(path.read_bytes())

    def uid(tag: int) -> str:
        element = encoded.meta.get(tag) or encoded.elements.get(tag)
        value = element.value if element else None
        return value.decode("ascii", "replace").strip(" \0") if isinstance(value, bytes) else ""

    sop_class = uid(_SOP_CLASS) or uid(_META_SOP_CLASS)
    if not sop_class or not uid(_SOP_INSTANCE):
        missing = _SOP_INSTANCE if sop_class else _SOP_CLASS
        raise Malformed("not a storable object: its SOP UIDs are missing", at=tag_text(missing))
    explicit = any(element.syntax.explicit for element in encoded.elements.values())
    guessed = EXPLICIT_LITTLE if explicit else IMPLICIT_LITTLE
    declared = uid(_TRANSFER_SYNTAX)
    return Outgoing(path, sop_class, declared or guessed, bare=not declared)


def _associations(outgoing: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Split the files so that each association needs no more contexts than fit into one."""
    group: list[Outgoing] = []
    contexts: set[tuple[str, str]] = set()
    for one in outgoing:
        contexts.add((one.sop_class_uid, one.transfer_syntax_uid))
        if len(contexts) > _CONTEXTS:
            yield group
            group, contexts = [], {(one.sop_class_uid, one.transfer_syntax_uid)}
        group.append(one)
    if group:
        yield group


def _echo(calling: str, to: tuple[str, int, str], stdout: IO[str]) -> int:
    host, port, called = to
    ae = AE(ae_title=calling)
    assoc = ae.associate(host, port, contexts=[build_context(VERIFICATION)], ae_title=called)
    if not assoc.is_established:
        print("no association", file=stdout)
        return 1
    try:
        status = _status(assoc.send_c_echo())
    finally:
        assoc.release()
    print(f"echo {status}", file=stdout)
    return 0 if status == "0x0000" else 1


def _send(
    calling: str, to: tuple[str, int, str], group: Sequence[Outgoing], stdout: IO[str]
) -> int:
    """Send one association's files; return how many were not stored."""
    _config.STORE_SEND_CHUNKED_DATASET = True  # a file goes out as the bytes it is
    host, port, called = to
    wanted = dict.fromkeys((one.sop_class_uid, one.transfer_syntax_uid) for one in group)
    assoc = AE(ae_title=calling).associate(
        host,
        port,
        contexts=[build_context(sop_class, syntax) for sop_class, syntax in wanted],
        ae_title=called,
    )
    if not assoc.is_established:
        print("no association", file=stdout)
        return len(group)
    failed = 0
    try:
        for one in group:
            answer = "no answer"
            if assoc.is_established:
                try:
                    answer = _status(assoc.send_c_store(_with_meta(one) if one.bare else one.path))
                except (ValueError, AttributeError, OSError):
                    answer = "cannot be encoded, or its kind is not accepted"
            failed += answer != "0x0000"
            print(f"{answer}  {one.path}", file=stdout)
    finally:
        if assoc.is_established:
            assoc.release()
    return failed


def _with_meta(one: Outgoing) -> Dataset:
    """Return the file's data set with the transfer syntax it is sent in."""
    ds = dcmread(one.path, force=True)
    ds.file_meta.TransferSyntaxUID = UID(one.transfer_syntax_uid)
    return ds


def _status(answer: Dataset) -> str:
    return f"0x{answer.Status:04X}" if "Status" in answer else "no answer"
