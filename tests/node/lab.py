"""Real nodes in one process: homes in a temporary folder, LevelDB, QUIC on ::1, a genesis that funds a few accounts."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from apps.token.messages import Transfer
from crypto.keys import SecretKey
from node.config import NodeConfig, make_config
from node.home import Home
from node.node import NodeKeys, RunningNode, open_node
from node.wallet import Account, ChainPoint, Signed, call, message
from p2p.address import peer_id_of
from state.genesis import Genesis, GenesisBalance, GenesisValidator, genesis_hash
from state.params import ChainParams, SecurityParams, Timing
from state.types import NATIVE, Address, Amount

QUICK = Timing(
    timeout_propose=600, timeout_prevote=300, timeout_precommit=300, timeout_delta=200, block_interval=50,
    precision=5000,
)
FUNDS = Amount(10**12)


@dataclass
class Lab:
    """Keys, genesis and homes of a small network. Ports are found when nodes start, and stay theirs."""

    folder: Path
    size: int = 4
    followers: int = 0
    wallets: int = 2
    timing: Timing = QUICK
    node_keys: list[SecretKey] = field(init=False)
    consensus_keys: list[SecretKey] = field(init=False)
    wallet_keys: list[SecretKey] = field(init=False)
    genesis: Genesis = field(init=False)
    ports: dict[int, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.node_keys = [SecretKey.generate() for _ in range(self.size + self.followers)]
        self.consensus_keys = [SecretKey.generate() for _ in range(self.size)]
        self.wallet_keys = [SecretKey.generate() for _ in range(self.wallets)]
        self.genesis = Genesis(
            version=1, name="lab", time=1_700_000_000_000, timing=self.timing, chain=ChainParams(),
            security=SecurityParams(),
            validators=tuple(
                GenesisValidator(key.public_key, 10, Address(key.address), f"v{index}")
                for index, key in enumerate(self.consensus_keys)
            ),
            balances=tuple(GenesisBalance(Address(key.address), "nxs", FUNDS) for key in self.wallet_keys),
        )

    def home(self, index: int) -> Home:
        home = Home(self.folder / f"node{index}")
        for folder in (home.keys, home.data):
            folder.mkdir(parents=True, exist_ok=True)
        return home

    def config(self, index: int, **settings: object) -> NodeConfig:
        peers = tuple(
            f"{peer_id_of(self.node_keys[other].public_key).hex()}@[::1]:{port}"
            for other, port in self.ports.items() if other != index
        )
        return make_config(
            moniker=f"node{index}", listen_port=self.ports.get(index, 0), persistent_peers=peers, datagram_size=8000,
            **settings,
        )

    @asynccontextmanager
    async def node(self, index: int, **settings: object) -> AsyncIterator[RunningNode]:
        consensus = self.consensus_keys[index] if index < self.size else None
        keys = NodeKeys(self.node_keys[index], consensus)
        async with open_node(self.home(index), self.config(index, **settings), self.genesis, keys) as running:
            self.ports[index] = running.network.port
            yield running

    @asynccontextmanager
    async def nodes(self, indexes: Sequence[int]) -> AsyncIterator[list[RunningNode]]:
        """Run several; each dials those before it."""
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.node(index)) for index in indexes]

    def account(self, index: int) -> Account:
        key = self.wallet_keys[index]
        return Account(Address(key.address), key.public_key)

    def point(self, node: RunningNode) -> ChainPoint:
        tip = node.core.chain.tip
        return ChainPoint(genesis_hash(self.genesis), tip.block_id, tip.height)

    def pay(
        self, node: RunningNode, sender: int, nonce: int, to: Address, amount: int, fee: int | None = None
    ) -> Signed:
        """Return a signed payment from one of the wallets."""
        pay = message("token/transfer", Transfer(NATIVE, to, Amount(amount)))
        account = replace(self.account(sender), registered=nonce > 0)
        return call(self.point(node), account, self.wallet_keys[sender], nonce, [pay], fee=fee)


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition, looking often; it fails loudly. The bound costs time only where something is wrong."""
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.02)
