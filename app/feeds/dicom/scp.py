"""The DICOM listener: C-ECHO and C-STORE as a service class provider.

DICOM PS3.4 A (verification), B (storage), PS3.8 (upper layer). Every storage SOP class, also
private ones, is accepted in the first transfer syntax that the peer offers: the bytes are kept as
they are and pixels are never decoded. The listener knows files and a callback only: a status goes
out when `accept` returned it, so `accept` has to make the object durable before it says success.

Left out: SOP class extended negotiation, user identity, asynchronous operations.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pynetdicom import AE, _config, evt
from pynetdicom.transport import ThreadedAssociationServer

from app.errors import Malformed, YilianError
from app.feeds.dicom.status import PROCESSING_FAILURE, SUCCESS, status_of

log = logging.getLogger(__name__)

AE_TITLE: Final = "YILIAN"

# The SOP class of C-ECHO (PS3.4 A.4).
VERIFICATION: Final = "1.2.840.10008.1.1"

_LOOK_S = 0.05  # between two looks at who is still receiving when the listener closes

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Received:
    """One object as it came: a Part 10 file that exists until `accept` returns.

    The UIDs are those of the C-STORE request and its presentation context.
    """

    path: Path
    calling_ae: str
    called_ae: str
    peer: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


Accept = Callable[[Received], int]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one listener lets its peers do.

    allow: networks whose hosts may connect; loopback addresses always may. object_bytes: an object
    over it aborts the association (the rest of it would have to be received before an answer).
    calling: the AE titles that may associate; none: any.
    """

    associations: int = 50
    pdu_bytes: int = 128 << 10
    object_bytes: int = 4 << 30
    idle_s: float = 60.0
    allow: Sequence[Network] = ()
    calling: Sequence[str] = ()


class Listener:
    """A running listener; `address` is where it listens (port 0 was asked: the port it got)."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        host, port = server.server_address[:2]
        self.address: tuple[str, int] = (str(host), int(port))
        self._thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="dicom", daemon=True
        )
        self._thread.start()

    def close(self, timeout_s: float = 10.0) -> None:
        """Stop listening; objects that are just being received have so long to come to their end.

        Who is connected and sends nothing, associated or not, is not waited for.
        """
        self._server.shutdown()
        self._server.server_close()
        deadline = time.monotonic() + timeout_s
        while True:
            late = time.monotonic() > deadline
            busy = []
            for association in self._server.active_associations:
                if not late and _is_busy(association):
                    busy.append(association)
                else:
                    _hang_up(association)
            if not busy:
                break
            busy[0].join(_LOOK_S)
        self._thread.join(timeout_s)


def _is_busy(association: Any) -> bool:
    """Say whether an object is on its way in, or not answered yet."""
    dimse = association.dimse
    return (
        dimse.message is not None
        or not dimse.msg_queue.empty()
        or association in association._server.storing
    )


def _hang_up(association: Any) -> None:
    """End the connection, whatever state it is in: the library cleans up (PS3.8 9.2, Evt17)."""
    connection = association.dul.socket.socket
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def serve(
    address: tuple[str, int],
    accept: Accept,
    *,
    ae_title: str = AE_TITLE,
    limits: Limits | None = None,
) -> Listener:
    """Listen on `address`; each received object is answered with the status `accept` returns.

    An error that `accept` raises becomes its status (`status.py`). Called from one thread per
    association.
    """
    limits = limits or Limits()
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    _config.STORE_RECV_CHUNKED_DATASET = True  # to a file: an object may be larger than memory
    _config.LOG_HANDLER_LEVEL = "none"  # its log lines repeat values of the data set
    ae = AE(ae_title=ae_title)
    ae.add_supported_context(VERIFICATION)
    ae.maximum_associations = limits.associations
    ae.maximum_pdu_size = limits.pdu_bytes
    ae.network_timeout = ae.acse_timeout = ae.dimse_timeout = limits.idle_s
    ae.require_calling_aet = list(limits.calling)
    server = _Server(
        ae,
        address,
        ae_title,
        ae.supported_contexts,
        evt_handlers=[
            (evt.EVT_C_ECHO, lambda _event: SUCCESS),
            (evt.EVT_C_STORE, _on_store, [accept]),
            (evt.EVT_PDU_RECV, _on_pdu, [limits.object_bytes]),
            (evt.EVT_PDU_SENT, _on_sent),
            (evt.EVT_CONN_CLOSE, _on_close),
        ],
    )
    server.allow = limits.allow
    return Listener(server)


class _Server(ThreadedAssociationServer):
    """The library's server behind an allow-list of networks."""

    allow: Sequence[Network] = ()
    daemon_threads = True

    def __init__(self, *args: Any, **more: Any) -> None:
        self.storing: set[Any] = set()  # associations whose object is not answered yet
        super().__init__(*args, **more)

    def shutdown(self) -> None:
        socketserver.BaseServer.shutdown(self)  # not in the list of servers that its AE keeps

    def verify_request(self, request: Any, client_address: Any) -> bool:
        address = ipaddress.ip_address(client_address[0].split("%", 1)[0])
        if isinstance(address, ipaddress.IPv6Address):
            address = address.ipv4_mapped or address
        if address.is_loopback or any(address in network for network in self.allow):
            return True
        log.warning("dicom.refused", extra={"feed": "dicom"})
        return False


def _on_store(event: Any, accept: Accept) -> int:
    if event.dataset_path is None:
        return status_of(Malformed("the request carries no data set"))
    requestor = event.assoc.requestor
    received = Received(
        path=Path(event.dataset_path),
        calling_ae=str(requestor.ae_title or "").strip(),
        called_ae=str(requestor.primitive.called_ae_title or "").strip(),
        peer=str(requestor.address),
        sop_class_uid=str(event.request.AffectedSOPClassUID),
        sop_instance_uid=str(event.request.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(event.context.transfer_syntax),
    )
    event.assoc._server.storing.add(event.assoc)
    try:
        return accept(received)
    except (YilianError, OSError) as exc:
        log.warning("dicom.refused", extra={"feed": "dicom", "code": f"{status_of(exc):04X}"})
        return status_of(exc)
    except Exception:
        log.exception("dicom.fault", extra={"feed": "dicom"})
        return PROCESSING_FAILURE


def _on_pdu(event: Any, object_bytes: int) -> None:
    """Abort the association when the object that is being received grows over the limit."""
    message = event.assoc.dimse.message
    file = getattr(message, "_data_set_file", None)
    if file is not None and not file.closed and file.tell() > object_bytes:
        log.warning("dicom.too_large", extra={"feed": "dicom"})
        event.assoc.abort()


def _on_sent(event: Any) -> None:
    """Note that the answer is out."""
    event.assoc._server.storing.discard(event.assoc)


def _on_close(event: Any) -> None:
    """Remove the file of an object that was cut off in the middle."""
    _on_sent(event)
    message = event.assoc.dimse.message
    file = getattr(message, "_data_set_file", None)
    if file is not None:
        file.close()
        Path(file.name).unlink(missing_ok=True)
