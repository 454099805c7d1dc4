"""Codes that another hub answers for: delegation by prefix. identifiers.md section 7, Federation.

A site says in `peers.yaml` of its overlay folder which hub owns which keys; the longest prefix
wins:

    hub: hospital-a                       # how other hubs know this one
    peers:
      - name: hospital-b
        url: http://10.0.0.2:8080
        prefixes: ["gs1:01:0952123", "oid:1.2.156.77", "id:https://b.example/"]
        ttl_s: 3600                       # how long an answer may be kept

A peer is asked only about what its prefixes cover, and what it says is believed only as far as it
speaks of the very key that was asked: an answer about anything else, one that is too long, late or
no JSON counts as none. `Yilian-Hop` carries the hubs a question has passed, `Yilian-Deadline` the
milliseconds that are left for it; a hub that finds itself among the hops does not pass it on.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import re
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from app.errors import Invalid
from app.registry.reading import Parsed

log = logging.getLogger(__name__)

HOP = "Yilian-Hop"
DEADLINE = "Yilian-Deadline"
HOPS_MAX = 4
DEADLINE_S = 2.0  # for the whole way there and back
_MARGIN_S = 0.1  # what a hub keeps for its own answer
_LEAST_S = 0.05
_ANSWER_MAX = 256 << 10  # bytes
_RESOLVED_MAX = 20
_TEXT_MAX = 500
_AT_ONCE = 4  # questions to one peer: a slow one does not hold up all threads
_REST_S = 5.0  # a peer that failed is left alone for so long
_TTL_S = 3600
_NOTHING_TTL_S = 60
_STALE_S = 24 * 3600
_KEPT_MOST = 10_000

# Never asked of others: GS1 numbers for use inside a company or country (GS1 General
# Specifications, restricted circulation numbers), and names this installation made up.
_PRIVATE = re.compile(r"gs1:01:.(?:02|04|2)\d+.*|id:urn:x-yilian.*", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TOLD = ("resource", "type", "id", "display", "key")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """A code on its way: the hubs it has passed, and when the answer is too late (monotonic)."""

    hops: tuple[str, ...] = ()
    until: float = 0.0

    @classmethod
    def received(cls, hops: str | None, deadline: str | None) -> Question:
        """Return the question that came with these headers."""
        passed = tuple(name.strip() for name in (hops or "").split(",") if name.strip())
        left = DEADLINE_S
        if deadline and deadline.isascii() and deadline.isdigit() and len(deadline) < 7:
            left = min(left, int(deadline) / 1000 - _MARGIN_S)
        return cls(passed, time.monotonic() + left)


@dataclass(slots=True)
class Peer:
    """Another hub and what it answers for."""

    name: str
    host: str
    port: int
    secure: bool
    path: str
    prefixes: Sequence[str]
    ttl_s: float = _TTL_S
    resting_until: float = 0.0
    free: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_AT_ONCE))


@dataclass(slots=True)
class _Kept:
    answer: Json
    fresh_until: float
    stale_until: float


class _NoAnswer(Exception):
    """Why a peer gave none: late, too-long, refused, malformed, mixed-up, unreachable."""


class Peers:
    """The peers of this hub. Safe to use from many threads."""

    def __init__(self, hub: str, peers: Sequence[Peer]) -> None:
        self.hub = hub
        self._peers = peers
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def owner(self, key: str) -> tuple[Peer, str] | None:
        """Return who answers for a key, and by which prefix; None when nobody else does."""
        if _PRIVATE.fullmatch(key):
            return None
        found = [
            (peer, prefix)
            for peer in self._peers
            for prefix in peer.prefixes
            if _covers(prefix, key)
        ]
        return max(found, key=lambda each: len(each[1]), default=None)

    def resolve(self, parsed: Parsed, question: Question, hint: str | None = None) -> Json | None:
        """Return what the owner of a code says: `resolved` and `delegation`; None without one.

        hint: the scheme that the code has to be read as. `delegation` tells whom was asked and how
        that went: answered, kept, stale, or why not.
        """
        key = parsed.canonical
        owner = self.owner(key) if key else None
        if key is None or owner is None:
            return None
        peer, prefix = owner
        told: Json = {"prefix": prefix, "hub": peer.name}
        kept = self._lookup(key)
        now = time.monotonic()
        if kept is not None and kept.fresh_until > now:
            return _merged(kept.answer, told | {"state": "kept"})
        try:
            answer = self._ask(peer, parsed, question, hint)
        except _NoAnswer as exc:
            if kept is not None:
                return _merged(kept.answer, told | {"state": str(exc), "stale": True})
            return {"resolved": [], "delegation": told | {"state": str(exc)}}
        if parsed.level != "person" and _is_settled(answer):
            self._keep(key, answer, peer.ttl_s if answer["resolved"] else _NOTHING_TTL_S)
        return _merged(answer, told | {"state": "answered"})

    # --- asking ----------------------------------------------------------------------------------

    def _ask(self, peer: Peer, parsed: Parsed, question: Question, hint: str | None) -> Json:
        if self.hub in question.hops:
            raise _NoAnswer("loop")
        if len(question.hops) >= HOPS_MAX:
            raise _NoAnswer("too-many-hops")
        if peer.resting_until > time.monotonic():
            raise _NoAnswer("resting")
        if not peer.free.acquire(blocking=False):
            raise _NoAnswer("busy")
        try:
            status, body = self._exchange(peer, parsed, question, hint)
        except (OSError, http.client.HTTPException) as exc:
            self._rest(peer)
            raise _NoAnswer("late" if _is_late(question) else "unreachable") from exc
        finally:
            peer.free.release()
        if _is_late(question):
            self._rest(peer)
            raise _NoAnswer("late")
        if len(body) > _ANSWER_MAX:
            raise _NoAnswer("too-long")
        if status != http.client.OK:
            raise _NoAnswer("refused")
        return _believed(body, parsed, peer.name)

    def _rest(self, peer: Peer) -> None:
        peer.resting_until = time.monotonic() + _REST_S
        log.warning("peer.failed", extra={"state": peer.name})

    def _exchange(
        self, peer: Peer, parsed: Parsed, question: Question, hint: str | None
    ) -> tuple[int, bytes]:
        """Send a question and read the answer, all of it before the deadline.

        A socket's timeout starts anew with each byte: what cuts off a peer that sends drop by drop
        is the timer.
        """
        kind = http.client.HTTPSConnection if peer.secure else http.client.HTTPConnection
        connection = kind(peer.host, peer.port, timeout=_left(question))
        with contextlib.closing(connection):
            connection.connect()
            left = _left(question)
            end = threading.Timer(left, _shut, [connection.sock])
            end.daemon = True
            end.start()
            try:
                headers = {
                    "Content-Type": "application/json",
                    HOP: ",".join([*question.hops, self.hub]),
                    DEADLINE: str(int(left * 1000)),
                }
                asked = {"code": parsed.input, **({"as": hint} if hint else {})}
                connection.request("POST", f"{peer.path}/id", orjson.dumps(asked), headers)
                answer = connection.getresponse()
                return answer.status, answer.read(_ANSWER_MAX + 1)
            finally:
                end.cancel()

    # --- keeping ---------------------------------------------------------------------------------

    def _lookup(self, key: str) -> _Kept | None:
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept.stale_until < time.monotonic():
                self._kept.pop(key, None)
                return None
            self._kept.move_to_end(key)
            return kept

    def _keep(self, key: str, answer: Json, ttl_s: float) -> None:
        now = time.monotonic()
        stale_s = _STALE_S if answer["resolved"] else 0.0
        with self._lock:
            self._kept[key] = _Kept(answer, now + ttl_s, now + max(ttl_s, stale_s))
            while len(self._kept) > _KEPT_MOST:
                self._kept.popitem(last=False)


def _covers(prefix: str, key: str) -> bool:
    """Say whether a prefix covers a key; arcs of an OID are whole: 1.2.7 is not above 1.2.77."""
    if not key.startswith(prefix):
        return False
    return not prefix.startswith("oid:") or key[len(prefix) :][:1] in ("", ".")


def _is_late(question: Question) -> bool:
    return time.monotonic() >= question.until - _LEAST_S


def _left(question: Question) -> float:
    left = question.until - time.monotonic()
    if left < _LEAST_S:
        raise TimeoutError
    return left


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _believed(body: bytes, parsed: Parsed, peer: str) -> Json:
    """Return the part of an answer that is about the code asked, of known members and size."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise _NoAnswer("malformed") from exc
    if not isinstance(said, dict) or not isinstance(said.get("resolved"), list):
        raise _NoAnswer("malformed")
    if said.get("canonical") != parsed.canonical:
        raise _NoAnswer("mixed-up")
    resolved = []
    for each in said["resolved"][:_RESOLVED_MAX]:
        if not isinstance(each, dict) or each.get("key") not in parsed.keys:
            raise _NoAnswer("mixed-up")
        told = {
            name: each[name]
            for name in _TOLD
            if isinstance(each.get(name), str) and len(each[name]) <= _TEXT_MAX
        }
        passed = each.get("hops")
        hops = passed if isinstance(passed, list) and len(passed) <= HOPS_MAX else []
        source = each.get("source")
        told["source"] = source if _is_name(source) else peer
        told["hops"] = [peer, *(name for name in hops if _is_name(name))]
        resolved.append(told)
    return {"resolved": resolved, "state": _state(said)}


def _state(said: Json) -> Any:
    delegation = said.get("delegation")
    return delegation.get("state") if isinstance(delegation, dict) else None


def _is_settled(answer: Json) -> bool:
    """Say whether it will be the same in a while: found, or nobody along the way failed."""
    return bool(answer["resolved"]) or answer["state"] in (None, "answered", "kept")


def _is_name(text: Any) -> bool:
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def _merged(answer: Json, delegation: Json) -> Json:
    return {"resolved": answer["resolved"], "delegation": delegation}


# --- peers.yaml ----------------------------------------------------------------------------------


def load(path: Path | None) -> Peers | None:
    """Return the peers of a file, None when there is none. Raises Invalid, naming what is wrong."""
    if path is None or not path.is_file():
        return None
    import yaml  # as in names.py

    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if not isinstance(content, dict) or not _is_name(content.get("hub")):
        raise Invalid("peers.yaml: `hub` is this hub's name, letters and digits", at="hub")
    rows = content.get("peers") or []
    return Peers(content["hub"], [_peer(row, f"peers[{n}]") for n, row in enumerate(rows)])


def _peer(row: Mapping[str, Any], at: str) -> Peer:
    if not isinstance(row, dict) or not _is_name(row.get("name")):
        raise Invalid("peers.yaml: a peer has a name, letters and digits", at=at)
    url = urlsplit(str(row.get("url", "")))
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Invalid("peers.yaml: url is http://HOST[:PORT] or https://...", at=f"{at}.url")
    prefixes = row.get("prefixes")
    if not isinstance(prefixes, list) or not all(
        isinstance(each, str) and ":" in each for each in prefixes
    ):
        raise Invalid("peers.yaml: prefixes are beginnings of canonical keys", at=f"{at}.prefixes")
    if not isinstance(row.get("ttl_s", _TTL_S), int | float):
        raise Invalid("peers.yaml: ttl_s is a number of seconds", at=f"{at}.ttl_s")
    secure = url.scheme == "https"
    return Peer(
        name=row["name"],
        host=url.hostname,
        port=url.port or (443 if secure else 80),
        secure=secure,
        path=url.path.rstrip("/"),
        prefixes=prefixes,
        ttl_s=float(row.get("ttl_s", _TTL_S)),
    )
