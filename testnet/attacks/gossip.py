"""Runs gossip attack scenarios: `python -m testnet.attacks.gossip FILE...`, or `nexus testnet attack gossip`.

Honest nodes run libp2p's own GossipSub and our scorer, put together by `p2p.gossip.host.make_pubsub` as in a node;
attackers are `testnet.attacks.sybil`. Everything is in one process, in memory, on trio's clock that jumps: CPU time
costs no simulated time. Keys, links, latencies, publishers and libp2p's own choices follow the seed; two runs agree to
the byte where the process has a fixed PYTHONHASHSEED, which the command sets.

What is the same on every node (whether a signature of these bytes holds) is computed once and remembered, which changes
nothing but the time that a run takes.
"""

import argparse
import functools
import logging
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import libp2p.pubsub.gossipsub as gossipsub_module
import libp2p.pubsub.pubsub as pubsub_module
import libp2p.pubsub.utils as utils_module
import libp2p.tools.timed_cache.last_seen_cache as seen_module
import msgspec
import trio
import trio.testing
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.tools.anyio_service import background_trio_service

from crypto.errors import Refused
from p2p.gossip import host as host_module
from p2p.gossip.host import CountingQueue, Drops, ScoredPubsub, make_pubsub
from testnet.attacks.scenario import ATTACKERS, HONEST, RUN, Scenario, load_scenario
from testnet.attacks.sybil import Sybil
from testnet.attacks.wires import Internet, MemoryHost
from testnet.measure import percentile

TOPIC: Final = "nexus/attacked"
COOL: Final = 10.0
"""Seconds after the last message until the count."""
EPOCH: Final = 1_700_000_000.0
"""What the wall clock of the simulation begins with."""
MIN_DELIVERED: Final = 0.99
MAX_P99: Final = 6.0
"""Seconds."""
_NUMBER: Final = 8


class Verdict(msgspec.Struct, frozen=True):
    """What a run showed. Shares, and seconds of simulated time; `wall` is real seconds.

    Attributes:
        delivered: of (message, other honest node) pairs.
        worst_node: share that the node got that got least.
        of_first: share in which the first publisher's messages arrived: the one who is censored or eclipsed.
        to_first: share of the others' messages that it got.
        held: attackers' share of the places in honest nodes' meshes in the end.
        refused: connections of attackers that the mesh's limits refused.
    """

    name: str
    scale: tuple[str, ...]
    messages: int
    delivered: float
    p50: float
    p99: float
    worst_node: float
    of_first: float
    to_first: float
    held: float
    refused: int
    dropped: int
    wall: float

    @property
    def held_up(self) -> bool:
        """Whether honest nodes got what they had to get, in time."""
        return self.delivered >= MIN_DELIVERED and self.p99 < MAX_P99


class Honest:
    """An honest node: its pubsub, and when it got which message."""

    def __init__(self, host: MemoryHost) -> None:
        self.host = host
        router, pubsub = make_pubsub(host, {TOPIC: lambda message: len(message) > _NUMBER})
        self.router: GossipSub = router
        self.pubsub: ScoredPubsub = pubsub
        self.heard: dict[int, float] = {}

    async def listen(self) -> None:
        """Note what comes."""
        subscription = await self.pubsub.subscribe(TOPIC)
        while True:
            message = await subscription.get()
            self.heard.setdefault(int.from_bytes(message.data[:_NUMBER], "big"), trio.current_time())


class Arena:
    """One run of one scenario."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.rng = random.Random(seed)
        self.sent: list[tuple[int, float]] = []
        """Publisher and time of each message."""
        self.meshes: list[frozenset[ID]] = []
        """Of each honest node in the end."""

    async def run(self) -> tuple[list[Honest], list[Sybil], Internet]:
        """Play it and return who took part."""
        scenario = self.scenario
        async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
            internet = Internet(scenario.latency, scenario.jitter, self.rng, nursery)
            honest = [Honest(MemoryHost(internet, f"2001:db8:0:{n + 1:x}::1")) for n in range(scenario.honest)]
            for node in honest:
                for service in (node.pubsub, node.router):
                    await stack.enter_async_context(background_trio_service(service))
                await node.pubsub.wait_until_ready()
                nursery.start_soon(node.listen)
            await trio.sleep(0)
            first = honest[0].host.name
            sybils = [self._sybil(internet, index, first, nursery) for index in range(scenario.attackers)]
            for at, sybil in zip(scenario.connect_at, sybils, strict=True):
                nursery.start_soon(self._later, at, sybil.attack, internet, self._targets(honest))
            nursery.start_soon(self._meet, internet, honest)
            await trio.sleep(scenario.warm)
            await self._publish(honest)
            await trio.sleep(COOL)
            self.meshes = [frozenset(node.router.mesh.get(TOPIC, ())) for node in honest]
            nursery.cancel_scope.cancel()
        return honest, sybils, internet

    def _sybil(self, internet: Internet, index: int, first: ID, nursery: trio.Nursery) -> Sybil:
        prefix, host = divmod(index, self.scenario.per_prefix)
        address = f"2001:db8:bad:{prefix + 1:x}::{host + 1:x}"
        return Sybil(MemoryHost(internet, address), TOPIC, self.scenario.behaviour, first, nursery)

    def _targets(self, honest: list[Honest]) -> list[MemoryHost]:
        """Return whom an attacker dials."""
        scenario = self.scenario
        if scenario.behaviour.one_victim:
            return [honest[0].host]
        pool = honest[: scenario.publishers] if scenario.behaviour.publishers_only else honest
        return [node.host for node in self.rng.sample(pool, min(scenario.attack_dials, len(pool)))]

    async def _meet(self, internet: Internet, honest: list[Honest]) -> None:
        """Let honest nodes dial each other within the first second, everybody after the attackers that come at once."""
        scenario = self.scenario
        crowd = honest[1:] if scenario.behaviour.one_victim else honest
        dials = [
            (self.rng.random(), node.host, other.host)
            for node in crowd
            for other in self.rng.sample([one for one in crowd if one is not node], scenario.honest_dials)
        ]
        if scenario.behaviour.one_victim:
            friends = self.rng.sample(crowd, min(scenario.victim_links, len(crowd)))
            dials += [(self.rng.random(), honest[0].host, friend.host) for friend in friends]
        for at, dialer, listener in sorted(dials, key=lambda dial: dial[0]):
            await trio.sleep_until(at)
            await internet.connect(dialer, listener)

    @staticmethod
    async def _later(at: float, act: Callable[..., Awaitable[None]], *arguments: object) -> None:
        await trio.sleep_until(at)
        await act(*arguments)

    async def _publish(self, honest: list[Honest]) -> None:
        """Publish a message a second, in turn by each publisher."""
        begun = trio.current_time()
        for number in range(round(RUN)):
            await trio.sleep_until(begun + number)
            who = number % self.scenario.publishers
            self.sent.append((who, trio.current_time()))
            body = number.to_bytes(_NUMBER, "big") + self.rng.randbytes(self.scenario.message_size - _NUMBER)
            await honest[who].pubsub.publish(TOPIC, body)
        await trio.sleep_until(begun + RUN)


def play(scenario: Scenario, seed: int = 1) -> Verdict:
    """Run a scenario from its beginning to its verdict, on a clock that jumps."""
    begun = time.monotonic()
    arena = Arena(scenario, seed)
    drops = CountingQueue.drops = Drops()
    with _deterministic(seed), _simulated():
        honest, sybils, internet = trio.run(arena.run, clock=trio.testing.MockClock(autojump_threshold=0))
    attackers = {sybil.host.name for sybil in sybils}
    return _verdict(arena, honest, attackers, internet.refused, drops, time.monotonic() - begun)


def _verdict(
    arena: Arena, honest: list[Honest], attackers: set[ID], refused: int, drops: Drops, wall: float
) -> Verdict:
    delays: list[float] = []
    got = [0] * len(honest)
    of_first = to_first = 0
    for number, (publisher, at) in enumerate(arena.sent):
        for index, node in enumerate(honest):
            if index != publisher and number in node.heard:
                delays.append(node.heard[number] - at)
                got[index] += 1
                of_first += publisher == 0
                to_first += index == 0
    due = [sum(publisher != index for publisher, _ in arena.sent) for index in range(len(honest))]
    by_first = len(arena.sent) - due[0]
    places = sum(map(len, arena.meshes))
    return Verdict(
        arena.scenario.name, arena.scenario.scale, len(arena.sent), sum(got) / sum(due), percentile(delays, 0.5),
        percentile(delays, 0.99), min(one / all_ for one, all_ in zip(got, due, strict=True)),
        of_first / (by_first * (len(honest) - 1)), to_first / due[0],
        sum(len(mesh & attackers) for mesh in arena.meshes) / max(places, 1), refused, drops.by_cause.total(), wall,
    )


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """Let libp2p's choices and trio's order of tasks follow the seed."""
    runner: Any = trio._core._run
    before = runner._ALLOW_DETERMINISTIC_SCHEDULING, runner._r, random.getstate()
    runner._ALLOW_DETERMINISTIC_SCHEDULING, runner._r = True, random.Random(seed)
    random.seed(seed)
    try:
        yield
    finally:
        runner._ALLOW_DETERMINISTIC_SCHEDULING, runner._r = before[:2]
        random.setstate(before[2])


@contextmanager
def _simulated() -> Iterator[None]:
    """Let libp2p's pubsub read trio's clock as wall clock, and remember verdicts on signatures."""
    clock = SimpleNamespace(time=lambda: EPOCH + trio.current_time())
    changes: list[tuple[Any, str, Any]] = [
        *((module, "time", clock) for module in (gossipsub_module, pubsub_module, seen_module)),
        (host_module, "time", SimpleNamespace(time=lambda: EPOCH)),
        (pubsub_module, "RpcQueue", CountingQueue),
        (utils_module, "consume_envelope", functools.lru_cache(4096)(vars(utils_module)["consume_envelope"])),
        (pubsub_module, "signature_validator", _remembered(vars(pubsub_module)["signature_validator"])),
    ]
    before = [(module, name, vars(module)[name]) for module, name, _ in changes]
    for module, name, value in changes:
        vars(module)[name] = value
    try:
        yield
    finally:
        for module, name, value in before:
            vars(module)[name] = value


def _remembered(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    verdicts: dict[bytes, bool] = {}

    def look(message: Any) -> bool:
        key = message.SerializeToString()
        if key not in verdicts:
            verdicts[key] = check(message)
        return verdicts[key]

    return look


def main() -> int:
    """Play each file; print a line of JSON for each. Return 1 if one did not hold up, 2 if one cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m testnet.attacks.gossip", description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--honest", type=int, default=HONEST)
    parser.add_argument("--attackers", type=int, default=ATTACKERS)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    code = 0
    for path in options.files:
        try:
            verdict = play(load_scenario(path, options.honest, options.attackers), options.seed)
        except Refused as refused:
            sys.stderr.write(f"{refused}\n")
            return 2
        sys.stdout.write(msgspec.json.encode(verdict).decode() + "\n")
        sys.stdout.flush()
        code = code if verdict.held_up else 1
    return code


if __name__ == "__main__":
    sys.exit(main())
