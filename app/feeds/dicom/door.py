"""The DICOM door: a received object becomes an entry of the inbox, then part of its study.

The object with its pixels goes to the object folder, its header into the inbox, and the object
among those that wait for their study; success is answered when all three are durable. What a study
says is an entry of its own, told from the headers of the objects that waited together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

import msgspec

from app.clock import Clock
from app.errors import Issue, YilianError
from app.feeds.apply import Stated
from app.feeds.dicom.convert import Converter, grouped
from app.feeds.dicom.lifecycle import Lifecycle
from app.feeds.dicom.objects import ObjectStore, header_of
from app.feeds.dicom.scp import Received
from app.feeds.dicom.status import SUCCESS, status_of
from app.feeds.dicom.studies import Studies, Waiting
from app.feeds.dispatch import SILENCE, Incoming, Receipt
from app.feeds.inbox import Entry
from app.feeds.statement import statements
from app.store.prepare import Preparer

FEED: Final = "dicom"
STUDY: Final = "study"  # kind of the entries that tell a study; others have a SOP class
_MOST_KEPT_BYTES: Final = 1 << 20  # of an object that cannot be read

_encode = msgspec.msgpack.Encoder().encode
_headers = msgspec.msgpack.Decoder(list[bytes]).decode


class Dispatcher(Protocol):
    """Makes messages safe and applies them (`app.feeds.dispatch`)."""

    def submit(self, incoming: Incoming) -> tuple[Future[Receipt], Future[Receipt] | None]: ...


class Door:
    """Accepts objects; `accept` is what the listener calls, from a thread per association.

    objects: where objects with their pixels are kept. waiting: the folder of those whose study has
    still to be told. charsets: the character set of calling AEs that declare a wrong one.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        converter: Converter,
        objects: ObjectStore,
        waiting: Path,
        clock: Clock,
        preparer: Preparer | None = None,
        *,
        quiet_s: float = 1.0,
        charsets: Mapping[str, str] | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._converter = converter
        self._objects = objects
        self._studies = Studies(waiting, self._tell, quiet_s=quiet_s)
        self._clock = clock
        self._preparer = preparer
        self._charsets = charsets or {}

    def start(self) -> None:
        self._studies.start()

    def stop(self) -> None:
        """Tell the studies of all objects that were accepted."""
        self._studies.stop()

    def accept(self, received: Received) -> int:
        """Return the C-STORE status of an object: success once it is durable.

        Raises OSError and Unavailable when it cannot be made so.
        """
        try:
            header = header_of(received.path)
        except YilianError as exc:
            self._keep_broken(received, exc)
            return status_of(exc)
        self._objects.put(received.path, header.data)
        key = "\0".join((header.study_uid, header.series_uid, header.instance_uid)).encode()
        entry = _entry(
            received, header.instance_uid, key + sha256(header.data).digest(), header.data, None
        )
        self._submit(entry).result()
        # Also an object that was here before: its study may not have been told when it came.
        self._studies.add(
            Waiting(header.study_uid, received.calling_ae, received.peer, header.data)
        )
        return SUCCESS

    def reread(self, entry: Entry) -> Incoming:
        """Return an entry of the inbox read again; an object says nothing but in its study."""
        stated: Stated | YilianError | None = None
        issues: Sequence[Issue] = ()
        if entry.kind == STUDY:
            stated, issues = self._stated(_headers(entry.raw), entry.source)
        return Incoming(
            feed=FEED,
            source=entry.source,
            peer=entry.peer,
            kind=entry.kind,
            control_id=entry.control_id,
            key=entry.key,
            raw=entry.raw,
            stated=stated,
            reply=SILENCE,
            issues=tuple(issues),
        )

    def _submit(self, incoming: Incoming) -> Future[Receipt]:
        return self._dispatcher.submit(incoming)[0]

    def _tell(self, waiting: Sequence[Waiting]) -> Future[Receipt]:
        """Hand in what the waiting objects of one study say."""
        first = waiting[0]
        headers = [one.header for one in waiting]
        raw = _encode(headers)
        stated, issues = self._stated(headers, first.calling_ae)
        return self._submit(
            Incoming(
                feed=FEED,
                source=first.calling_ae,
                peer=first.peer,
                kind=STUDY,
                control_id=first.study_uid,
                key=sha256(b"study\0" + raw).digest(),
                raw=raw,
                stated=stated,
                reply=SILENCE,
                issues=tuple(issues),
            )
        )

    def _stated(
        self, headers: Sequence[bytes], calling_ae: str
    ) -> tuple[Stated | YilianError, Sequence[Issue]]:
        """Return what the objects of one study say, or why they cannot."""
        try:
            (study,) = grouped(headers, self._charsets.get(calling_ae))
            made = self._converter.convert(study.instances, calling_ae or None)
            said = statements(made.bundle(), self._preparer)
        except YilianError as exc:
            return exc, ()
        return Stated(said, self._clock.now_us(), Lifecycle()), made.issues

    def _keep_broken(self, received: Received, error: YilianError) -> None:
        """Keep the beginning of an object that cannot be read, with the reason."""
        with received.path.open("rb") as file:
            raw = file.read(_MOST_KEPT_BYTES)
        broken = _entry(received, received.sop_instance_uid, raw, raw, error)
        self._submit(broken).result()


def _entry(
    received: Received, instance_uid: str, key: bytes, raw: bytes, error: YilianError | None
) -> Incoming:
    return Incoming(
        feed=FEED,
        source=received.calling_ae,
        peer=received.peer,
        kind=received.sop_class_uid,
        control_id=instance_uid,
        key=sha256(key).digest(),
        raw=raw,
        stated=error,
        reply=SILENCE,
        refused=error is not None,
    )
