"""Total loss: of all machines one backup is left. The chain begins anew from it, with a chain id of its own."""

from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from apps.token.messages import Transfer
from crypto.errors import Reason
from node.client import AsyncClient
from node.home import Home
from node.wallet import message
from state.types import NATIVE, Amount
from testnet.drills.ground import Ground, in_thread, keep, lose, new_ground, nexus, put_back
from testnet.drills.losses import VALIDATORS
from testnet.manifest import VERSION, Manifest, save_manifest
from testnet.network import LocalNetwork
from testnet.stage import Stage

KEYS: Final = ("config.toml", "keys/consensus_key.json", "keys/node_key.json")
NEXT: Final = "next"


async def total(stage: Stage, root: Path) -> None:
    """Every data folder is gone, and one snapshot is left: same balances, another chain id."""
    async with new_ground(stage, root / "net", VALIDATORS) as ground:
        backup, genesis = root / "backup.snapshot", root / "genesis.json"
        kept = {member.name: root / "aside" / member.name for member in ground.members}
        for member in ground.members:
            keep(ground.home(member), kept[member.name], *KEYS)
        keep(ground.home(ground.members[0]), root, "genesis.json")
        first = ground.home(ground.members[2]).root
        made = await nexus(first, "snapshots", "create")
        await nexus(first, "snapshots", "export", str(backup))
        stage.done(f"{ground.members[2].name} writes a backup while it runs", f"the state after block {made['height']}")
        held = await ground.balances(ground.members[0])
        old = await _signed_for_old_chain(ground)
        await in_thread(ground.network.stop_all)
        for member in ground.members:
            lose(ground.home(member).root)
        stage.done("every home is lost", "left are the backup, the genesis document, keys and settings")
        document = await _export(stage, root, genesis, backup, made["trust_hash"])
        network = await _begin(stage, root, ground, kept, document)
        reborn = Ground(stage, network)
        try:
            await reborn.start(*reborn.members)
            stage.check(await reborn.balances(reborn.members[1]) == held, "everybody has what he had", _shown(held))
            async with AsyncClient(reborn.members[0].url) as client:
                await stage.refused(
                    "a payment that was signed for the old chain", Reason.WRONG_CHAIN, client.submit_one(old)
                )
            await reborn.pay(reborn.members[3])
            stage.check(await reborn.same_block(1), "the new chain makes blocks", f"{len(reborn.committed)} payments")
            await reborn.check_votes()
        finally:
            await in_thread(LocalNetwork(network.root).stop_all)


async def _signed_for_old_chain(ground: Ground) -> bytes:
    async with AsyncClient(ground.members[0].url) as client:
        purse = ground.purse("bob", client)
        return (await purse.signed_call(message("token/transfer", Transfer(NATIVE, purse.address, Amount(1))))).raw


async def _export(stage: Stage, root: Path, genesis: Path, backup: Path, trust: str) -> dict[str, Any]:
    """Restore the backup twice, as two people would, and compare the genesis documents that they export."""
    documents = []
    for person in ("first", "second"):
        home, file = root / person, root / f"{NEXT}-{person}.json"
        await nexus(home, "init", person, "--genesis", str(genesis), "--key-cost", "quick")
        await nexus(home, "snapshots", "restore", str(backup), "--trust-hash", trust)
        documents.append(await nexus(home, "genesis", "export", "--output-file", str(file), "--name", NEXT))
    same = (root / f"{NEXT}-first.json").read_bytes() == (root / f"{NEXT}-second.json").read_bytes()
    stage.check(same, "two people restore it and export a genesis: the same bytes", documents[0]["chain_id"][:16])
    await nexus(root, "genesis", "validate", str(root / f"{NEXT}-first.json"))
    return {**documents[0], "path": root / f"{NEXT}-first.json"}


async def _begin(
    stage: Stage, root: Path, ground: Ground, kept: dict[str, Path], document: dict[str, Any]
) -> LocalNetwork:
    """Make new homes for the validators, with the keys that they had."""
    place = root / NEXT
    place.mkdir()
    for member in ground.members:
        home = Home(place / member.name)
        await nexus(home.root, "init", member.name, "--genesis", str(document["path"]), "--key-cost", "quick")
        put_back(kept[member.name], home, *KEYS)
        await nexus(home.root, "validator", "sign-state", "set", "--height", "0")
    (place / "wallets").symlink_to(ground.root / "wallets")
    members = tuple(replace(member, process=None) for member in ground.members)
    save_manifest(place, Manifest(VERSION, document["chain_id"], members))
    stage.done("new homes with the old keys, which have signed nothing for this chain", f"{len(members)} validators")
    return LocalNetwork(place)


def _shown(held: dict[str, int]) -> str:
    return ", ".join(f"{name} {amount / 1e6:.0f}nxs" for name, amount in held.items())
