"""The data folder: private to its owner, used by one hub at a time, holding the id secret.

yilian.db      the database (SQLite)
id.key         the secret behind ids computed from business identities
hub.json       the addresses of the hub that runs on it, while one runs
writer.sock    where that hub takes the writes of this machine's other processes (SQLite), or a
               link to it
lock           held by that hub

The file of a SQLite database has a lock of its own beside it (`yilian.db.lock`): it may lie
elsewhere, and two hubs with a folder each must not write it.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from app.errors import Invalid, Unavailable

_ID_KEY = "id.key"
_LOCK = "lock"
_ADDRESSES = "hub.json"
_SOCKET = "writer.sock"
_LONGEST_SOCKET_PATH = 100  # sun_path holds 108 bytes on Linux, 104 elsewhere


class Folder:
    """A data folder, and the file of a SQLite database, that this process holds until `close`."""

    def __init__(self, path: Path, database: Path | None = None) -> None:
        """Make the folder if need be and take both. Raises Unavailable when another hub has one."""
        self.path = path.absolute()
        with ExitStack() as taken:
            try:
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.path.chmod(0o700)
                taken.enter_context(_locked(self.path / _LOCK))
            except BlockingIOError as exc:
                raise Unavailable(
                    f"another hub runs on the data folder {self.path}; stop it or choose another"
                    " folder with --data"
                ) from exc
            except OSError as exc:
                reason = exc.strerror or "not usable"
                raise Invalid(f"the data folder {self.path} cannot be used: {reason}") from exc
            if database is not None:
                _take_file(database, taken)
            self._taken = taken.pop_all()

    def id_key(self) -> str:
        """Return the folder's id secret; the first call makes it."""
        known = known_id_key(self.path)
        if known is not None:
            return known
        _write_private(self.path / _ID_KEY, secrets.token_hex(32) + "\n")
        return self.id_key()

    def announce(self, addresses: Mapping[str, str]) -> None:
        """Write down where the hub listens, for commands that look for it."""
        _write_private(self.path / _ADDRESSES, json.dumps(dict(addresses)) + "\n")

    def close(self) -> None:
        """Forget the addresses and let others have the folder."""
        (self.path / _ADDRESSES).unlink(missing_ok=True)
        self._taken.close()


def _take_file(database: Path, taken: ExitStack) -> None:
    """Hold a database file; whichever way it is named, it has one lock."""
    whole = database.resolve()
    try:
        taken.enter_context(_locked(whole.with_name(f"{whole.name}.lock")))
    except BlockingIOError as exc:
        raise Unavailable(
            f"another hub, with another data folder, writes the database {database}"
        ) from exc
    except OSError as exc:
        reason = exc.strerror or "not usable"
        raise Invalid(f"the database {database} cannot be used: {reason}") from exc


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold a lock file, not waiting for it. Raises BlockingIOError when another process does."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def announced(path: Path) -> Mapping[str, str]:
    """Return where the hub that runs on a data folder listens; nothing while none is ready."""
    try:
        found: dict[str, str] = json.loads((path / _ADDRESSES).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def known_id_key(path: Path) -> str | None:
    """Return the id secret of a data folder, None when it has none yet."""
    file = path / _ID_KEY
    if not file.exists():
        return None
    key = file.read_text("ascii").strip()
    if len(key) < 16:
        raise Invalid(f"{file} is damaged: put back the copy from your backup")
    return key


def may_become(path: Path) -> bool:
    """Say whether a folder is a data folder, or can be made one without touching other things."""
    return (path / _LOCK).exists() or not path.exists() or not any(path.iterdir())


@contextmanager
def reserved_socket(path: Path) -> Iterator[Path]:
    """A place for the writer's socket: in the data folder, or linked from it if that is deep."""
    own = path / _SOCKET
    if len(os.fsencode(own)) <= _LONGEST_SOCKET_PATH:
        yield own
        return
    short = Path(tempfile.mkdtemp(prefix="yilian-"))
    try:
        own.unlink(missing_ok=True)
        own.symlink_to(short / _SOCKET)
        yield short / _SOCKET
    finally:
        own.unlink(missing_ok=True)
        shutil.rmtree(short, ignore_errors=True)


def writer_socket(path: Path) -> Path:
    """Return where the hub that runs on a data folder takes writes."""
    own = path.absolute() / _SOCKET
    return own.readlink() if own.is_symlink() else own


def _write_private(file: Path, text: str) -> None:
    """Write the file whole or not at all, readable by its owner only, durably."""
    fresh = file.with_name(f"{file.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(file)
