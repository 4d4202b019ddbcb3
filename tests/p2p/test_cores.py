"""The seam: both QUIC cores without I/O, and a guard for every private name of theirs that we use."""

import inspect
import ssl
from importlib.metadata import version
from typing import Any

import pytest
from aioquic import tls as aioquic_tls
from aioquic.quic import connection as aioquic_connection
from aioquic.quic.configuration import QuicConfiguration as AioquicConfiguration
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream
from qh3 import tls as qh3_tls
from qh3._hazmat import QuicConnectionCore
from qh3.quic import connection as qh3_connection
from qh3.quic import tls_bridge
from qh3.quic.configuration import QuicConfiguration as Qh3Configuration

from crypto.errors import Reason
from p2p.config import CoreName
from p2p.stoq.codes import code_of, reason_of
from p2p.stoq.cores import (
    CONNECTION_WINDOW,
    STREAM_WINDOW,
    Core,
    CoreSettings,
    make_core,
)
from p2p.stoq.retry import read_first_packet, retry_packet
from p2p.stoq.tls import ALPN, GROUP, AioquicContext, Qh3Context, make_certificate

Cores = tuple[CoreName, CoreName]
CERTIFICATE, KEY = make_certificate()
DIALER, LISTENER = ("::1", 1111, 0, 0), ("::1", 2222, 0, 0)


class Events:
    def __init__(self) -> None:
        self.alpn: str | None = None
        self.data: dict[int, bytearray] = {}
        self.resets: list[int] = []

    def on_handshake(self, alpn: str | None) -> None:
        self.alpn = alpn

    def on_data(self, stream_id: int, data: bytes, end: bool) -> None:
        self.data.setdefault(stream_id, bytearray()).extend(data)

    def on_reset(self, stream_id: int) -> None:
        self.resets.append(stream_id)

    def on_id(self, connection_id: bytes, retired: bool) -> None:
        pass


def core_settings(core: CoreName, datagram_size: int = 1232) -> CoreSettings:
    return CoreSettings(core, CERTIFICATE, KEY, datagram_size, 10.0)


class Link:
    """A dialer and a listener in one clock, with every datagram delivered."""

    def __init__(self, dialer: Core | Any, listener_core: CoreName, datagram_size: int = 1232) -> None:
        self.now = 0.0
        self.dialer = dialer
        self.dialer.connect(LISTENER, self.now)
        self.flying = self.dialer.transmit(self.now)
        first = read_first_packet(self.flying[0][0])
        assert first is not None
        self.listener = make_core(core_settings(listener_core, datagram_size), first.destination_id)
        self.dialer_events, self.listener_events = Events(), Events()

    def run(self, rounds: int = 20) -> None:
        for _ in range(rounds):
            if self.flying:
                self.listener.receive([data for data, _ in self.flying], DIALER, self.now)
            self.listener.drain(self.listener_events)
            self.now += 0.002
            for core in (self.dialer, self.listener):
                timer = core.timer()
                if timer is not None and timer <= self.now:
                    core.handle_timer(self.now)
            if back := self.listener.transmit(self.now):
                self.dialer.receive([data for data, _ in back], LISTENER, self.now)
            self.dialer.drain(self.dialer_events)
            self.flying = self.dialer.transmit(self.now)


@pytest.mark.parametrize("datagram_size", [1200, 1452, 8900])
def test_handshake_exporter_and_data(cores: Cores, datagram_size: int) -> None:
    dialer, listener = cores
    link = Link(make_core(core_settings(dialer, datagram_size)), listener, datagram_size)
    link.run()
    assert link.dialer_events.alpn == link.listener_events.alpn == ALPN
    assert link.dialer.group == link.listener.group == GROUP
    one, other = link.dialer.export(b"label", b"context"), link.listener.export(b"label", b"context")
    assert one == other and len(one) == 32
    assert link.dialer.export(b"label", b"another") != one != link.dialer.export(b"lable", b"context")
    link.dialer.send(0, bytes(300_000))
    link.dialer.send(2, b"dialer")
    link.listener.send(3, b"listener" * 40_000)
    link.run(300)
    assert link.listener_events.data == {0: bytes(300_000), 2: b"dialer"}
    assert link.dialer_events.data == {3: b"listener" * 40_000}
    assert link.dialer.backlog(0) == 0 and link.dialer.rtt > 0


@pytest.mark.parametrize("dialer", CoreName)
def test_an_answer_takes_the_acknowledgement_along(dialer: CoreName) -> None:
    """With aioquic, which would send it later and alone; qh3 does as it likes."""
    link = Link(make_core(core_settings(dialer)), CoreName.AIOQUIC)
    link.run()
    for _ in range(3):
        link.dialer.send(0, b"question")
        ((question, _),) = link.dialer.transmit(link.now)
        link.listener.receive([question], DIALER, link.now)
        link.listener.send(0, b"answer")
        ((answer, _),) = link.listener.transmit(link.now)
        link.dialer.receive([answer], LISTENER, link.now)
        link.now += 0.002  # past the time for which an ACK is held back
        link.listener.handle_timer(link.now)
        assert link.listener.transmit(link.now) == []


def test_two_sessions_have_two_exporters(cores: Cores) -> None:
    exported = set()
    for _ in range(2):
        link = Link(make_core(core_settings(cores[0])), cores[1])
        link.run()
        exported.add(link.dialer.export(b"label", b""))
    assert len(exported) == 2


def test_close_codes_travel(cores: Cores) -> None:
    link = Link(make_core(core_settings(cores[0])), cores[1])
    link.run()
    link.listener.close(code_of(Reason.WRONG_GENESIS), "another chain")
    link.run(3)
    closed = link.dialer.closed
    assert closed is not None and closed.text == "another chain"
    assert reason_of(closed.code, closed.application) is Reason.WRONG_GENESIS


def test_close_codes_are_one_to_one() -> None:
    for reason in Reason:
        meant = reason_of(code_of(reason), application=True)
        assert meant is reason or meant in (Reason.PROTOCOL_VIOLATION, Reason.PEER_REFUSED)
        assert reason_of(code_of(reason), application=False) is Reason.CONNECTION_LOST
    assert reason_of(0, application=True) is Reason.CONNECTION_LOST


def test_a_retry_is_followed(cores: Cores) -> None:
    dialer = make_core(core_settings(cores[0]))
    dialer.connect(LISTENER, 0.0)
    first = read_first_packet(dialer.transmit(0.0)[0][0])
    assert first is not None
    dialer.receive([retry_packet(first, b"retry-id", b"token" * 9)], LISTENER, 0.01)
    again = read_first_packet(dialer.transmit(0.01)[0][0])
    assert again is not None
    assert (again.destination_id, again.token) == (b"retry-id", b"token" * 9)


class Plain:
    """A stock client of either library that has only X25519 to offer, or the stock choice."""

    def __init__(self, core: CoreName, groups: list[int], alpn: str = ALPN) -> None:
        settings: Any
        if core is CoreName.QH3:
            settings = Qh3Configuration(is_client=True, alpn_protocols=[alpn], verify_mode=ssl.CERT_NONE)
            quic: Any = qh3_connection.QuicConnection(configuration=settings)
            create = quic._create_tls

            def create_tls(*args: Any, **kwargs: Any) -> Any:
                bridge = create(*args, **kwargs)
                bridge.tls._supported_groups = groups
                return bridge

            quic._create_tls = create_tls
        else:
            settings = AioquicConfiguration(is_client=True, alpn_protocols=[alpn], verify_mode=ssl.CERT_NONE)
            quic = aioquic_connection.QuicConnection(configuration=settings)
            initialize = quic._initialize

            def initialize_tls(*args: Any) -> None:
                initialize(*args)
                quic.tls._supported_groups = groups

            quic._initialize = initialize_tls
        self.quic = quic

    def connect(self, address: Any, now: float) -> None:
        self.quic.connect(address, now)

    def transmit(self, now: float) -> Any:
        return self.quic.datagrams_to_send(now)

    def receive(self, datagrams: list[bytes], address: Any, now: float) -> None:
        for data in datagrams:
            self.quic.receive_datagram(data, address, now)

    def drain(self, events: Events) -> None:
        while (event := self.quic.next_event()) is not None:
            if type(event).__name__ == "HandshakeCompleted":
                events.alpn = event.alpn_protocol

    def timer(self) -> float | None:
        timer: float | None = self.quic.get_timer()
        return timer

    def handle_timer(self, now: float) -> None:
        self.quic.handle_timer(now)


@pytest.mark.parametrize("groups", [[0x001D], [0x001D, 0x0017]])
def test_a_peer_without_the_hybrid_is_refused(cores: Cores, groups: list[int]) -> None:
    link = Link(Plain(cores[0], groups), cores[1])
    link.run()
    assert link.dialer_events.alpn is None and link.listener_events.alpn is None
    assert link.listener.group == 0
    closed = link.listener.closed
    assert closed is not None and closed.code == 0x100 + 40  # handshake_failure


def test_a_peer_of_another_protocol_is_refused(cores: Cores) -> None:
    if cores[0] is CoreName.QH3:
        link = Link(Plain(CoreName.QH3, [GROUP], alpn="h3"), cores[1])
        link.run()
        assert link.listener_events.alpn is None and link.listener.closed is not None


def test_windows_stay_a_fixed_distance_above_what_was_delivered() -> None:
    link = Link(make_core(core_settings(CoreName.AIOQUIC)), CoreName.AIOQUIC)
    link.run()
    link.dialer.send(2, bytes(5 << 20))
    link.run(800)
    assert len(link.listener_events.data[2]) == 5 << 20
    quic: Any = link.listener.quic  # type: ignore[attr-defined]
    stream = quic._streams[2]
    assert stream.max_stream_data_local <= stream.receiver.starting_offset() + STREAM_WINDOW
    assert quic._local_max_data.value <= quic.delivered + CONNECTION_WINDOW


# ---- guards: when one of these fails, a library has moved what we lean on


def test_versions_are_the_ones_that_were_read() -> None:
    assert version("qh3") == "2.1.0"
    assert version("aioquic") == "1.7.2"


def test_qh3_hooks() -> None:
    connection = qh3_connection.QuicConnection
    assert list(inspect.signature(connection._create_tls).parameters) == ["self", "remote_source_cid"]
    source = inspect.getsource(connection)
    assert source.count("self._create_tls(") == source.count("_create_tls(remote_source_cid=None)")
    assert "_close_event" in inspect.getsource(connection.__init__)
    for name in ("received_authenticated_packet", "smoothed_rtt", "get_send_buffer_size"):
        assert hasattr(QuicConnectionCore, name)
    assert "self.tls.handshake_extensions = [" in inspect.getsource(tls_bridge.QuicTlsBridge.__init__)
    context = qh3_tls.Context(is_client=True)
    assert issubclass(Qh3Context, type(context))
    for name in ("_supported_groups", "_x25519_kyber_768_private_key", "key_schedule"):
        assert hasattr(context, name)
    assert int(qh3_tls.Group.X25519ML768) == GROUP
    assert list(inspect.signature(context._setup_traffic_protection).parameters) == ["direction", "epoch", "label"]


def test_aioquic_hooks() -> None:
    connection = aioquic_connection.QuicConnection
    assert list(inspect.signature(connection._initialize).parameters) == ["self", "peer_cid"]
    assert list(inspect.signature(connection._write_stream_limits).parameters) == ["self", "builder", "space", "stream"]
    assert list(inspect.signature(connection._write_connection_limits).parameters) == ["self", "builder", "space"]
    quic: Any = connection(configuration=AioquicConfiguration(is_client=True))
    for name in ("_close_event", "_local_max_data", "_streams", "_loss", "_spaces", "_state"):
        assert hasattr(quic, name)
    assert hasattr(quic._loss, "_rtt_initialized") and hasattr(quic._loss, "_rtt_smoothed")
    assert QuicPacketSpace().ack_at is None and "space.ack_at <= now" in inspect.getsource(connection)
    stream: Any = QuicStream(0)
    assert list(stream.sender._pending) == [] and stream.receiver.starting_offset() == 0
    assert hasattr(stream, "max_stream_data_local_sent") and hasattr(stream.receiver, "highest_offset")
    context = aioquic_tls.Context(is_client=True)
    assert issubclass(AioquicContext, type(context))
    assert context._ec_private_keys == [] and hasattr(context, "_supported_groups")


@pytest.mark.parametrize("name", ["_client_send_hello", "_client_handle_hello", "_server_handle_hello"])
def test_aioquic_methods_run_over_their_own_globals(name: str) -> None:
    """The library's own functions are untouched, and ours differ from them in their globals alone."""
    ours, theirs = getattr(AioquicContext, name), getattr(aioquic_tls.Context, name)
    assert ours.__code__ is theirs.__code__
    assert theirs.__globals__ is vars(aioquic_tls)
    assert GROUP not in aioquic_tls.GROUP_TO_CURVE
    changed = {key for key, value in ours.__globals__.items() if vars(aioquic_tls).get(key) is not value}
    assert changed == {"ec", "GROUP_TO_CURVE", "decode_public_key", "encode_public_key"}
