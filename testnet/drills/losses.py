"""A node, a region, a quorum: what is lost comes back, and nothing is signed twice."""

from pathlib import Path
from typing import Final

import trio

from crypto.errors import Reason
from node.api.methods import GetBlock, GetStatus
from node.client import AsyncClient
from node.sign_export import read_state
from testnet.drills.ground import STANDSTILL, in_thread, keep, lose, new_ground, nexus, put_back
from testnet.stage import Stage

VALIDATORS: Final = 4
REGIONAL: Final = 7
"""Validators of the drill with regions: two of them are less than a third."""
REGION: Final = 2
KEPT: Final = ("config.toml", "genesis.json", "keys/consensus_key.json", "keys/node_key.json")
"""What an operator keeps a copy of elsewhere."""
ABSENCE: Final = 5.0
"""Seconds that a region stays away."""


async def node(stage: Stage, root: Path) -> None:
    """One validator loses its disk: a new machine joins by a snapshot, and takes over with the exported state."""
    async with new_ground(stage, root / "net", VALIDATORS) as ground:
        lost, others = ground.members[-1], ground.members[:-1]
        aside, state = root / "aside", root / "state.bin"
        keep(ground.home(lost), aside, *KEPT)
        stage.done("settings, genesis and keys are kept elsewhere", f"{len(KEPT)} files of {lost.name}")
        made = await nexus(ground.home(others[0]).root, "snapshots", "create")
        stage.done(f"{others[0].name} makes a snapshot while it runs", f"height {made['height']}")
        await in_thread(ground.network.stop, lost.name)
        shown = await nexus(ground.home(lost).root, "validator", "sign-state", "export", str(state))
        stage.done("the disk fails: it is stopped, its last-sign state exported", f"signed to height {shown['height']}")
        before = read_state(ground.home(lost))
        lose(ground.home(lost).root)
        await ground.pay(others[0])
        stage.done(f"all of {lost.name} is gone", "the three others go on: payments are final")
        home = ground.home(lost)
        await nexus(
            home.root, "init", lost.name, "--genesis", str(aside / "genesis.json"), "--key-cost", "quick"
        )
        put_back(aside, home, "config.toml", "keys/consensus_key.json", "keys/node_key.json")
        stage.done("a new home: nexus init --genesis, then settings and keys put back", str(home.root.name))
        await stage.refused(
            "started without the state, it does not sign", Reason.BAD_SIGN_STATE, nexus(home.root, "start")
        )
        trust = ("--trust-height", str(made["trust_height"]), "--trust-hash", made["trust_hash"])
        await ground.start(lost, options=("--standby", "--sign-state", str(state), *trust))
        async with AsyncClient(lost.url) as client:
            reached = int((await client.ask(GetStatus())).height)
            await stage.refused(
                "it has no old blocks: it came by the snapshot", Reason.NOT_AVAILABLE, client.ask(GetBlock(height="1"))
            )
        stage.check(reached >= made["height"], "nexus start --standby --sign-state --trust-hash", f"height {reached}")
        await ground.kill(others[0])
        await ground.pay(lost)
        stage.done(f"with {others[0].name} down, no block comes without {lost.name}", "payments are final: it votes")
        stage.check(read_state(home).place > before.place, "its state goes on where the old one ended",
                    f"height {read_state(home).height}, was {before.height}")
        await ground.start(others[0])
        stage.check(not await ground.lacking(others[0]), "no final payment is lost", f"{len(ground.committed)} found")
        await ground.check_votes()


async def region(stage: Stage, root: Path, size: int = REGIONAL, away: int = REGION) -> None:
    """Less than a third of the validators are away: the others go on; they return and catch up."""
    async with new_ground(stage, root / "net", size) as ground:
        gone, stayed = ground.members[-away:], ground.members[:-away]
        await ground.kill(*gone)
        names = " and ".join(member.name for member in gone)
        stage.done(f"a region is cut off: {names}", f"{away} of {size}, less than a third of the power")
        before = await ground.height(stayed[0])
        await ground.pay(stayed[0])
        await trio.sleep(ABSENCE)
        await ground.pay(stayed[-1])
        after = await ground.height(stayed[0])
        stage.check(after > before, "the others go on", f"from height {before} to {after}")
        await ground.start(*gone)
        await ground.reach(after, *gone)
        stage.done("the region returns and catches up by itself", f"height {after}")
        await ground.pay(gone[0])
        stage.check(not await ground.lacking(gone[-1]), "it has every final payment", f"{len(ground.committed)} found")
        await ground.check_votes()


async def quorum(stage: Stage, root: Path) -> None:
    """More than a third are gone: the chain stops, promises nothing, and goes on when they return."""
    async with new_ground(stage, root / "net", VALIDATORS) as ground:
        gone, stayed = ground.members[2:], ground.members[:2]
        await ground.kill(*gone)
        stage.done(f"{gone[0].name} and {gone[1].name} are gone", "half of the power: no quorum is left")
        await trio.sleep(1.0)  # what was decided before may still come in
        before = await ground.height(stayed[0])
        waiting = await ground.offer(stayed[0])
        await trio.sleep(STANDSTILL)
        heights = [await ground.height(member) for member in stayed]
        stage.check(set(heights) == {before}, "the chain stands still", f"height {before} for {STANDSTILL:.0f} s")
        await in_thread(ground.network.stop, stayed[0].name)
        await ground.start(stayed[0])
        stage.check(await ground.height(stayed[0]) == before, "a restart changes nothing", f"height {before}")
        await ground.start(*gone)
        await ground.reach(before + 1, *ground.members)
        stage.done("they return, and blocks come again", f"height {before + 1} everywhere, {waiting[:16]} was waiting")
        await ground.pay(gone[0])
        for member in ground.members:
            stage.check(not await ground.lacking(member), f"{member.name} has every final payment",
                        f"{len(ground.committed)} found")
        stage.check(await ground.same_block(before), "there is one chain", f"block {before} is the same everywhere")
        await ground.check_votes()
