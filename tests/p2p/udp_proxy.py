"""A lossy, reordering road between two nodes: a UDP forwarder on ::1 that follows a seed."""

import random
import socket
from dataclasses import dataclass

import trio


@dataclass
class Road:
    """What happens to datagrams. May be changed while it runs.

    Attributes:
        loss: share of datagrams that vanish.
        shuffle: share that is held back for a few milliseconds, and so overtaken.
        cut: everything vanishes.
    """

    loss: float = 0.0
    shuffle: float = 0.0
    cut: bool = False
    seed: int = 1
    port: int = 0
    dropped: int = 0
    passed: int = 0

    async def run(self, target_port: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Forward between whoever sends to `port` and `target_port`."""
        dice = random.Random(self.seed)
        front = await _socket()
        self.port = front.getsockname()[1]
        backs: dict[tuple[str, int], trio.socket.SocketType] = {}
        async with trio.open_nursery() as nursery:

            async def forward(out: trio.socket.SocketType, data: bytes, to: tuple[str, int]) -> None:
                if self.cut or dice.random() < self.loss:
                    self.dropped += 1
                    return
                self.passed += 1
                if dice.random() < self.shuffle:
                    nursery.start_soon(later, out, data, to, dice.uniform(0.001, 0.01))
                else:
                    await out.sendto(data, to)

            async def later(out: trio.socket.SocketType, data: bytes, to: tuple[str, int], wait: float) -> None:
                await trio.sleep(wait)
                await out.sendto(data, to)

            async def back(own: trio.socket.SocketType, client: tuple[str, int]) -> None:
                while True:
                    data, _ = await own.recvfrom(65536)
                    await forward(front, data, client)

            task_status.started()
            while True:
                data, client = await front.recvfrom(65536)
                if client not in backs:
                    backs[client] = await _socket()
                    nursery.start_soon(back, backs[client], client)
                await forward(backs[client], data, ("::1", target_port))


async def _socket() -> trio.socket.SocketType:
    sock = trio.socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    await sock.bind(("::1", 0))
    return sock
