"""The seam: what STOQ asks of a QUIC implementation, and the two that give it.

Both are sans-I/O: datagrams and times go in, datagrams, a timer and events come out. Everything that a library does not
offer in public is in this module, `tls.py` and `retry.py`; tests/p2p/test_cores.py fails when a new version moves it.
Versions: qh3 2.1.0, aioquic 1.7.2.
"""

import logging
import ssl
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aioquic.quic import events as aioquic_events
from aioquic.quic.configuration import QuicConfiguration as AioquicConfiguration
from aioquic.quic.connection import QuicConnection as AioquicConnection
from aioquic.quic.connection import QuicConnectionState as AioquicState
from aioquic.tls import Epoch
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from qh3 import tls as qh3_tls
from qh3._hazmat import Buffer as Qh3Buffer
from qh3.quic import events as qh3_events
from qh3.quic import packet as qh3_packet
from qh3.quic.configuration import QuicConfiguration as Qh3Configuration
from qh3.quic.connection import QuicConnection as Qh3Connection

from crypto.errors import Reason, Refused
from p2p.config import CoreName
from p2p.stoq.tls import ALPN, AioquicContext, Qh3Context

Address = tuple[str, int, int, int]
"""An IPv6 socket address as the operating system gives it: host, port, flow info, scope id."""

CID_SIZE: Final = 8
MAX_UDP_PAYLOAD: Final = 65527
STREAM_WINDOW: Final = 1 << 20
"""Bytes in flight or out of order on one stream. What waits in order is bounded above QUIC, see channel.py."""
CONNECTION_WINDOW: Final = 4 << 20
INITIAL_RTT: Final = 0.1

# A closing peer is no news to an operator; what matters is counted and named by us.
logging.getLogger("quic").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Closed:
    """How a connection ended. `application` tells the peer's own code from one of QUIC's."""

    code: int
    text: str
    application: bool


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """What every connection of one endpoint shares. Times in seconds, sizes in bytes."""

    core: CoreName
    certificate: bytes
    private_key: bytes
    datagram_size: int
    idle: float


class Sink(Protocol):
    """Who wants the events of a core."""

    def on_handshake(self, alpn: str | None) -> None:
        """TLS is done."""
        ...

    def on_data(self, stream_id: int, data: bytes, end: bool) -> None:
        """Bytes in order."""
        ...

    def on_reset(self, stream_id: int) -> None:
        """The peer gave a stream up, or asked us to."""
        ...

    def on_id(self, connection_id: bytes, retired: bool) -> None:
        """Datagrams may carry this id, or no longer."""
        ...


class Core(Protocol):
    """One QUIC connection without I/O. `now` is in seconds of a steady clock."""

    @property
    def is_client(self) -> bool:
        """True for the side that dialled."""
        ...

    @property
    def host_id(self) -> bytes:
        """The first connection id that the peer will address us by."""
        ...

    def connect(self, address: Address, now: float) -> None:
        """Start the handshake (client only)."""
        ...

    def receive(self, datagrams: list[bytes], address: Address, now: float) -> None:
        """Take datagrams that came from one address."""
        ...

    def drain(self, sink: Sink) -> None:
        """Deliver the events that have gathered."""
        ...

    def transmit(self, now: float) -> list[tuple[bytes, Any]]:
        """Return the datagrams that may leave now, with where they go."""
        ...

    def timer(self) -> float | None:
        """When `handle_timer` is due."""
        ...

    def handle_timer(self, now: float) -> None:
        """Loss, delayed acknowledgements, pacing, idleness."""
        ...

    def send(self, stream_id: int, data: bytes) -> None:
        """Queue bytes on a stream; the id opens it if it is ours."""
        ...

    def backlog(self, stream_id: int) -> int:
        """Bytes of a stream that have not left once."""
        ...

    def ping(self) -> None:
        """Make the peer answer something."""
        ...

    def close(self, code: int, text: str) -> None:
        """End the connection with an application code."""
        ...

    def export(self, label: bytes, context: bytes) -> bytes:
        """Return keying material that only the two ends of this TLS session have."""
        ...

    @property
    def group(self) -> int:
        """TLS codepoint of the key exchange; 0 before it."""
        ...

    @property
    def closed(self) -> Closed | None:
        """Set as soon as either side has closed, or the connection has timed out."""
        ...

    @property
    def terminated(self) -> bool:
        """True when nothing more is to be sent, not even for a lost CONNECTION_CLOSE."""
        ...

    @property
    def genuine(self) -> bool:
        """False at a listener while not one packet of the peer has been decrypted; a dialer spoke first."""
        ...

    @property
    def rtt(self) -> float:
        """Smoothed round trip in seconds, or 0."""
        ...

    def release(self) -> None:
        """Nothing will come or go any more: let go of all buffers and keys. `closed` and `group` stay known."""
        ...


class _Qh3(Qh3Connection):
    """qh3's connection with our TLS context."""

    def _create_tls(self, remote_source_cid: bytes | None) -> Any:
        bridge = super()._create_tls(remote_source_cid)
        context: Any = bridge.tls
        context.__class__ = Qh3Context
        context.adopt()
        context.handshake_extensions = [
            (kind, _large_payloads(raw) if kind == qh3_tls.ExtensionType.QUIC_TRANSPORT_PARAMETERS else raw)
            for kind, raw in context.handshake_extensions
        ]
        return bridge


def _large_payloads(raw: bytes) -> bytes:
    """A qh3 client tells its peer that it takes 1472 bytes at most. Ours takes what comes."""
    parameters = qh3_packet.pull_quic_transport_parameters(Qh3Buffer(data=raw))
    if parameters.max_udp_payload_size is None:
        return raw
    parameters.max_udp_payload_size = MAX_UDP_PAYLOAD
    parameters.google_connection_options = None
    buffer = Qh3Buffer(capacity=len(raw) + 64)
    qh3_packet.push_quic_transport_parameters(buffer, parameters)
    return bytes(buffer.data)


class _Aioquic(AioquicConnection):
    """aioquic's connection with our TLS context, and windows that are bounded.

    The library doubles its windows as data arrives, in or out of order, so that a peer decides how much memory
    its reassembly takes. Here they stay a fixed distance above what has been delivered in order.
    """

    delivered = 0

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        context: Any = self.tls
        context.__class__ = AioquicContext
        context.adopt()

    def _write_stream_limits(self, builder: Any, space: Any, stream: Any) -> None:
        # Called for every stream and packet: it has to be over soon when there is nothing to do.
        value = stream.max_stream_data_local
        if not value:
            return
        receiver = stream.receiver
        limit = receiver.starting_offset() + STREAM_WINDOW
        if limit - value >= STREAM_WINDOW // 4 and not receiver.is_finished:
            stream.max_stream_data_local = limit
        elif stream.max_stream_data_local_sent == value:
            return
        highest, receiver.highest_offset = receiver.highest_offset, 0
        try:
            super()._write_stream_limits(builder, space, stream)
        finally:
            receiver.highest_offset = highest

    def _write_connection_limits(self, builder: Any, space: Any) -> None:
        limit = self._local_max_data
        target = self.delivered + CONNECTION_WINDOW
        if target - limit.value >= CONNECTION_WINDOW // 4:
            limit.value = target
        used, limit.used = limit.used, 0
        try:
            super()._write_connection_limits(builder, space)
        finally:
            limit.used = used


class _Released:
    """What is left of a library's connection: how it ended, and nothing that could still be done with it.

    It stands for its own TLS and loss recovery too, as far as the properties of a core ask for them.
    """

    _core = None
    _rtt_initialized = False

    def __init__(self, close_event: Any, group: int) -> None:
        self._close_event = close_event
        self.group = group

    @property
    def tls(self) -> "_Released":
        return self

    _loss = tls

    def next_event(self) -> None:
        return None

    def export(self, _label: bytes, _context: bytes) -> bytes:
        raise Refused(Reason.CONNECTION_LOST, "the connection has ended")


class _Shared:
    """What the two libraries have in common, which is nearly all."""

    events: Any
    quic: Any

    def __init__(self, is_client: bool) -> None:
        self.is_client = is_client
        self.terminated = False
        self._ping = 0

    @property
    def host_id(self) -> bytes:
        """See Core."""
        return bytes(self.quic.host_cid)

    def connect(self, address: Address, now: float) -> None:
        """See Core."""
        self.quic.connect(address, now)

    def drain(self, sink: Sink) -> None:
        """See Core."""
        events = self.events
        while (event := self.quic.next_event()) is not None:
            kind = type(event)
            if kind is events.StreamDataReceived:
                self._delivered(len(event.data))
                sink.on_data(event.stream_id, event.data, event.end_stream)
            elif kind is events.HandshakeCompleted:
                sink.on_handshake(event.alpn_protocol)
            elif kind is events.ConnectionIdIssued:
                sink.on_id(event.connection_id, False)
            elif kind is events.ConnectionIdRetired:
                sink.on_id(event.connection_id, True)
            elif kind is events.StreamReset or kind is events.StopSendingReceived:
                sink.on_reset(event.stream_id)
            elif kind is events.ConnectionTerminated:
                self.terminated = True

    def transmit(self, now: float) -> list[tuple[bytes, Any]]:
        """See Core."""
        datagrams: list[tuple[bytes, Any]] = self.quic.datagrams_to_send(now)
        return datagrams

    def timer(self) -> float | None:
        """See Core."""
        at: float | None = self.quic.get_timer()
        return at

    def handle_timer(self, now: float) -> None:
        """See Core."""
        self.quic.handle_timer(now)

    def send(self, stream_id: int, data: bytes) -> None:
        """See Core."""
        self.quic.send_stream_data(stream_id, data)

    def ping(self) -> None:
        """See Core."""
        self._ping += 1
        self.quic.send_ping(self._ping)

    def close(self, code: int, text: str) -> None:
        """See Core."""
        self.quic.close(code, None, text)

    def export(self, label: bytes, context: bytes) -> bytes:
        """See Core."""
        exported: bytes = self.quic.tls.export(label, context)
        return exported

    @property
    def group(self) -> int:
        """See Core."""
        return getattr(self.quic.tls, "group", 0)

    @property
    def closed(self) -> Closed | None:
        """See Core."""
        event = self.quic._close_event
        return None if event is None else Closed(event.error_code, event.reason_phrase, event.frame_type is None)

    def release(self) -> None:
        """See Core.

        Both libraries' connections refer to themselves through their callbacks: only a full garbage collection would
        find them, which is rare in a node, and whoever breaks off handshakes would fill its memory with them.
        """
        quic, self.quic = self.quic, _Released(self.quic._close_event, self.group)
        self._cut(quic)

    def _cut(self, quic: Any) -> None:
        """Break the circles of references of a library's connection."""
        vars(quic).clear()

    def _delivered(self, count: int) -> None:
        pass


class Qh3Core(_Shared):
    """qh3: the packet layer in Rust. The default."""

    events = qh3_events

    def __init__(self, settings: CoreSettings, original_id: bytes | None, retry_id: bytes | None) -> None:
        super().__init__(original_id is None)
        configuration = Qh3Configuration(
            alpn_protocols=[ALPN], is_client=self.is_client, idle_timeout=settings.idle, initial_rtt=INITIAL_RTT,
            max_data=CONNECTION_WINDOW, max_stream_data=STREAM_WINDOW, max_datagram_size=settings.datagram_size,
            probe_datagram_size=False, verify_mode=ssl.CERT_NONE, connection_id_length=CID_SIZE,
        )
        if not self.is_client:
            configuration.load_cert_chain(settings.certificate, settings.private_key)
        self.quic = _Qh3(
            configuration=configuration, original_destination_connection_id=original_id,
            retry_source_connection_id=retry_id,
        )

    def receive(self, datagrams: list[bytes], address: Address, now: float) -> None:
        """See Core."""
        self.quic.receive_many_datagrams(datagrams, address, now)

    def backlog(self, stream_id: int) -> int:
        """See Core."""
        return int(self.quic.get_send_buffer_size(stream_id))

    @property
    def genuine(self) -> bool:
        """See Core."""
        core = self.quic._core
        return self.is_client or (core is not None and bool(core.received_authenticated_packet))

    @property
    def rtt(self) -> float:
        """See Core."""
        core = self.quic._core
        return 0.0 if core is None else core.smoothed_rtt or 0.0

    def _cut(self, quic: Any) -> None:
        bridge = getattr(quic, "_tls", None)
        if bridge is not None:
            vars(bridge).clear()
        super()._cut(quic)


class AioquicCore(_Shared):
    """aioquic: all in Python, slower, independent."""

    events = aioquic_events

    def __init__(self, settings: CoreSettings, original_id: bytes | None, retry_id: bytes | None) -> None:
        super().__init__(original_id is None)
        configuration = AioquicConfiguration(
            alpn_protocols=[ALPN], is_client=self.is_client, idle_timeout=settings.idle, initial_rtt=INITIAL_RTT,
            max_data=CONNECTION_WINDOW, max_stream_data=STREAM_WINDOW, max_datagram_size=settings.datagram_size,
            verify_mode=ssl.CERT_NONE, connection_id_length=CID_SIZE, congestion_control_algorithm="cubic",
        )
        if not self.is_client:
            configuration.certificate = x509.load_pem_x509_certificate(settings.certificate)
            configuration.private_key = serialization.load_pem_private_key(settings.private_key, None)
        self.quic = _Aioquic(
            configuration=configuration, original_destination_connection_id=original_id,
            retry_source_connection_id=retry_id,
        )

    def receive(self, datagrams: list[bytes], address: Address, now: float) -> None:
        """See Core."""
        for data in datagrams:
            self.quic.receive_datagram(data, address, now)

    def send(self, stream_id: int, data: bytes) -> None:
        """See Core. An ACK that is owed leaves with the data; the library would send it alone, a little later."""
        super().send(stream_id, data)
        space = self.quic._spaces.get(Epoch.ONE_RTT)
        if space is not None and space.ack_at is not None:
            space.ack_at = 0.0

    def backlog(self, stream_id: int) -> int:
        """See Core."""
        stream = self.quic._streams.get(stream_id)
        return 0 if stream is None else sum(part.stop - part.start for part in stream.sender._pending)

    @property
    def genuine(self) -> bool:
        """See Core."""
        return self.is_client or self.quic._state is not AioquicState.FIRSTFLIGHT

    @property
    def rtt(self) -> float:
        """See Core."""
        loss = self.quic._loss
        return float(loss._rtt_smoothed) if loss._rtt_initialized else 0.0

    def _delivered(self, count: int) -> None:
        self.quic.delivered += count


def make_core(settings: CoreSettings, original_id: bytes | None = None, retry_id: bytes | None = None) -> Core:
    """Return a client's core, or with `original_id` (the first destination id of the client) a server's.

    Args:
        settings: what the endpoint's connections share.
        original_id: makes it a server.
        retry_id: the id that our Retry packet gave to the client, if there was one.
    """
    kind = Qh3Core if settings.core is CoreName.QH3 else AioquicCore
    return kind(settings, original_id, retry_id)
