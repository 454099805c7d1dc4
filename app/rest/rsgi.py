"""The HTTP application on an event loop: what is cheap runs there, the rest on threads. RSGI 1.6.

Reads, searches and writes of a worker run one after the other on the loop of its main thread;
threads would take Python's lock from each other in the middle of each. What is known to take long
(large bodies, operations, everything that is not FHIR), and a read that turns out to, runs on a
few threads. The doors themselves are WSGI (PEP 3333) and know nothing of this.
"""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from io import BytesIO
from typing import Any, Protocol

from granian import rsgi as server

from app.errors import Malformed
from app.rest.base import MOUNT
from app.rest.wsgi import Wsgi
from app.store.turns import Overdue, Turn, finished

Headers = list[tuple[str, str]]
Answer = tuple[int, Headers, bytes]

_CHEAP_BYTES = 32 * 1024
_SLOW_S = 60.0  # for so long, what outlasted its turn is not tried on the loop again
_SLOW_MOST = 1000
_SLOW_LONGEST = 1000  # characters: what clients send has no bound
_READS = frozenset(("GET", "HEAD"))
_READ_BYTES = 1 << 18  # up to here a body is read before a thread is taken for it
_CGI = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


# The client has gone in the middle of its request. (The module has these names, untyped.)
_GONE: tuple[type[Exception], ...] = (
    server.ProtocolClosed,  # type: ignore[attr-defined]
    server.ProtocolError,  # type: ignore[attr-defined]
)


class Exchange(Protocol):
    """One request's body, whole or in chunks, and what answers it: the server's own object."""

    async def __call__(self) -> bytes: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None: ...

    def response_empty(self, status: int, headers: Headers) -> None: ...


class Reads(Protocol):
    """The store, as far as it reads for the loop."""

    def take_turns(self, turn: Turn, loop: AbstractEventLoop) -> None: ...


class Application:
    """One worker's RSGI application around its WSGI one.

    threads: how many requests that take long run at a time. asks_peers: a code may be asked of
    other hubs.
    """

    _loop: AbstractEventLoop

    def __init__(self, application: Wsgi, reads: Reads, *, threads: int, asks_peers: bool) -> None:
        self._application = application
        self._reads = reads
        self._asks_peers = asks_peers
        self._turn = Turn()
        self._slow: dict[tuple[str, ...], float] = {}  # kinds of requests, until when
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="http")

    def __rsgi_init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._reads.take_turns(self._turn, loop)

    def __rsgi_del__(self, loop: AbstractEventLoop) -> None:
        self._threads.shutdown()

    async def __rsgi__(self, scope: server.Scope, protocol: Exchange) -> None:
        environ = _environ(scope)
        try:
            length = _length(environ)
            if length is None or length > _READ_BYTES:
                stream = _Stream(protocol, self._loop)
                answer = await self._on_thread(environ, lambda: stream)
            else:
                answer = await self._answer(environ, await protocol() if length else b"")
        except _GONE:
            return
        status, headers, content = answer
        if content:
            protocol.response_bytes(status, headers, content)
        else:
            protocol.response_empty(status, headers)

    async def _answer(self, environ: dict[str, Any], body: bytes) -> Answer:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if len(body) <= _CHEAP_BYTES and self._is_cheap(method, path):
            kind = _kind(path, environ["QUERY_STRING"])
            if kind not in self._slow or self._slow[kind] < time.monotonic():
                try:
                    if method in _READS:
                        return self._in_turn(environ, body)
                    return await finished(partial(self._in_turn, environ, body))
                except Overdue:
                    self._is_slow(kind)
        return await self._on_thread(environ, partial(BytesIO, body))

    async def _on_thread(self, environ: dict[str, Any], body: Callable[[], Any]) -> Answer:
        return await self._loop.run_in_executor(self._threads, self._call, environ, body())

    def _is_cheap(self, method: str, path: str) -> bool:
        if path.startswith(MOUNT):
            return "$" not in path
        return path == "/id" and method == "GET" and not self._asks_peers

    def _is_slow(self, kind: tuple[str, ...]) -> None:
        if sum(map(len, kind)) > _SLOW_LONGEST:
            return
        if len(self._slow) >= _SLOW_MOST:
            del self._slow[next(iter(self._slow))]
        self._slow[kind] = time.monotonic() + _SLOW_S

    def _in_turn(self, environ: dict[str, Any], body: bytes) -> Answer:
        self._turn.begin()
        return self._call(environ, BytesIO(body))

    def _call(self, environ: dict[str, Any], body: Any) -> Answer:
        environ["wsgi.input"] = body
        status = ""
        headers: Headers = []

        def start(given: str, named: Headers, exc_info: Any = None) -> None:
            nonlocal status, headers
            status, headers = given, named

        parts = self._application(environ, start)
        content = parts[0] if type(parts) is list and len(parts) == 1 else b"".join(parts)
        close: Callable[[], None] | None = getattr(parts, "close", None)
        if close is not None:
            close()
        return int(status[:3]), headers, content


class _Stream:
    """A large body as WSGI reads it (PEP 3333), on a thread: the door decides how much it takes."""

    def __init__(self, protocol: Exchange, loop: AbstractEventLoop) -> None:
        self._chunks = protocol.__aiter__()
        self._loop = loop
        self._came = bytearray()
        self._is_whole = False

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, or all. Raises Malformed when the client breaks off."""
        while not self._is_whole and (size < 0 or len(self._came) < size):
            chunk = asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()
            self._came += chunk
            self._is_whole = not chunk
        end = len(self._came) if size < 0 else size
        data = bytes(self._came[:end])
        del self._came[:end]
        return data

    async def _next(self) -> bytes:
        try:
            return await self._chunks.__anext__()
        except StopAsyncIteration:
            return b""
        except _GONE as exc:
            raise Malformed("The body ends before it is whole") from exc


def _kind(path: str, query: str) -> tuple[str, ...]:
    """Return what requests have in common that take about as long: path and parameter names."""
    if not query:
        return (path,)
    return (path, *[part.partition("=")[0] for part in query.split("&")])


def _length(environ: Mapping[str, Any]) -> int | None:
    """Return how long the body is (RFC 9112 section 6.3), None when that is not told in advance."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        return None
    announced = environ.get("CONTENT_LENGTH", "0")
    return int(announced) if announced.isdecimal() else None


def _environ(scope: server.Scope) -> dict[str, Any]:
    path, query = scope.path, scope.query_string
    environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path if path.isascii() else _latin(path),
        "QUERY_STRING": query if query.isascii() else _latin(query),
        "SERVER_PROTOCOL": "HTTP/1.1" if scope.http_version == "1.1" else "HTTP/1.0",
        "wsgi.url_scheme": scope.scheme,
        "wsgi.errors": sys.stderr,
        "wsgi.input_terminated": True,
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    server, _, port = scope.server.rpartition(":")
    environ["SERVER_NAME"], environ["SERVER_PORT"] = server, port
    environ["REMOTE_ADDR"] = scope.client.rpartition(":")[0]
    given = scope.headers
    for name, value in given.items():
        key = _CGI.get(name) or _cgi(name)
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    for name in given.keys():  # noqa: SIM118 - no mapping: it has no `in` of its own
        environ.setdefault(_CGI.get(name) or _cgi(name), "")  # not ASCII: the value is not told
    return environ


def _latin(text: str) -> str:
    """Return text as PEP 3333 wants it: its bytes as Latin-1."""
    return text.encode().decode("latin-1")


@lru_cache(maxsize=1024)
def _cgi(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")
