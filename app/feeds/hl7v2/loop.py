"""An event loop in a thread of its own, and a bell that wakes it, once for much.

Sockets of senders and of processes that read are watched by one thread: each thread more takes
Python's lock from the writer (measured: a quarter of a millisecond a message).
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class Loop:
    """An event loop; `start` it once, `stop` it once."""

    def __init__(self, name: str) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is under way stays undone."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and return its result; from another thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()


class Bell:
    """Has something done on the loop's thread: once, however often it was rung until then."""

    def __init__(self, act: Callable[[], None]) -> None:
        """On the loop's thread."""
        self._act = act
        self._heard, self._struck = socket.socketpair()  # half the cost of `call_soon_threadsafe`
        self._struck.setblocking(False)
        self._rung = False
        asyncio.get_running_loop().add_reader(self._heard, self._hear)

    def ring(self) -> None:
        """From any thread."""
        if not self._rung:
            self._rung = True
            with suppress(OSError):  # nobody is there any more
                self._struck.send(b".")

    def close(self) -> None:
        """On the loop's thread."""
        asyncio.get_running_loop().remove_reader(self._heard)
        self._heard.close()
        self._struck.close()

    def _hear(self) -> None:
        self._heard.recv(64)
        self._rung = False  # before it is done: what comes later rings again
        self._act()
