"""The MLLP listener: frames in, answers out, in order (hl7 transport "MLLP" release 1).

It knows bytes and a callback, and nothing of storage: `accept` gets each frame and whom to tell
its answers. Rules kept here:

- a connection stays open until the peer closes it, or for `idle_timeout_s` when that is set;
- answers go out in the order of their frames: first answers among themselves, and those that
  come later (the application acknowledgement of enhanced mode) among themselves;
- when as many frames as allowed wait for their first answer, reading stops, and TCP tells the
  sender; so nothing piles up in memory and nothing is answered that was not taken;
- what has come of unfinished frames counts as well: when too much is held, the long frame that
  makes it more is read to its end and answered with the request to send it again;
- a peer that has closed its half still gets its answers;
- one thread, one event loop; `accept` must not block;
- all that has been answered when the loop looks goes out at once: who answers wakes it, which is
  system calls and a change of threads, once for many.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import cast

from app.errors import Malformed, TooMuch, Unavailable, YilianError
from app.feeds.hl7v2 import frames
from app.feeds.hl7v2.exchange import Accept, Answers, Frame, Peer
from app.feeds.hl7v2.frames import Found, Framer, Kind
from app.feeds.hl7v2.loop import Bell, Loop

log = logging.getLogger(__name__)

Network = IPv4Network | IPv6Network


_RECEIVE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a listener bears; each default suits a hospital's interface engine."""

    frame_bytes: int = 16 * 1024 * 1024
    frame_timeout_s: float = 30.0  # from 0x0B to the end of the frame
    pause_s: float = 0.5  # of silence after 0x1C without 0x0D ends a frame
    idle_timeout_s: float = 0.0  # 0: never
    connections: int = 1024
    connections_per_peer: int = 512
    pending: int = 1024  # frames waiting for their first answer, over all connections
    pending_bytes: int = 256 * 1024 * 1024  # and their bytes, with those of unfinished frames
    pending_per_connection: int = 128
    backlog: int = 256


@dataclass(slots=True)
class Counts:
    """What has happened since the start; read by metrics, written by the listener's thread."""

    connections: int = 0  # open now
    connections_total: int = 0
    connections_refused: int = 0
    frames: int = 0
    frames_bad: int = 0  # too long, restarted, cut
    bytes: int = 0
    answers: int = 0
    answers_lost: int = 0  # the peer was gone
    pending: int = 0  # now
    pending_bytes: int = 0
    unfinished_bytes: int = 0  # of frames that have begun, over all connections


@dataclass(slots=True, eq=False)
class _Slot:
    """The answers of one frame, as they come in; of one that is not answered, that it is taken."""

    connection: _Connection
    size_bytes: int
    answerable: bool = True
    received_at: float = field(default_factory=time.perf_counter)
    first: Answers | None = None
    last: Sequence[bytes] | None = None

    def answer(self, answers: Answers) -> None:
        """Take the answers of the frame; from any thread."""
        self.connection.listener.resolved(self, answers)


class Listener:
    """Listens on one address from `start` to `stop`, on a loop of its own or one it shares."""

    def __init__(
        self,
        address: tuple[str, int],
        accept: Accept,
        *,
        limits: Limits | None = None,
        allow: Sequence[Network] = (),
        release_2: bool = False,
        answered: Callable[[float], None] | None = None,
        loop: Loop | None = None,
    ) -> None:
        """Prepare a listener.

        address: host and port; port 0 takes a free one (see `port`).
        allow: networks whose hosts may connect; loopback always may. An address that other
            machines can reach is refused without it.
        answered: told the seconds from a frame's last byte to its first answer.
        loop: runs already, and goes on afterwards; None: one of its own.
        """
        if not allow and not _is_loopback(address[0]):
            raise ValueError("listening for other machines needs the networks that may connect")
        self.address = address
        self.accept = accept
        self.limits = limits or Limits()
        self.allow = tuple(allow)
        self.release_2 = release_2
        self.answered = answered
        self.counts = Counts()
        self.port = 0
        self.draining = False
        self.connections: set[_Connection] = set()
        self.waiting: dict[_Connection, None] = {}  # stopped reading, in order
        self.received = memoryview(bytearray(_RECEIVE_BYTES))  # what all connections receive into
        self._resolved: deque[tuple[_Slot, Answers | Sequence[bytes]]] = deque()
        self._shared = loop
        self._loop = loop or Loop("mllp")
        self._bell: Bell | None = None
        self._server: asyncio.Server | None = None
        self._emptied: asyncio.Event | None = None

    def start(self) -> None:
        """Begin to listen; raises OSError when the address cannot be had."""
        if self._shared is None:
            self._loop.start()
        try:
            self._loop.run(self._open())
        except BaseException:
            self._end_loop()
            raise

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Stop accepting, answer the frames already complete, close; say if all were answered."""
        if self._server is None:
            return True
        done = self._loop.run(self._close(timeout_s))
        self._end_loop()
        return done

    def may_take(self) -> bool:
        """Say whether one more frame may wait for its answer."""
        counts, limits = self.counts, self.limits
        return counts.pending < limits.pending and counts.pending_bytes < limits.pending_bytes

    def resolved(self, slot: _Slot, answers: Answers | Sequence[bytes]) -> None:
        """Take the first or the later answers of a frame; from any thread, one wake-up for many."""
        self._resolved.append((slot, answers))
        if self._bell is not None:
            self._bell.ring()

    def released(self, size_bytes: int) -> None:
        """A frame got its first answer: let those who stopped reading go on."""
        self.counts.pending -= 1
        self.counts.pending_bytes -= size_bytes
        while self.waiting and self.may_take():
            connection = next(iter(self.waiting))
            del self.waiting[connection]
            connection.pump()

    def left(self, connection: _Connection) -> None:
        """A connection is gone."""
        self.waiting.pop(connection, None)
        if connection in self.connections:
            self.connections.discard(connection)
            self.counts.connections -= 1
        if self._emptied is not None and not self.connections:
            self._emptied.set()

    def admits(self, host: str) -> bool:
        """Say whether a host may open one more connection."""
        same = sum(one.peer.host == host for one in self.connections)
        if len(self.connections) >= self.limits.connections:
            return False
        if same >= self.limits.connections_per_peer or self.draining:
            return False
        return _is_loopback(host) or any(_ip(host) in network for network in self.allow)

    def _send_resolved(self) -> None:
        """Send what has been answered since the last time."""
        told: dict[_Connection, None] = {}
        while self._resolved:
            slot, answers = self._resolved.popleft()
            slot.connection.keep(slot, answers)
            told[slot.connection] = None
        for connection in told:
            connection.flush()

    async def _open(self) -> None:
        self._bell = Bell(self._send_resolved)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: _Connection(self), *self.address, backlog=self.limits.backlog
            )
        except BaseException:
            self._bell.close()
            raise
        self.port = self._server.sockets[0].getsockname()[1]
        log.info("mllp.listening", extra={"address": f"{self.address[0]}:{self.port}"})

    async def _close(self, timeout_s: float) -> bool:
        self.draining = True
        if self._server is not None:
            await _close_server(self._server)
        try:
            return await self._drain(timeout_s)
        finally:
            if self._bell is not None:
                self._bell.close()

    async def _drain(self, timeout_s: float) -> bool:
        self._emptied = asyncio.Event()
        for connection in tuple(self.connections):
            connection.finish()
        if self.connections:
            try:
                await asyncio.wait_for(self._emptied.wait(), timeout_s)
            except TimeoutError:
                log.warning("mllp.not_drained", extra={"count": len(self.connections)})
                for connection in tuple(self.connections):
                    connection.abort()
                return False
        return True

    def _end_loop(self) -> None:
        self._server = None
        if self._shared is None:
            self._loop.stop()


async def _close_server(server: asyncio.Server) -> None:
    """Stop listening; who was accepted just before is known, or refused, when it returns.

    asyncio's `Server.close` forgets a connection whose accepting is not at its end (CPython 3.11),
    and its socket stays open.
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    for _ in ("its transport is made", "it is told", "it is closed if it was refused"):
        await asyncio.sleep(0)
    server.close()


class _Connection(asyncio.BufferedProtocol):
    """One peer."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.limits = listener.limits
        self.peer = Peer("", 0, 0)
        self._framer = Framer(listener.limits.frame_bytes)
        self._firsts: deque[_Slot] = deque()  # frames without their first answer
        self._lasts: deque[_Slot] = deque()  # frames without their last answer
        self._transport: asyncio.Transport | None = None
        self._reading = True
        self._writable = True
        self._ended = False  # the peer sends no more
        self._finishing = False  # nothing more is taken; close when all is answered
        self._noted = False
        self._heard_at = time.monotonic()
        self._held_bytes = 0  # as counted in `Counts.unfinished_bytes`
        self._frame_timer: asyncio.TimerHandle | None = None
        self._pause_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    # -- what asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # A peer that has gone by now has no address any more.
        host, port = (self._transport.get_extra_info("peername") or ("", 0))[:2]
        counts = self.listener.counts
        if not host or not self.listener.admits(host):
            counts.connections_refused += 1
            log.warning("mllp.connection_refused", extra={"count": counts.connections_refused})
            self._transport.abort()
            return
        counts.connections += 1
        counts.connections_total += 1
        self.peer = Peer(host, port, counts.connections_total)
        self.listener.connections.add(self)
        _keep_alive(self._transport.get_extra_info("socket"))
        if self.limits.idle_timeout_s:
            self._wait_idle()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.listener.received

    def buffer_updated(self, nbytes: int) -> None:
        self.listener.counts.bytes += nbytes
        self._framer.feed(self.listener.received[:nbytes])
        self._heard_at = time.monotonic()
        self.pump()

    def eof_received(self) -> bool:
        self._ended = True
        self.pump()
        return True  # keep our half open: answers are still due

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._frame_timer, self._pause_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        self._transport = None
        unfinished = self._framer.cut()
        if unfinished is not None and not self._ended:
            self._bad(unfinished)
        self._count_held()
        self.listener.left(self)

    def pause_writing(self) -> None:
        self._writable = False
        self._steer()

    def resume_writing(self) -> None:
        self._writable = True
        self.pump()

    # -- what the listener tells

    def pump(self) -> None:
        """Take frames while they may be taken, then set reading and timers accordingly."""
        while self._may_take():
            found = self._framer.next()
            if found is None:
                if self._is_at_rest():
                    return
                break
            self._stop_frame_timer()
            self._take(found)
        else:
            if not self.listener.may_take():
                self.listener.waiting[self] = None
        if self._ended and self._may_take() and not self._finishing:
            self._finishing = True
            unfinished = self._framer.cut()
            if unfinished is not None:
                self._take(unfinished)
        self._bound_held()
        self._note_noise()
        self._steer()
        self._close_if_done()

    def _is_at_rest(self) -> bool:
        """Say whether there is nothing to count, time, stop or close: after nearly every frame."""
        return (
            self._reading
            and not self._ended
            and self._framer.empty
            and not self._held_bytes
            and self._pause_timer is None
            and (self._noted or not self._framer.skipped_bytes)
        )

    def finish(self) -> None:
        """Answer what is complete, then close."""
        self._ended = True
        self.pump()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # -- frames in

    def _bound_held(self) -> None:
        """Count what is held of unfinished frames; give up a long one when it is too much."""
        counts = self.listener.counts
        self._count_held()
        held = counts.pending_bytes + counts.unfinished_bytes
        if held > self.limits.pending_bytes and self._may_take() and self._framer.give_up():
            log.warning("mllp.frame_given_up", extra={"size_bytes": self._held_bytes})
            self._count_held()

    def _count_held(self) -> None:
        held = self._framer.held_bytes
        self.listener.counts.unfinished_bytes += held - self._held_bytes
        self._held_bytes = held

    def _may_take(self) -> bool:
        return (
            self._writable
            and len(self._lasts) < self.limits.pending_per_connection
            and self.listener.may_take()
        )

    def _take(self, found: Found) -> None:
        if found.kind in (Kind.RESTARTED, Kind.CUT):
            self._bad(found)
            return
        if self.listener.release_2 and found.payload in (frames.COMMITTED, frames.NOT_COMMITTED):
            return
        error: YilianError | None = None
        if found.kind is Kind.TOO_LONG:
            self.listener.counts.frames_bad += 1
            limit = self.limits.frame_bytes
            error = TooMuch(f"a frame of more than {limit} bytes", details="frame-too-long")
        elif found.kind is Kind.GIVEN_UP:
            self.listener.counts.frames_bad += 1
            error = Unavailable("too much is being received at once; send it again")
        self.listener.counts.frames += 1
        self._hand_over(Frame(found.payload, self.peer, error))

    def _bad(self, found: Found) -> None:
        """Hand over what came of a frame that will never be whole; nobody waits for an answer."""
        self.listener.counts.frames_bad += 1
        if not found.payload:
            return
        error = Malformed(f"unfinished frame ({found.kind.value})", details="frame-unfinished")
        self._hand_over(Frame(found.payload, self.peer, error, answerable=False))

    def _hand_over(self, frame: Frame) -> None:
        """Have a frame taken; it waits like any other, answered or not."""
        slot = _Slot(self, len(frame.payload), frame.answerable)
        self._firsts.append(slot)
        self._lasts.append(slot)
        self.listener.counts.pending += 1
        self.listener.counts.pending_bytes += slot.size_bytes
        self.listener.accept(frame, slot.answer)

    # -- answers out

    def keep(self, slot: _Slot, answers: Answers | Sequence[bytes]) -> None:
        """Keep the first or the later answers of a frame until `flush`."""
        if not isinstance(answers, Answers):
            slot.last = answers
            return
        slot.first = answers
        if answers.later is None:
            slot.last = ()
        else:
            resolved = self.listener.resolved
            answers.later.add_done_callback(lambda done: resolved(slot, _later(done)))

    def flush(self) -> None:
        """Send the answers that no earlier frame holds back."""
        out: list[bytes] = []
        close = False
        released: list[int] = []
        while self._firsts and (answers := self._firsts[0].first) is not None:
            slot = self._firsts.popleft()
            slot.first = None  # what comes later holds the slot, and this holds what comes later
            released.append(slot.size_bytes)
            if not slot.answerable:
                continue
            if self.listener.release_2:
                said = frames.COMMITTED if answers.stored else frames.NOT_COMMITTED
                out.append(frames.frame(said))
            out += [frames.frame(payload) for payload in answers.now]
            if self.listener.answered is not None:
                self.listener.answered(time.perf_counter() - slot.received_at)
            close = close or answers.close
        while self._lasts and (last := self._lasts[0].last) is not None:
            self._lasts.popleft()
            out += [frames.frame(payload) for payload in last]
        self._send(out)
        if close and self._transport is not None:
            self._transport.close()
        for size_bytes in released:
            self.listener.released(size_bytes)
        if self._ended or not self._reading or self._framer.held_bytes:
            self.pump()

    def _send(self, out: Sequence[bytes]) -> None:
        if not out:
            return
        if self._transport is None or self._transport.is_closing():
            self.listener.counts.answers_lost += len(out)
            return
        self.listener.counts.answers += len(out)
        self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    # -- reading, timers, the end

    def _steer(self) -> None:
        """Read only when a frame may be taken; time a frame only while reading."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        wanted = self._may_take() and not self._ended
        if wanted != self._reading:
            self._reading = wanted
            transport.resume_reading() if wanted else transport.pause_reading()
        self._frame_timer = self._timed(
            self._frame_timer,
            wanted and self._framer.inside,
            self.limits.frame_timeout_s,
            self._too_slow,
        )
        if self._pause_timer is not None:
            self._pause_timer.cancel()
            self._pause_timer = None
        self._pause_timer = self._timed(
            None, wanted and self._framer.ending, self.limits.pause_s, self._paused
        )

    def _timed(
        self,
        timer: asyncio.TimerHandle | None,
        wanted: bool,
        seconds: float,
        act: Callable[[], None],
    ) -> asyncio.TimerHandle | None:
        if wanted:
            return timer or asyncio.get_running_loop().call_later(seconds, act)
        if timer is not None:
            timer.cancel()
        return None

    def _paused(self) -> None:
        self._pause_timer = None
        found = self._framer.pause()
        if found is not None:
            self._take(found)
        self.pump()

    def _too_slow(self) -> None:
        """A frame did not come to its end in time: keep what came, and close."""
        self._frame_timer = None
        log.warning("mllp.frame_timeout", extra={"count": self.peer.connection})
        self.finish()

    def _stop_frame_timer(self) -> None:
        if self._frame_timer is not None:
            self._frame_timer.cancel()
            self._frame_timer = None

    def _wait_idle(self) -> None:
        """Close when nothing has come for long enough; one timer, however much comes."""
        left = self._heard_at + self.limits.idle_timeout_s - time.monotonic()
        if left <= 0:
            self.finish()
        else:
            self._idle_timer = asyncio.get_running_loop().call_later(left, self._wait_idle)

    def _note_noise(self) -> None:
        """Say once per connection that bytes outside frames were skipped."""
        skipped = self._framer.skipped_bytes
        if skipped and not self._noted:
            self._noted = True
            log.warning("mllp.skipped_bytes", extra={"size_bytes": skipped})

    def _close_if_done(self) -> None:
        if self._finishing and not self._lasts and self._transport is not None:
            self._transport.close()


def _later(done: Future[Sequence[bytes]]) -> Sequence[bytes]:
    error = done.exception()
    if error is None:
        return done.result()
    log.error("mllp.accept_failed", exc_info=error)
    return ()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return _ip(host).is_loopback
    except ValueError:
        return False


def _ip(host: str) -> IPv4Address | IPv6Address:
    """Return the address of a host; one of IPv4 as such where IPv6 wraps it."""
    address = ip_address(host)
    return getattr(address, "ipv4_mapped", None) or address


def _keep_alive(connected: socket.socket) -> None:
    """Let TCP find peers that vanished without a word: a minute of silence, four tries."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        option = getattr(socket, name, None)
        if option is not None:
            connected.setsockopt(socket.IPPROTO_TCP, option, value)
