"""The HTTP application on an event loop: what runs where, and what the doors see of a request."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from granian import rsgi

from app.errors import Malformed
from app.rest.rsgi import Application
from app.store.turns import Overdue, Turn

LOOP = "MainThread"


class Headers:
    """As granian tells them: names in small letters, values that are ASCII."""

    def __init__(self, named: Iterable[tuple[str, str]]) -> None:
        self._named = list(named)

    def items(self) -> list[tuple[str, str]]:
        return [(name, value) for name, value in self._named if value.isascii()]

    def keys(self) -> list[str]:
        return list(dict(self._named))


@dataclass
class Scope:
    method: str
    path: str
    query_string: str = ""
    headers: Headers = field(default_factory=lambda: Headers([]))
    http_version: str = "1.1"
    scheme: str = "http"
    server: str = "127.0.0.1:8080"
    client: str = "127.0.0.1:4711"


class Protocol:
    """One request's body, and what was answered."""

    def __init__(self, *chunks: bytes) -> None:
        self.left = list(chunks)
        self.answers: list[tuple[int, dict[str, str], bytes]] = []

    async def __call__(self) -> bytes:
        return b"".join(self.left)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.left:
            yield self.left.pop(0)

    def response_bytes(self, status: int, headers: Any, body: bytes) -> None:
        self.answers.append((status, dict(headers), body))

    def response_empty(self, status: int, headers: Any) -> None:
        self.answers.append((status, dict(headers), b""))


class Reads:
    def take_turns(self, turn: Turn, loop: object) -> None:
        self.turn = turn


Seen = Callable[[dict[str, Any]], bytes]


def asked(
    see: Seen,
    scope: Scope,
    *chunks: bytes,
    peers: bool = False,
    protocol: Protocol | None = None,
    times: int = 1,
) -> Protocol:
    """Answer one request, or the same again, with what `see` makes of its environ."""

    def wsgi(environ: dict[str, Any], start: Any) -> list[bytes]:
        body = see(environ)
        start("200 OK", [("Content-Type", "text/plain")])
        return [body] if body else []

    application = Application(wsgi, Reads(), threads=1, asks_peers=peers)
    protocol = protocol or Protocol(*chunks)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        application.__rsgi_init__(loop)
        for _ in range(times):
            await application.__rsgi__(scope, protocol)  # type: ignore[arg-type]
        application.__rsgi_del__(loop)

    asyncio.run(run())
    return protocol


def where(environ: dict[str, Any]) -> bytes:
    return threading.current_thread().name.encode()


@pytest.mark.parametrize(
    ("method", "path", "peers", "on_loop"),
    [
        ("GET", "/fhir/Patient/1", True, True),
        ("POST", "/fhir", True, True),
        ("GET", "/fhir/ValueSet/$expand", False, False),
        ("GET", "/", False, False),
        ("GET", "/id", False, True),
        ("GET", "/id", True, False),  # another hub may be asked
        ("POST", "/id", False, False),
    ],
)
def test_what_is_cheap_runs_on_the_loop(method: str, path: str, peers: bool, on_loop: bool):
    [(status, _, name)] = asked(where, Scope(method, path), peers=peers).answers
    assert (status, name.decode() == LOOP) == (200, on_loop)


def test_a_large_body_is_not_worked_at_on_the_loop():
    scope = Scope("POST", "/fhir", headers=Headers([("content-length", "40000")]))
    [(_, _, name)] = asked(where, scope, b"x" * 40_000).answers
    assert name.decode() != LOOP


def test_what_outlasts_its_turn_is_done_again_on_a_thread():
    names = []

    def see(environ: dict[str, Any]) -> bytes:
        names.append(where(environ).decode())
        if names == [LOOP]:
            raise Overdue
        return environ["wsgi.input"].read()

    for method in ("POST", "GET"):
        names.clear()
        scope = Scope(method, "/fhir/Patient", headers=Headers([("content-length", "4")]))
        assert asked(see, scope, b"body").answers == [
            (200, {"Content-Type": "text/plain"}, b"body")
        ]
        assert len(names) == 2


def test_what_was_slow_is_not_tried_on_the_loop_again_for_a_while():
    names = []

    def see(environ: dict[str, Any]) -> bytes:
        names.append(where(environ).decode())
        if names[-1] == LOOP:
            raise Overdue
        return b"found"

    scope = Scope("GET", "/fhir/Patient", "name:contains=a&_count=10")
    assert len(asked(see, scope, times=3).answers) == 3
    assert [name == LOOP for name in names] == [True, False, False, False]


def test_the_environ_is_that_of_pep_3333():
    seen: dict[str, Any] = {}

    def see(environ: dict[str, Any]) -> bytes:
        seen.update(environ)
        return b""

    headers = Headers(
        [("x-a", "1"), ("x-a", "2"), ("if-none-exist", "name=张"), ("content-type", "a/b")]
    )
    protocol = asked(see, Scope("GET", "/fhir/张", "name=张", headers=headers))
    assert protocol.answers[0][2] == b""
    assert seen["PATH_INFO"].encode("latin-1").decode() == "/fhir/张"
    assert seen["QUERY_STRING"].encode("latin-1").decode() == "name=张"
    assert (seen["HTTP_X_A"], seen["CONTENT_TYPE"]) == ("1,2", "a/b")
    assert seen["HTTP_IF_NONE_EXIST"] == ""  # there, but cannot be read
    assert (seen["SERVER_NAME"], seen["SERVER_PORT"]) == ("127.0.0.1", "8080")


CHUNKED = Headers([("transfer-encoding", "chunked")])
LARGE = Headers([("content-length", "9000000")])


@pytest.mark.parametrize("headers", [CHUNKED, LARGE])
def test_of_a_large_body_a_door_reads_what_it_wants(headers: Headers):
    def see(environ: dict[str, Any]) -> bytes:
        stream = environ["wsgi.input"]
        return stream.read(7) + b"|" + stream.read(2) + b"|" + where(environ)[:4]

    protocol = asked(see, Scope("POST", "/fhir", headers=headers), *[b"12345"] * 9)
    assert protocol.answers[0][2] == b"1234512|34|http"
    assert len(protocol.left) == 7


def test_a_large_body_can_be_read_to_its_end():
    def see(environ: dict[str, Any]) -> bytes:
        stream = environ["wsgi.input"]
        return b"%d %d" % (len(stream.read()), len(stream.read(5)))

    protocol = asked(see, Scope("POST", "/fhir", headers=CHUNKED), *[b"12345"] * 9)
    assert protocol.answers[0][2] == b"45 0"


def test_a_large_body_that_breaks_off_is_malformed():
    class Cut(Protocol):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"12345"
            raise rsgi.ProtocolClosed

    def see(environ: dict[str, Any]) -> bytes:
        with pytest.raises(Malformed, match="before it is whole"):
            environ["wsgi.input"].read()
        return b"told"

    protocol = asked(see, Scope("POST", "/fhir", headers=CHUNKED), protocol=Cut())
    assert protocol.answers[0][2] == b"told"


def test_who_has_gone_in_the_middle_of_a_request_is_not_answered():
    class Gone(Protocol):
        async def __call__(self) -> bytes:
            raise rsgi.ProtocolClosed

    scope = Scope("POST", "/fhir", headers=Headers([("content-length", "9")]))
    assert asked(where, scope, protocol=Gone()).answers == []
