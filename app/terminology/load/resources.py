"""Resources one by one, with the place each stands at: out of JSON, NDJSON, Bundles and packages.

FHIR packages: https://confluence.hl7.org/display/FHIR/NPM+Package+Specification; only the folder
`package` is read, not the examples beside it.
"""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from app.errors import Malformed, TooMuch

_LONGEST = 1 << 30  # bytes of one resource
_ENTRIES = frozenset(("collection", "searchset", "history"))
_NO_RESOURCES = frozenset(
    ("package.json", ".index.json", "ig-r4.json", "openapi", "spec.internals")
)
_GZIP = b"\x1f\x8b"


class Head(msgspec.Struct, rename="camel"):
    """What decides what becomes of a resource."""

    resource_type: str
    id: str | None = None
    url: str | None = None
    version: str | None = None
    type: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A resource as it stands in a file; where: "file.ndjson:12"."""

    head: Head
    body: bytes
    where: str

    @property
    def is_transaction(self) -> bool:
        """Whether it is a Bundle that says itself what to do with its entries."""
        return self.head.resource_type == "Bundle" and _bundle_type(self.head) in (
            "transaction",
            "batch",
        )


class _Entry(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw(b"")


class _Bundle(msgspec.Struct):
    entry: list[_Entry] = []


_read_head = msgspec.json.Decoder(Head).decode
_read_bundle = msgspec.json.Decoder(_Bundle).decode


def read(path: Path) -> Iterator[Loaded | Malformed]:
    """Yield the resources of a file, and what is wrong in place of one that cannot be read."""
    if path.name.endswith((".tgz", ".tar.gz")):
        yield from _package(path)
        return
    with closing(_open(path)) as file:
        if ".ndjson" in path.name or ".jsonl" in path.name:
            yield from _lines(file, path.name)
        else:
            yield from _one(_whole(file, path.name), path.name)


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]


def _whole(file: IO[bytes], where: str) -> bytes:
    content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise TooMuch("the resource is too long to be loaded", at=where)
    return content


def _lines(file: IO[bytes], name: str) -> Iterator[Loaded | Malformed]:
    number = 0
    while line := file.readline(_LONGEST):
        number += 1
        if line.strip():
            yield from _one(line, f"{name}:{number}")


def _package(path: Path) -> Iterator[Loaded | Malformed]:
    try:
        with tarfile.open(path, "r:gz") as package:
            for member in package:
                folder, _, name = member.name.removeprefix("./").partition("/")
                if folder != "package" or "/" in name or not member.isfile():
                    continue
                if not name.endswith(".json") or name.startswith(tuple(_NO_RESOURCES)):
                    continue
                content = package.extractfile(member)
                if content is not None:
                    yield from _one(_whole(content, name), f"{path.name}!{member.name}")
    except (tarfile.TarError, EOFError, OSError) as exc:
        raise Malformed("the package cannot be unpacked", at=path.name) from exc


def _one(body: bytes, where: str) -> Iterator[Loaded | Malformed]:
    """Yield a resource; of a Bundle that is a list of resources, each of them."""
    body = body.strip().removeprefix(b"\xef\xbb\xbf")
    try:
        head = _read_head(body)
        if head.resource_type != "Bundle" or _bundle_type(head) not in _ENTRIES:
            yield Loaded(head, body, where)
            return
        for index, entry in enumerate(_read_bundle(body).entry):
            if bytes(entry.resource):
                yield from _one(bytes(entry.resource), f"{where} entry[{index}]")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        yield Malformed("this is no FHIR resource in JSON", at=where)


def _bundle_type(head: Head) -> str:
    return bytes(head.type).decode().strip('"')
