"""The data folder: private to its owner, used by one hub at a time, holding the id secret.

yilian.db      the database (SQLite)
id.key         the secret behind ids computed from business identities
hub.json       the addresses of the hub that runs on it, while one runs
lock           held by that hub
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from app.errors import Invalid, Unavailable

_ID_KEY = "id.key"
_LOCK = "lock"
_ADDRESSES = "hub.json"


class Folder:
    """A data folder that this process holds until `close`."""

    def __init__(self, path: Path) -> None:
        """Make the folder if need be and take it. Raises Unavailable when another hub has it."""
        self.path = path.absolute()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            reason = exc.strerror or "not usable"
            raise Invalid(f"the data folder {self.path} cannot be used: {reason}") from exc
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(self._lock)
            raise Unavailable(
                f"another hub runs on the data folder {self.path}; stop it or choose another"
                " folder with --data"
            ) from exc

    def id_key(self) -> str:
        """Return the folder's id secret; the first call makes it."""
        file = self.path / _ID_KEY
        if not file.exists():
            _write_private(file, secrets.token_hex(32) + "\n")
        key = file.read_text("ascii").strip()
        if len(key) < 16:
            raise Invalid(f"{file} is damaged: put back the copy from your backup")
        return key

    def announce(self, addresses: Mapping[str, str]) -> None:
        """Write down where the hub listens, for commands that look for it."""
        _write_private(self.path / _ADDRESSES, json.dumps(dict(addresses)) + "\n")

    def close(self) -> None:
        """Forget the addresses and let others have the folder."""
        (self.path / _ADDRESSES).unlink(missing_ok=True)
        os.close(self._lock)


def announced(path: Path) -> Mapping[str, str]:
    """Return where the hub that runs on a data folder listens; nothing while none is ready."""
    try:
        found: dict[str, str] = json.loads((path / _ADDRESSES).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _write_private(file: Path, text: str) -> None:
    """Write the file whole or not at all, readable by its owner only, durably."""
    fresh = file.with_name(f"{file.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(file)
