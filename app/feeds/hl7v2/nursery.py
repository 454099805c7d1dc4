"""What runs in the processes that read messages, and in the one that they are forked from.

That one is made before the hub's process has threads; it has the mapping compiled and forks as
often as it is asked to (`helpers.py`).
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator

from app.feeds.hl7v2.reading import Read, packed
from app.memory import enlarge_pages

PID = struct.Struct("=i")  # the first that a reader says
SIZE = struct.Struct("=Q")  # before each request and each reply: its bytes
FORK, WARM = b"+", b"w"  # what the other one is asked for; a pipe comes with the first
_RECEIVE_BYTES = 256 * 1024
_WARM = frozenset((100, 1_000, 10_000))  # messages after which much is new that others need too
_FIRST = (
    b"MSH|^~\\&|YILIAN|YILIAN|||20000101||ADT^A04^ADT_A01|0|P|2.5.1\r"
    b"EVN|A04|20000101\rPID|1||0^^^YILIAN\rPV1|1|O\r"
)
# What most senders say, so that it is compiled before the first of them says it: people's names in
# Chinese (their pinyin is a table of its own), a visit, an order, results of several kinds.
MORE = (
    "MSH|^~\\&|YILIAN|YILIAN|||20000101||ORU^R01^ORU_R01|1|P|2.5.1|||||CHN|UNICODE UTF-8\r"
    "PID|1||0^^^YILIAN||张^伟||19500101|M|||北京路^^北京^^100000^CHN\r"
    "PV1|1|I|W^1^1|||||||||||||||||0^^^YILIAN\r"
    "ORC|RE|0|0||CM||||20000101|||0^王^芳\r"
    "OBR|1|0|0|0^Panel^L|||20000101|||||||||0^王^芳|||||||20000101||LAB|F\r"
    "OBX|1|NM|0^Test^L||1.5|mmol/L|1.0-2.0|N|||F|||20000101||0^李^强\r"
    "OBX|2|ST|1^Test^L||text||||||F\rOBX|3|CE|2^Test^L||0^Text^L||||||F\r".encode(),
    b"MSH|^~\\&|YILIAN|YILIAN|||20000101||ORM^O01^ORM_O01|2|P|2.5.1\r"
    b"PID|1||0^^^YILIAN||A^B\rORC|NW|0\rOBR|1|0||0^Panel^L\r",
)


def raise_readers(
    control: socket.socket,
    other_end: socket.socket,
    read: Callable[[bytes], Read],
    warm: Callable[[bytes], object],
) -> None:
    """What runs in the process that helpers are forked from, as it is asked to."""
    other_end.close()
    warm(_FIRST)  # compiles the mapping: the first message does not wait for it
    gc.freeze()  # what is loaded stays shared, and no collector looks at it
    more: deque[bytes] = deque()
    with contextlib.suppress(OSError):
        while True:
            if more and not select.select((control,), (), (), 0)[0]:
                warm(more.popleft())
                gc.freeze()
                continue
            asked, handles, _, _ = socket.recv_fds(control, 1, 1)
            if not asked:
                break
            if asked == WARM:
                more.extend(MORE)
                continue
            _reap(os.WNOHANG)
            with socket.socket(fileno=handles[0]) as pipe:
                if os.fork() == 0:
                    try:
                        control.close()
                        _serve(pipe, read)
                    finally:
                        os._exit(0)
    _reap(0)


def _reap(options: int) -> None:
    """Take note of helpers that ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


def _serve(pipe: socket.socket, read: Callable[[bytes], Read]) -> None:
    """What runs in a helper: read what comes, until the pipe is closed."""
    with contextlib.suppress(OSError):
        reply(pipe, PID.pack(os.getpid()))
        for count, raw in enumerate(_requests(pipe)):
            reply(pipe, packed(read(raw)))
            if count in _WARM:
                enlarge_pages()


def _requests(pipe: socket.socket) -> Iterator[bytes]:
    """Yield what comes, as many in one piece as there are."""
    came = bytearray()
    while data := pipe.recv(_RECEIVE_BYTES):
        came += data
        while len(came) >= SIZE.size:
            end = SIZE.size + SIZE.unpack_from(came)[0]
            if len(came) < end:
                break
            raw = bytes(came[SIZE.size : end])
            del came[:end]
            yield raw


def reply(pipe: socket.socket, data: bytes) -> None:
    """Write what `Helper` takes as one reply."""
    pipe.sendall(SIZE.pack(len(data)) + data)
