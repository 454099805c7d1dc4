"""The DICOM door: a received object becomes an entry of the inbox, then part of its study.

The object with its pixels goes to the object folder, its header into the inbox; success is answered
when both are durable. Applying it is a transaction of its own after that.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from hashlib import sha256
from typing import Protocol

from app.clock import Clock
from app.errors import Issue, YilianError
from app.feeds.apply import Stated
from app.feeds.dicom.convert import Converter, read
from app.feeds.dicom.lifecycle import Lifecycle
from app.feeds.dicom.objects import Header, ObjectStore, header_of, uids
from app.feeds.dicom.scp import Received
from app.feeds.dicom.status import SUCCESS, status_of
from app.feeds.dispatch import SILENCE, Incoming, Receipt
from app.feeds.inbox import Entry
from app.feeds.statement import statements
from app.store.prepare import Preparer

FEED = "dicom"
_MOST_KEPT_BYTES = 1 << 20  # of an object that cannot be read


class Dispatcher(Protocol):
    """Makes messages safe, then applies them (`app.feeds.dispatch`)."""

    def submit(self, incoming: Incoming) -> tuple[Future[Receipt], Future[Receipt] | None]: ...


class Door:
    """Accepts objects; `accept` is what the listener calls, from a thread per association.

    charsets: the character set of calling AEs that declare a wrong one.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        converter: Converter,
        objects: ObjectStore,
        clock: Clock,
        preparer: Preparer | None = None,
        *,
        charsets: dict[str, str] | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._converter = converter
        self._objects = objects
        self._clock = clock
        self._preparer = preparer
        self._charsets = charsets or {}

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
        self._submit(self._incoming(header.data, received, header)).result()
        return SUCCESS

    def reread(self, entry: Entry) -> Incoming:
        """Return an entry of the inbox converted again."""
        stated: Stated | YilianError
        issues: Sequence[Issue] = ()
        try:
            stated, issues = self._stated(entry.raw, entry.source)
        except YilianError as exc:
            stated = exc
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
            staged=True,
        )

    def _submit(self, incoming: Incoming) -> Future[Receipt]:
        return self._dispatcher.submit(incoming)[0]

    def _incoming(self, raw: bytes, received: Received, header: Header) -> Incoming:
        stated: Stated | YilianError
        issues: Sequence[Issue] = ()
        try:
            stated, issues = self._stated(raw, received.calling_ae)
        except YilianError as exc:
            stated = exc
        key = "\0".join((header.study_uid, header.series_uid, header.instance_uid)).encode()
        return Incoming(
            feed=FEED,
            source=received.calling_ae,
            peer=received.peer,
            kind=received.sop_class_uid,
            control_id=header.instance_uid,
            key=sha256(key + b"\0" + sha256(raw).digest()).digest(),
            raw=raw,
            stated=stated,
            reply=SILENCE,
            issues=tuple(issues),
            staged=True,
        )

    def _stated(self, raw: bytes, calling_ae: str) -> tuple[Stated, Sequence[Issue]]:
        (ds,) = read(raw, self._charsets.get(calling_ae))
        made = self._converter.convert({uids(ds): ds}, calling_ae or None)
        said = statements(made.bundle(), self._preparer)
        return Stated(said, self._clock.now_us(), Lifecycle()), made.issues

    def _keep_broken(self, received: Received, error: YilianError) -> None:
        """Keep the beginning of an object that cannot be read, with the reason."""
        with received.path.open("rb") as file:
            raw = file.read(_MOST_KEPT_BYTES)
        broken = Incoming(
            feed=FEED,
            source=received.calling_ae,
            peer=received.peer,
            kind=received.sop_class_uid,
            control_id=received.sop_instance_uid,
            key=sha256(raw).digest(),
            raw=raw,
            stated=error,
            reply=SILENCE,
            refused=True,
        )
        self._submit(broken).result()
