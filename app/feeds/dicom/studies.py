"""Objects that are safe and wait to be joined into their study.

A CT of two thousand slices must not write two thousand versions of its ImagingStudy. So objects
wait until none of their study came for a moment (or enough of them wait, or the first has waited
long), and are told together. What waits is a file each, written before the sender hears of success:
a crash forgets nothing, the next start tells them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from app.errors import YilianError
from app.feeds.dicom.objects import write_durably

log = logging.getLogger(__name__)

_SUFFIX: Final = ".wait"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One object: its header, the study it belongs to and who sent it."""

    study_uid: str
    calling_ae: str
    peer: str
    header: bytes

    @property
    def name(self) -> str:
        return sha256(self.calling_ae.encode() + b"\0" + self.header).hexdigest()


@dataclass(slots=True)
class _Group:
    first: float
    last: float
    waiting: dict[str, Waiting] = field(default_factory=dict)


# Tells what the objects of one study and sender say; the future ends when that is safe.
Tell = Callable[[Sequence[Waiting]], "Future[Any]"]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Waiting).decode


class Studies:
    """Waiting objects by study and sender.

    quiet_s: how long no object of a study may have come; longest_s, most: after how long, and how
    many, they are told all the same.
    """

    def __init__(
        self,
        folder: Path,
        tell: Tell,
        *,
        quiet_s: float = 1.0,
        longest_s: float = 5.0,
        most: int = 500,
    ) -> None:
        self._folder = folder
        self._tell = tell
        self._quiet_s, self._longest_s, self._most = quiet_s, longest_s, most
        self._groups: dict[tuple[str, str], _Group] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="studies", daemon=True)
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Take up what an earlier life left, then watch."""
        for path in self._folder.glob(f"*{_SUFFIX}"):
            self._join(_decode(path.read_bytes()))
        self._thread.start()

    def stop(self) -> None:
        """Tell all that waits, then end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def add(self, waiting: Waiting) -> None:
        """Let an object wait; it is durable when this returns. Raises OSError."""
        write_durably(self._path(waiting.name), _encode(waiting))
        self._join(waiting)

    def _join(self, waiting: Waiting) -> None:
        now = time.monotonic()
        with self._changed:
            key = (waiting.study_uid, waiting.calling_ae)
            group = self._groups.setdefault(key, _Group(now, now))
            group.waiting[waiting.name] = waiting
            group.last = now
            self._changed.notify()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{_SUFFIX}"

    def _run(self) -> None:
        while True:
            with self._changed:
                pause = None if not self._groups else self._pause()
                if not self._stopping and pause != 0:
                    self._changed.wait(pause)  # something comes, or something is due
                due = [key for key in self._groups if self._due(key) <= time.monotonic()]
                groups = [self._groups.pop(key) for key in due]
                if self._stopping and not groups:
                    return
            for group in groups:
                self._finish(list(group.waiting.values()))

    def _pause(self) -> float:
        """Return how long nothing will be due."""
        return max(0.0, min(self._due(key) for key in self._groups) - time.monotonic())

    def _due(self, key: tuple[str, str]) -> float:
        group = self._groups[key]
        if self._stopping or len(group.waiting) >= self._most:
            return 0.0
        return min(group.last + self._quiet_s, group.first + self._longest_s)

    def _finish(self, waiting: Sequence[Waiting]) -> None:
        """Tell what waited; what could not be made safe waits on."""
        try:
            self._tell(waiting).result()
        except YilianError:
            log.warning("dicom.study_not_stored", extra={"feed": "dicom", "count": len(waiting)})
            if not self._stopping:  # else the next start tells them
                for one in waiting:
                    self._join(one)
            return
        except Exception:
            log.exception("dicom.study_failed", extra={"feed": "dicom", "count": len(waiting)})
            return
        for one in waiting:
            self._path(one.name).unlink(missing_ok=True)
