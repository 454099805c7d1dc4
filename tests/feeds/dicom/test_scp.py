"""DICOM PS3.4 A and B, PS3.7 annex C: the listener with real peers (pynetdicom, dcmtk)."""

import io
import ipaddress
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from pynetdicom import AE, build_context

from app.errors import Invalid, Malformed, TooMuch, Unavailable
from app.feeds.dicom import scp, send
from app.feeds.dicom.objects import Keep, ObjectStore, header_of
from app.feeds.dicom.status import status_of
from tests.support import wait_for

CT = "1.2.840.10008.5.1.4.1.1.2"
JPEG_2000 = "1.2.840.10008.1.2.4.90"

needs_dcmtk = pytest.mark.skipif(
    shutil.which("storescu") is None, reason="dcmtk (storescu, echoscu) is not installed"
)


class Inbox:
    """Remembers what was received; the twin of the real inbox."""

    def __init__(self) -> None:
        self.received: list[scp.Received] = []
        self.headers: list[bytes] = []

    def accept(self, received: scp.Received) -> int:
        self.headers.append(header_of(received.path).data)
        self.received.append(received)
        return 0x0000


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture
def serve():
    """Return a function that starts a listener which is closed after the test."""
    listeners = []

    def start(accept, **limits) -> int:
        listeners.append(
            scp.serve(("127.0.0.1", 0), accept, limits=scp.Limits(idle_s=120, **limits))
        )
        return listeners[-1].address[1]

    yield start
    for listener in listeners:
        listener.close()


@pytest.fixture
def file(tmp_path, dicom_object):
    """Return a function that writes an object into a file."""

    def write(name="a.dcm", **elements) -> Path:
        path = tmp_path / name
        path.write_bytes(dicom_object(**elements))
        return path

    return write


def _send(port: int, *files: Path) -> tuple[int, list[str]]:
    out = io.StringIO()
    code = send.main([f"127.0.0.1:{port}", *map(str, files)], io.BytesIO(), out)
    return code, [line.split("  ")[0] for line in out.getvalue().splitlines()]


def test_echo_is_answered(serve, inbox):
    assert _send(serve(inbox.accept)) == (0, ["echo 0x0000"])


def test_success_goes_out_only_after_accept_returned(serve, file):
    may_return, entered = threading.Event(), threading.Event()

    def accept(_received):
        entered.set()
        may_return.wait(120)
        return 0x0000

    port = serve(accept)
    answers = []
    sender = threading.Thread(target=lambda: answers.append(_send(port, file())))
    sender.start()
    assert entered.wait(60)
    assert answers == []
    may_return.set()
    sender.join()

    assert answers == [(0, ["0x0000"])]


def test_the_request_tells_who_sent_what(serve, inbox, file):
    port = serve(inbox.accept)

    _send(port, file())

    (received,) = inbox.received
    assert received.calling_ae == "YILIAN-SCU"
    assert received.called_ae == "YILIAN"
    assert received.peer == "127.0.0.1"
    assert received.sop_class_uid == CT
    assert received.sop_instance_uid == "2.25.300"
    assert received.transfer_syntax_uid == "1.2.840.10008.1.2.1"


def test_the_temporary_file_is_gone_after_the_answer(serve, inbox, file):
    _send(serve(inbox.accept), file())

    wait_for(lambda: not inbox.received[0].path.exists())


@pytest.mark.parametrize(
    "kind", ["1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.88.67", "1.2.3.4"]
)
def test_any_storage_class_and_transfer_syntax_is_accepted(serve, inbox, kind):
    port = serve(inbox.accept)

    assoc = AE().associate("127.0.0.1", port, contexts=[build_context(kind, JPEG_2000)])
    accepted = [(cx.abstract_syntax, cx.transfer_syntax[0]) for cx in assoc.accepted_contexts]
    assoc.release()

    assert accepted == [(kind, JPEG_2000)]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Malformed("broken"), "0xC000"),
        (Invalid("wrong"), "0xA900"),
        (TooMuch("large"), "0xA700"),
        (Unavailable("later"), "0xA700"),
        (OSError(28, "No space left on device"), "0xA700"),
        (RuntimeError("a fault"), "0x0110"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_error_is_answered_with_its_status(serve, file, error, status):
    def accept(_received):
        raise error

    assert _send(serve(accept), file()) == (1, [status])


def test_an_object_without_study_uid_fails_alone(serve, inbox, file):
    bad = file("bad.dcm", StudyInstanceUID="")

    code, answers = _send(serve(inbox.accept), bad, file("good.dcm"))

    assert (code, answers) == (1, ["0xA900", "0x0000"])


def test_a_too_large_object_aborts_the_association(serve, inbox, file):
    port = serve(inbox.accept, object_bytes=100_000, pdu_bytes=16_382)

    code, _ = _send(port, file(pixels=bytes(400_000)))

    assert code == 1
    assert inbox.received == []


def test_more_associations_than_allowed_are_rejected(serve, inbox):
    port = serve(inbox.accept, associations=1)
    contexts = [build_context(scp.VERIFICATION)]

    first = AE().associate("127.0.0.1", port, contexts=contexts)
    second = AE().associate("127.0.0.1", port, contexts=contexts)
    first.release()

    assert second.is_rejected


def test_only_listed_callers_may_associate(serve, inbox):
    port = serve(inbox.accept, calling=("CT1",))
    contexts = [build_context(scp.VERIFICATION)]

    known = AE("CT1").associate("127.0.0.1", port, contexts=contexts)
    unknown = AE("MR1").associate("127.0.0.1", port, contexts=contexts)
    known.release()

    assert unknown.is_rejected


def test_the_allow_list_names_networks_and_loopback_is_always_in(serve, inbox):
    listener = scp.serve(
        ("127.0.0.1", 0),
        inbox.accept,
        limits=scp.Limits(allow=(ipaddress.ip_network("10.1.0.0/16"),)),
    )
    try:
        allows = listener._server.verify_request
        assert allows(None, ("127.0.0.1", 1))
        assert allows(None, ("::ffff:10.1.2.3", 1, 0, 0))
        assert not allows(None, ("10.2.0.1", 1))
    finally:
        listener.close()


def test_a_listener_that_closes_waits_for_objects_and_for_nobody_who_is_silent(inbox, file):
    begun, going_on = threading.Event(), threading.Event()

    def slow(received: scp.Received) -> int:
        begun.set()
        assert going_on.wait(120)
        return inbox.accept(received)

    listener = scp.serve(("127.0.0.1", 0), slow, limits=scp.Limits(idle_s=600))
    port = listener.address[1]
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    idle = AE("CT1").associate("127.0.0.1", port, contexts=[build_context(scp.VERIFICATION)])
    assert idle.is_established
    told = []
    sender = threading.Thread(target=lambda: told.append(_send(port, file())))
    sender.start()
    assert begun.wait(120)

    closing = threading.Thread(target=listener.close, args=(600,))
    closing.start()
    for one in silent:
        one.settimeout(120)
        assert one.recv(1) == b""
        one.close()
    wait_for(lambda: not idle.is_established)
    assert closing.is_alive()
    going_on.set()

    closing.join(120)
    sender.join()
    assert not closing.is_alive()
    assert told[0][0] == 0
    assert len(inbox.received) == 1


def test_parallel_associations_lose_nothing(serve, inbox, file):
    port = serve(inbox.accept)
    files = [file(f"{n}.dcm", SOPInstanceUID=f"2.25.9{n}") for n in range(12)]

    senders = [threading.Thread(target=_send, args=(port, *files[n::4])) for n in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()

    assert sorted(one.sop_instance_uid for one in inbox.received) == sorted(
        f"2.25.9{n}" for n in range(12)
    )


@needs_dcmtk
def test_dcmtk_echoes_and_stores(serve, inbox, file):
    port = str(serve(inbox.accept))

    echo = subprocess.run(["echoscu", "127.0.0.1", port], timeout=120, check=False)
    store = subprocess.run(
        ["storescu", "-aet", "CT1", "127.0.0.1", port, str(file(PatientID="P1"))],
        timeout=120,
        check=False,
    )

    assert (echo.returncode, store.returncode) == (0, 0)
    assert inbox.received[0].calling_ae == "CT1"
    assert b"P1" in inbox.headers[0]


@needs_dcmtk
def test_dcmtk_sees_the_failure(serve, inbox, file):
    port = str(serve(inbox.accept))

    store = subprocess.run(
        ["storescu", "-v", "127.0.0.1", port, str(file(StudyInstanceUID=""))],
        timeout=120,
        check=False,
        capture_output=True,
        text=True,
    )

    assert "DataSetDoesNotMatchSOPClass" in store.stdout + store.stderr


def test_files_that_are_no_objects_are_named_and_the_others_sent(serve, inbox, file, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not an object")

    code, answers = _send(serve(inbox.accept), text, file())

    assert (code, answers) == (1, ["not sent", "0x0000"])


def test_kept_objects_are_whole_and_kept_once(tmp_path, file):
    store = ObjectStore(tmp_path / "objects")
    path = file()

    first = store.put(path, b"")
    second = store.put(path, b"")

    assert first == second
    assert store.path_of(first).read_bytes() == path.read_bytes()
    assert len(list((tmp_path / "objects").rglob("*.*"))) == 1


def test_keeping_headers_only_keeps_no_pixels(tmp_path, file):
    store = ObjectStore(tmp_path / "objects", Keep.HEADERS)
    path = file(pixels=bytes(5000))

    digest = store.put(path, header_of(path).data)

    assert store.path_of(digest).stat().st_size < 1000


def test_status_of_a_fault_is_processing_failure():
    assert status_of(KeyError("x")) == 0x0110
