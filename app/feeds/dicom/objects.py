"""The folder of received DICOM objects, and what of an object goes into the inbox.

An object with its pixels is a file named by the hash of its content; the database holds its header
only. A file that is there is complete: it is written beside, flushed to the disk and renamed.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from app.errors import Invalid, Malformed
from app.feeds.dicom import dataset
from app.feeds.dicom.dataset import DataSet
from app.feeds.dicom.encoding import Limits, read

_CHUNK_BYTES = 1 << 20


class Keep(StrEnum):
    """What stays of a received object."""

    ALL = "all"
    HEADERS = "headers"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Header:
    """An object without its pixels: the bytes for the inbox and the three UIDs that key it."""

    data: bytes
    study_uid: str
    series_uid: str
    instance_uid: str


def header_of(path: Path, limits: Limits | None = None) -> Header:
    """Return the header of a Part 10 file without reading its pixels.

    Raises Malformed when it cannot be read or was cut off before its pixels, Invalid when one of
    its UIDs is missing.
    """
    if path.stat().st_size == 0:
        raise Malformed("the object is empty")
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        encoded = read(mapped, limits)
    if encoded.cut is not None:
        raise encoded.cut
    header = encoded.header
    study, series, instance = uids(dataset.read(header, limits=limits))
    return Header(header, study, series, instance)


def uids(ds: DataSet) -> tuple[str, str, str]:
    """Return Study, Series and SOP Instance UID; raises Invalid, `at` the tag that is missing."""
    found = []
    for keyword, at in _UIDS:
        uid = ds.text(keyword)
        if not uid:
            raise Invalid(f"{keyword} is missing", at=at, code="required")
        found.append(uid)
    return found[0], found[1], found[2]


_UIDS = (
    ("StudyInstanceUID", "(0020,000D)"),
    ("SeriesInstanceUID", "(0020,000E)"),
    ("SOPInstanceUID", "(0008,0018)"),
)


class ObjectStore:
    """Received objects by the SHA-256 of their content, in one folder."""

    def __init__(self, folder: Path, keep: Keep = Keep.ALL) -> None:
        self._folder = folder
        self._keep = keep
        folder.mkdir(parents=True, exist_ok=True)

    def path_of(self, digest: str) -> Path:
        return self._folder / digest[:2] / f"{digest}.dcm"

    def put(self, source: Path, header: bytes) -> str:
        """Keep an object durably and return its digest; the same content is kept once.

        Raises OSError when the disk is full.
        """
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        target = self.path_of(digest)
        if self._keep is Keep.NOTHING or target.exists():
            return digest
        target.parent.mkdir(exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}.part")
        try:
            with part.open("xb") as out:
                if self._keep is Keep.ALL:
                    with source.open("rb") as file:
                        shutil.copyfileobj(file, out, _CHUNK_BYTES)
                else:
                    out.write(header)
                out.flush()
                os.fsync(out.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        _sync_folder(target.parent)
        return digest


def write_durably(path: Path, data: bytes) -> None:
    """Write a file that is whole and on the disk when this returns. Raises OSError."""
    part = path.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        with part.open("xb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
