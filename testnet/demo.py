"""`make demo`: a network of four validators, shown scene by scene. SCENE=name shows one.

Everything is done as a user would: through the client, the wallet and the command line, against real processes. The
exit code is 0 if every step went as it should, else 1.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from apps.token.messages import Transfer
from crypto.errors import Refused
from crypto.keys import KeyTree, new_phrase
from node.api.methods import GetStatus
from node.api.stream import BlockEvent, Subscribe, TransactionEvent
from node.api.text import Decimal
from node.client import AsyncClient
from node.keystore import Keystore
from node.wallet import message
from state.types import NATIVE
from testnet.anonymity import anonymous
from testnet.arrival import join
from testnet.create import WALLET_PASSWORD, create_network
from testnet.escrow import contract
from testnet.network import LocalNetwork
from testnet.outage import crash
from testnet.privacy import private
from testnet.purse import Purse
from testnet.refusals import leaves
from testnet.scenes import SCENES, Company, Scene, nxs, shown
from testnet.stage import Stage, StepFailed
from testnet.treason import betray
from testnet.verified import light
from testnet.view import as_table, look, make_console

VALIDATORS: Final = 4
GIFT: Final = 1000
"""NXS that each new wallet gets."""
ALL_SCENES: Final[dict[str, tuple[str, Scene]]] = {
    **SCENES,
    "private": ("A payment whose amount only the parties can read", private),
    "anonymous": ("A payment of which nobody sees who paid whom", anonymous),
    "contract": ("An escrow over a hidden amount", contract),
    "crash": ("A power cut at one validator", crash),
    "light": ("A light client that trusts no node", light),
    "join": ("A fifth node joins by a snapshot", join),
    "liar": ("A validator that says two things", betray),
}


class Witness:
    """Follows every event of one node from block 1 on and checks that none is missing or out of order."""

    def __init__(self) -> None:
        self.height = 0
        self.seen = 0
        self.transactions = 0
        self.faults: list[str] = []
        self._index = 0
        self._left = 0

    def hear(self, event: BlockEvent | TransactionEvent) -> None:
        """Take one event: heights rise by one, and each block is followed by all of its transactions in order."""
        self.seen += 1
        place = (int(event.height), event.index)
        if isinstance(event, BlockEvent):
            expected = (self.height + 1, 0)
            if self._left:
                self.faults.append(f"block {self.height} lacks {self._left} transactions")
            self.height, self._left = place[0], event.transactions
        else:
            expected = (self.height, self._index + 1)
            self._left -= 1
            self.transactions += 1
        if place != expected:
            self.faults.append(f"event {place}, expected {expected}")
        self._index = event.index


async def follow(client: AsyncClient, witness: Witness, task_status: trio.TaskStatus[None]) -> None:
    """Feed the witness from block 1 on."""
    async with client.events(Subscribe(id="demo", topic="all", from_height=Decimal(1))) as events:
        task_status.started()
        async for event in events:
            witness.hear(event)


@asynccontextmanager
async def raised_network(stage: Stage, root: Path) -> AsyncGenerator[LocalNetwork, None]:
    """Make and start the network; stop it at the end, whatever happens."""
    stage.scene("network", "A network of four validators")
    await trio.to_thread.run_sync(create_network, root, VALIDATORS)
    stage.done(f"keys, homes and one genesis for {VALIDATORS} validators", "random keys, ports on ::1")
    network = LocalNetwork(root)
    try:
        await trio.to_thread.run_sync(network.start_all)
        await trio.to_thread.run_sync(
            network.wait_until, lambda: all(row.state == "running" and row.peers for row in look(network)), "the start"
        )
        rows = look(network)
        stage.done("four processes, connected over QUIC with X25519MLKEM768", "each with all others")
        stage.console.print(as_table(rows))
        yield network
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(network.stop_all)


async def open_wallets(stage: Stage, network: LocalNetwork, clients: tuple[AsyncClient, ...]) -> Company:
    """Make two wallets from words and fund them."""
    stage.scene("wallets", "Two wallets")
    purses = []
    opened = Keystore(network.root / "wallets" / "keys").open("faucet", WALLET_PASSWORD)
    faucet = Purse("faucet", opened.key, clients[0])
    for name, client in zip(("alice", "bob"), clients, strict=False):
        phrase = new_phrase()
        purse = Purse(name, KeyTree.from_phrase(phrase).account(), client)
        stage.done(f"{name} writes down 24 words", f"{' '.join(phrase.split()[:3])} ... give {purse.text[:20]}...")
        purses.append(purse)
    receipt = await faucet.call(
        *(message("token/transfer", Transfer(NATIVE, purse.address, nxs(GIFT))) for purse in purses)
    )
    stage.check(
        [await purse.balance() for purse in purses] == [nxs(GIFT)] * 2, f"the faucet gives each {shown(nxs(GIFT))}",
        f"block {receipt.height}",
    )
    return Company(network, clients, purses[0], purses[1])


async def play(stage: Stage, root: Path, names: list[str]) -> None:
    """Raise the network, show the scenes, and check the witness's events."""
    witness = Witness()
    async with raised_network(stage, root) as network, AsyncExitStack() as stack, trio.open_nursery() as nursery:
        clients = tuple([await stack.enter_async_context(AsyncClient(member.url)) for member in network.members])
        await nursery.start(follow, clients[0], witness)
        company = await open_wallets(stage, network, clients)
        for name in names:
            title, scene = ALL_SCENES[name]
            stage.scene(name, title)
            await perform(scene, stage, company)
        stage.scene("end", "The end")
        await review(stage, company, witness)
        nursery.cancel_scope.cancel()


async def perform(scene: Scene, stage: Stage, company: Company) -> None:
    """Play one scene; what goes wrong in it is noted, and the next one follows."""
    try:
        await scene(stage, company)
    except* StepFailed:
        pass  # noted already, with what was expected
    except* Refused as group:
        for refused in leaves(group):
            stage.broken(refused)


async def review(stage: Stage, company: Company, witness: Witness) -> None:
    """Check that a listener saw everything, in order, and that all nodes stand at one place."""
    status = await company.clients[0].ask(GetStatus())
    with trio.move_on_after(5.0):
        while witness.seen == 0 or witness.height < int(status.height):
            await trio.sleep(0.05)
    told = f"{witness.height} blocks, {witness.transactions} transactions"
    good = not witness.faults and witness.height >= int(status.height)
    stage.check(good, "a websocket client saw every event in order", next(iter(witness.faults), told))
    stage.console.print(as_table(look(company.network)))


def main() -> int:
    """Show the demo; return the exit code."""
    console = make_console()
    wanted = os.environ.get("SCENE", "")
    if wanted and wanted not in ALL_SCENES:
        console.print(f"there is no scene {wanted!r}; there are {', '.join(ALL_SCENES)}")
        return 2
    stage, begun = Stage(console), time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="nexus-demo-"))
    try:
        trio.run(play, stage, root / "net", [wanted] if wanted else list(ALL_SCENES))
    except* StepFailed:
        pass  # noted already
    except* Refused as group:
        for refused in leaves(group):
            stage.broken(refused)
    finally:
        console.print()
        console.print(stage.score())
        if stage.failed:
            console.print(f"the nodes' logs are in {root}")
        else:
            shutil.rmtree(root, ignore_errors=True)
    verdict = "[bold red]not everything" if stage.failed else "[bold green]everything"
    console.print(f"{verdict} went as it should[/] [dim]({time.monotonic() - begun:.0f} s)[/]")
    return 1 if stage.failed else 0


if __name__ == "__main__":
    sys.exit(main())
