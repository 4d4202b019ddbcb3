"""Evidence that somebody hands in over the API, such as a light client that found a fork."""

from pathlib import Path

import msgspec
import pytest
import trio

from apps.chain.records import is_recorded
from consensus.evidence import duplicate_vote
from consensus.types import LightClientAttack, Vote, VoteKind, vote_sign_bytes
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from node.api import methods
from node.api.server import serve_api
from node.client import AsyncClient
from state.encoding import encode
from state.genesis import genesis_hash
from state.types import Address, BlockId, Height, Round
from tests.node.lab import Lab, until
from tests.node.served import served_node


def votes(lab: Lab, *names: bytes) -> list[Vote]:
    """Precommits of the lab's first validator for blocks of height 1 that do not exist."""
    chain_id, key = genesis_hash(lab.genesis), lab.consensus_keys[0]
    return [
        Vote(
            VoteKind.PRECOMMIT, Height(1), Round(0), BlockId(name * 32), 0,
            key.sign(vote_sign_bytes(chain_id, VoteKind.PRECOMMIT, Height(1), Round(0), BlockId(name * 32))),
        )
        for name in names
    ]


async def test_evidence_is_checked_taken_once_and_on_its_way_into_a_block(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1)
    accused = Address(lab.consensus_keys[0].address)
    one, other = votes(lab, b"\x01", b"\x02")
    good = duplicate_vote(accused, one, other)
    forged = msgspec.structs.replace(good, first=msgspec.structs.replace(one, signature=other.signature))
    wrong = {
        Reason.BAD_SIGNATURE: encode(forged),
        Reason.BAD_EVIDENCE: encode(duplicate_vote(accused, one, one)),
        Reason.UNKNOWN_VALIDATOR: encode(duplicate_vote(Address(bytes(32)), one, other)),
        Reason.MALFORMED: b"\x93\x01",
    }
    async with served_node(tmp_path, lab) as served:
        for reason, raw in wrong.items():
            with pytest.raises(Refused) as caught:
                await served.client.ask(methods.ReportEvidence(evidence=raw))
            assert caught.value.reason is reason
        assert served.node.core.agreement.pool.known == 0
        taken = await served.client.ask(methods.ReportEvidence(evidence=encode(good)))
        assert (taken.height, taken.known) == (1, False)
        await until(lambda: served.node.core.agreement.pool.known == 1)
        assert (await served.client.ask(methods.ReportEvidence(evidence=encode(good)))).known


async def test_an_attack_on_light_clients_is_taken_too(tmp_path: Path) -> None:
    """The validator signed a header of a past height that its own chain does not give."""
    lab = Lab(tmp_path, size=1)
    key = lab.consensus_keys[0]
    async with served_node(tmp_path, lab) as served:
        paid = lab.pay(served.node, 0, 0, Address(b"\x07" * 32), 5)
        await served.client.submit_one(paid.raw, wait="committed")
        trusted = served.node.service.header(Height(1))
        fields = {name: getattr(trusted, name) for name in trusted.__struct_fields__}
        invented = type(trusted)(**{**fields, "state_root": bytes(32)})
        message = vote_sign_bytes(trusted.chain_id, VoteKind.PRECOMMIT, Height(1), Round(0), invented.block_id)
        attack = LightClientAttack(Address(key.address), Height(1), trusted, invented, Round(0), key.sign(message))
        swapped = msgspec.structs.replace(attack, trusted=invented, conflicting=trusted)
        with pytest.raises(Refused) as caught:
            await served.client.ask(methods.ReportEvidence(evidence=encode(swapped)))
        assert caught.value.reason in (Reason.BAD_EVIDENCE, Reason.BAD_SIGNATURE)
        taken = await served.client.ask(methods.ReportEvidence(evidence=encode(attack)))
        assert not taken.known
        await until(lambda: served.node.core.agreement.pool.known == 1)


async def test_who_attacks_light_clients_loses_its_stake(tmp_path: Path) -> None:
    """One of four is accused at one node: the evidence comes into a block, and every node's state punishes it."""
    lab = Lab(tmp_path, size=4)
    traitor, key = lab.genesis.validators[3], lab.consensus_keys[3]
    async with lab.nodes(range(4)) as nodes, trio.open_nursery() as nursery:
        port = await nursery.start(serve_api, nodes[0].service, "::1", 0)
        async with AsyncClient(f"http://[::1]:{port}") as client:
            await client.submit_one(lab.pay(nodes[0], 0, 0, Address(b"\x07" * 32), 5).raw, wait="committed", timeout=30)
            trusted = nodes[0].service.header(Height(1))
            fields = {name: getattr(trusted, name) for name in trusted.__struct_fields__}
            invented = type(trusted)(**{**fields, "validators_hash": bytes(32)})
            message = vote_sign_bytes(trusted.chain_id, VoteKind.PRECOMMIT, Height(1), Round(0), invented.block_id)
            attack = LightClientAttack(Address(key.address), Height(1), trusted, invented, Round(0), key.sign(message))
            await client.ask(methods.ReportEvidence(evidence=encode(attack)))
        await until(lambda: all(is_recorded(node.core.chain.store, attack) for node in nodes), 40)
        for node in nodes:
            view = node.service.query("staking/validator", {"operator": encode_address(traitor.operator)})
            assert view["status"] == "tombstoned" and view["bonded"] < traitor.power * 10**6
        nursery.cancel_scope.cancel()
