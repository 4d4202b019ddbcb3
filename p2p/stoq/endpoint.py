"""One IPv6-only UDP socket with all the connections over it, listening and dialling.

Three tasks: the pump (datagrams in, answers out), the clock (timers) and the flusher (what the node sends and does not
call urgent). Each does only bounded work between two checkpoints, and none can be stopped by what arrives.

The clock is a task of its own so that the pump waits for the socket and nothing else: a deadline around each wait would
cost a tenth of a request. Its alarm is only ever moved to an earlier time: nearly every turn puts off a connection's
deadline, and the clock finds that out when it wakes.
"""

import errno
import math
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from crypto.errors import Reason, Refused
from p2p.config import Limits, Timing
from p2p.metrics import Counters
from p2p.prefix import prefix_group, prefix_of
from p2p.stoq.connection import Connection
from p2p.stoq.cores import CID_SIZE, Address, CoreSettings, make_core
from p2p.stoq.retry import FirstPacket, RetryTokens, read_first_packet, retry_packet

SOCKET_BUFFER: Final = 4 << 20
MAX_DATAGRAM: Final = 16_384
BATCH: Final = 128
"""Datagrams taken off the socket before anything is answered."""
BURST: Final = 0.0001
"""Seconds: what follows an urgent send so soon is gathered, and shares datagrams."""
GATHER: Final = 0.001
"""Seconds that an ACK waits for the node's answer: what both cores wait for one packet, here for a few. A shorter time
is none, since epoll counts milliseconds."""
MAX_SLACK: Final = 0.008
"""Seconds. While requests and answers follow each other and carry all ACKs along, the clock finds nothing to do. Each
time that it wakes for nothing it allows itself a little more delay, up to this; after a wake that had work, none."""
MANY: Final = 8
"""Datagrams of one turn that are acknowledged at once."""
MIN_FIRST_DATAGRAM: Final = 1200
"""RFC 9000, section 14.1."""
UNDISTURBED: Final = 1.0
"""Seconds that a handshake has in any case; longer only while nobody from a prefix with fewer of them wants its place.
Three round trips and a signature are enough for one."""


class Endpoint:
    """The socket and its connections.

    Args:
        sock: a bound UDP socket, see `bind`.
        settings: what every connection shares.
        limits: how much strangers may take.
        timing: keep-alive.
        counters: where to count.
    """

    def __init__(
        self, sock: socket.socket, settings: CoreSettings, limits: Limits, timing: Timing, counters: Counters
    ) -> None:
        self.port = int(sock.getsockname()[1])
        self._socket = sock
        self._settings = settings
        self._limits = limits
        self._keep_alive = timing.keep_alive
        self._counters = counters
        self._tokens = RetryTokens()
        self._routes: dict[bytes, Connection] = {}
        self._connections: set[Connection] = set()
        self._pending: dict[Connection, tuple[str, float]] = {}
        """Handshakes in progress, the oldest first: their prefix, and since when."""
        self._pending_prefixes: Counter[str] = Counter()
        self._dirty: set[Connection] = set()
        """Have something to send at the end of this scheduler pass."""
        self._lot = trio.lowlevel.ParkingLot()
        self._pumping = False
        self._alarm = math.inf
        """When the clock wakes: no more than `_slack` after the earliest deadline of a connection."""
        self._slack = 0.0
        self._sleep = trio.CancelScope()

    # ---- for the mesh

    def connect(self, address: Address) -> Connection:
        """Start a connection; wait for its `handshaken`."""
        now = trio.current_time()
        core = make_core(self._settings)
        connection = Connection(core, address, self, self._limits, now)
        core.connect(address, now)
        self._add(connection, core.host_id)
        self.wake(connection)
        return connection

    def settle(self, connection: Connection) -> None:
        """An inbound handshake is over, well or not."""
        if connection in self._pending:
            prefix, _ = self._pending.pop(connection)
            self._pending_prefixes[prefix] -= 1
            if not self._pending_prefixes[prefix]:
                del self._pending_prefixes[prefix]

    async def run(self, accept: Callable[[Connection], Awaitable[None]]) -> None:
        """Move datagrams until cancelled; then close every connection and the socket.

        Args:
            accept: started as a task for every inbound connection; its end settles the handshake.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._flusher)
                nursery.start_soon(self._clock)
                while True:
                    await trio.lowlevel.wait_readable(self._socket)
                    for connection in self._pump():
                        nursery.start_soon(self._accepted, accept, connection)
        finally:
            for connection in list(self._connections):
                connection.fail(Reason.CLOSING, "the node shuts down")
                self._flush(connection, trio.current_time())
            self._socket.close()

    # ---- Carrier

    def wake(self, connection: Connection, urgent: bool = False) -> None:
        """See Carrier."""
        if urgent and not self._pumping:
            now = trio.current_time()
            if now - connection.last_sent > BURST:
                self._flush(connection, now)
                return
        self._dirty.add(connection)
        if not self._pumping:
            self._lot.unpark()

    def route(self, connection_id: bytes, connection: Connection, retired: bool) -> None:
        """See Carrier."""
        if retired:
            connection.ids.discard(connection_id)
            self._routes.pop(connection_id, None)
        else:
            connection.ids.add(connection_id)
            self._routes[connection_id] = connection

    # ---- the tasks

    async def _accepted(self, accept: Callable[[Connection], Awaitable[None]], connection: Connection) -> None:
        try:
            await accept(connection)
        finally:
            self.settle(connection)

    async def _flusher(self) -> None:
        while True:
            while not self._dirty:
                await self._lot.park()
            self._flush_all(trio.current_time())
            await trio.lowlevel.checkpoint()

    async def _clock(self) -> None:
        while True:
            earliest = min((connection.deadline for connection in self._connections), default=math.inf)
            self._alarm = earliest + self._slack
            with trio.CancelScope(deadline=self._alarm) as self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            due = [connection for connection in self._connections if connection.deadline <= now]
            self._slack = 0.0 if due else min(2 * self._slack + GATHER, MAX_SLACK)
            self._pumping = True
            try:
                for connection in due:
                    self._tick(connection, now)
                    self._dirty.add(connection)
                self._flush_all(now)
            finally:
                self._pumping = False

    def _pump(self) -> list[Connection]:
        """One turn: receive and answer. Return the newcomers."""
        now = trio.current_time()
        self._pumping = True
        try:
            newcomers, batches = self._receive(now)
            for (connection, address), datagrams in batches.items():
                if not self._digest(connection, address, datagrams, now):
                    continue
                if len(datagrams) < MANY and connection.established and not connection.waiting:
                    # At most an ACK is to be sent: it waits a moment for data that takes it along.
                    self._wake_at(connection, min(connection.deadline, now + GATHER))
                else:
                    self._dirty.add(connection)
            self._flush_all(now)
        finally:
            self._pumping = False
        return [connection for connection in newcomers if connection in self._connections]

    def _flush_all(self, now: float) -> None:
        dirty, self._dirty = self._dirty, set()
        for connection in dirty:
            self._flush(connection, now)

    def _wake_at(self, connection: Connection, deadline: float) -> None:
        connection.deadline = deadline
        if deadline + self._slack < self._alarm:
            self._sleep.deadline = self._alarm = deadline + self._slack

    def _receive(self, now: float) -> tuple[list[Connection], dict[tuple[Connection, Address], list[bytes]]]:
        newcomers: list[Connection] = []
        batches: dict[tuple[Connection, Address], list[bytes]] = {}
        counters = self._counters
        for _ in range(BATCH):
            try:
                data, address = self._socket.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                break
            except OSError:  # an ICMP error of an earlier datagram: QUIC's timers deal with it
                continue
            counters.datagrams_received += 1
            counters.bytes_received += len(data)
            connection = self._routes.get(data[1 : 1 + CID_SIZE] if not data[:1] > b"\x7f" else data[6 : 6 + CID_SIZE])
            if connection is None:
                connection = self._welcome(data, address, now)
                if connection is None:
                    continue
                newcomers.append(connection)
            connection.bytes_received += len(data)
            batches.setdefault((connection, address), []).append(data)
        return newcomers, batches

    def _digest(self, connection: Connection, address: Address, datagrams: list[bytes], now: float) -> bool:
        """Give datagrams to their connection. False if it turned out to be nothing and was forgotten."""
        try:
            connection.core.receive(datagrams, address, now)
        except Exception as error:  # nothing that arrives may stop the pump
            self._counters.dropped_datagrams += len(datagrams)
            connection.fail(Reason.PROTOCOL_VIOLATION, f"{type(error).__name__}: {error}")
        if not connection.established and not connection.core.genuine:
            self._counters.dropped_datagrams += len(datagrams)
            self._forget(connection)
            return False
        connection.process()
        return True

    def _tick(self, connection: Connection, now: float) -> None:
        try:
            timer = connection.core.timer()
            if timer is not None and timer <= now:
                connection.core.handle_timer(now)
            elif connection.established and connection.last_sent + self._keep_alive <= now:
                connection.last_sent = now
                connection.core.ping()
        except Exception as error:
            connection.fail(Reason.CONNECTION_LOST, f"{type(error).__name__}: {error}")
        connection.process()

    def _flush(self, connection: Connection, now: float) -> None:
        if connection not in self._connections:
            return
        self._dirty.discard(connection)
        try:
            starved = True
            while starved:
                starved = connection.fill()
                datagrams = connection.core.transmit(now)
                if not datagrams:
                    break
                connection.last_sent = now
                self._send(connection, datagrams)
            self._schedule(connection)
        except Exception as error:
            connection.fail(Reason.CONNECTION_LOST, f"{type(error).__name__}: {error}")
            self._forget(connection)

    def _send(self, connection: Connection, datagrams: list[tuple[bytes, Address]]) -> None:
        size = 0
        for data, address in datagrams:
            try:
                self._socket.sendto(data, address)
            except OSError:  # no buffer, or no route: to QUIC it is a loss
                self._counters.dropped_datagrams += 1
            size += len(data)
        connection.bytes_sent += size
        self._counters.bytes_sent += size
        self._counters.datagrams_sent += len(datagrams)

    def _schedule(self, connection: Connection) -> None:
        if connection.core.terminated:
            self._forget(connection)
            return
        timer = connection.core.timer()
        if connection.established:
            keep_alive = connection.last_sent + self._keep_alive
            self._wake_at(connection, keep_alive if timer is None or keep_alive < timer else timer)
        elif timer is not None:
            self._wake_at(connection, timer)
        elif connection.gone.is_set():
            self._forget(connection)
        else:
            connection.deadline = math.inf

    # ---- newcomers

    def _welcome(self, data: bytes, address: Address, now: float) -> Connection | None:
        """Make a connection for a stranger's first packet, or ask for its address first, or drop it."""
        first = read_first_packet(data) if len(data) >= MIN_FIRST_DATAGRAM else None
        if first is None:
            self._counters.dropped_datagrams += 1
            return None
        prefix = prefix_group(address[0], self._limits.loopback_exempt, address[1])
        exempt = prefix != prefix_of(address[0])
        if not exempt and self._pending_prefixes[prefix] >= self._limits.per_prefix:
            self._turn_away()
            return None
        original_id: bytes | None = first.destination_id
        retry_id: bytes | None = None
        if first.token:
            retry_id = first.destination_id
            original_id = self._tokens.check(first.token, address, retry_id, now)
        full = len(self._pending) >= self._limits.pending
        if original_id is None or (not first.token and (full or len(self._pending) > self._limits.retry_above)):
            self._ask_again(first, address, now)
            return None
        if full and not self._make_room(prefix, now):
            self._turn_away()
            return None
        core = make_core(self._settings, original_id, retry_id)
        connection = Connection(core, address, self, self._limits, now)
        self._add(connection, first.destination_id[:CID_SIZE], core.host_id)
        self._pending[connection] = (prefix, now)
        self._pending_prefixes[prefix] += 1
        return connection

    def _turn_away(self) -> None:
        self._counters.dropped_datagrams += 1
        self._counters.refusals[Reason.TOO_MANY_CONNECTIONS] += 1

    def _make_room(self, prefix: str, now: float) -> bool:
        """Give up the oldest handshake of the prefix that has most of them, for one that has fewer.

        Who holds handshakes open from a few prefixes thus keeps nobody else out; the newcomer has proven its address.
        """
        fullest, most = self._pending_prefixes.most_common(1)[0]
        oldest, since = next((one, since) for one, (whose, since) in self._pending.items() if whose == fullest)
        if self._pending_prefixes[prefix] >= most or now - since < UNDISTURBED:
            return False
        self.settle(oldest)
        oldest.fail(Reason.TOO_MANY_CONNECTIONS, "it took long, and others wait for its place")
        return True

    def _ask_again(self, first: FirstPacket, address: Address, now: float) -> None:
        retry_id = os.urandom(CID_SIZE)
        token = self._tokens.make(address, first.destination_id, retry_id, now)
        self._counters.retries += 1
        try:
            self._socket.sendto(retry_packet(first, retry_id, token), address)
        except OSError:
            self._counters.dropped_datagrams += 1

    def _add(self, connection: Connection, *ids: bytes) -> None:
        self._connections.add(connection)
        for connection_id in ids:
            self.route(connection_id, connection, retired=False)

    def _forget(self, connection: Connection) -> None:
        for connection_id in list(connection.ids):
            self.route(connection_id, connection, retired=True)
        self._connections.discard(connection)
        self._dirty.discard(connection)
        connection.deadline = math.inf
        if not connection.gone.is_set():
            connection.lose("no packet of it could be read")
        connection.core.release()


def bind(host: str, port: int) -> socket.socket:
    """Return an IPv6-only UDP socket; port 0 takes a free one.

    Raises:
        Refused: PORT_IN_USE; BAD_CONFIG if the address is not of this machine.
    """
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
        sock.setblocking(False)
        sock.bind(resolve(host, port))
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise Refused(Reason.PORT_IN_USE, f"another program listens on UDP port {port}") from None
        raise Refused(Reason.BAD_CONFIG, f"cannot listen on [{host}]:{port}: {error.strerror}") from None
    except Refused:
        sock.close()
        raise
    return sock


def resolve(host: str, port: int) -> Address:
    """Return the socket address of a numeric IPv6 host (a scope id is allowed).

    Raises:
        Refused: BAD_CONFIG if it is none.
    """
    try:
        found = socket.getaddrinfo(
            host, port, socket.AF_INET6, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        )
    except OSError:
        raise Refused(Reason.BAD_CONFIG, f"{host} is no IPv6 address") from None
    address: Any = found[0][4]
    return (str(address[0]), int(address[1]), int(address[2]), int(address[3]))
