"""A validator's node proves by itself: real processes for the proofs, one real node in this one."""

from pathlib import Path

import trio
from msgspec.structs import replace

from apps.chain.records import beacon
from apps.proofs.messages import Work
from apps.proofs.records import Given, epoch, given, halves, space_record
from crypto.vdf import beacon_of
from node.node import RunningNode
from node.proving.plots import make_plot, plot_of
from node.wallet import Account, call, message
from state.genesis import genesis_hash
from state.params import ProofParams, SecurityParams
from state.types import Address
from tests.node.lab import Lab, until

LENGTH = 8
WAIT = 60.0


def proving_lab(folder: Path, **asked: int) -> Lab:
    lab = Lab(folder, size=1)
    lab.genesis = replace(
        lab.genesis, proofs=ProofParams(**asked), security=SecurityParams(epoch_length=LENGTH)
    )
    return lab


async def finish_epoch(lab: Lab, node: RunningNode) -> None:
    """Pay until the next epoch begins."""
    before = epoch(node.service.reader()).number
    while epoch(node.service.reader()).number == before:
        nonce = node.service.next_nonce(lab.account(0).address)
        txid = await node.service.submit(lab.pay(node, 0, nonce, lab.account(1).address, 1).raw)
        await node.service.wait_committed(txid, WAIT)


async def test_all_proofs_are_given_in_each_epoch_for_free(tmp_path: Path) -> None:
    lab = proving_lab(tmp_path, space_k=18, work_bits=8, vdf_iterations=2000, vdf_bits=256)
    operator = Address(lab.consensus_keys[0].address)
    await make_plot(plot_of(lab.home(0), genesis_hash(lab.genesis), operator, 0, 18))
    async with lab.node(0) as node:
        for number in range(2):
            def all_given(number: int = number) -> bool:
                state = node.service.reader()
                return given(state, operator) == Given(number + 1, number + 1) and bool(epoch(state).beacon)

            await until(all_given, WAIT)
            state = node.service.reader()
            coming = epoch(state).beacon
            assert node.service.balance(operator, lab.genesis.symbols["nxs"]) == 0
            await finish_epoch(lab, node)
            state = node.service.reader()
            assert beacon(state) == coming != beacon_of(b"") and not epoch(state).weak
            assert node.core.chain.tip.beacon == coming and halves(state, operator) == 2


async def test_without_a_plot_the_rest_is_given_and_a_plot_made_meanwhile_is_used(tmp_path: Path) -> None:
    lab = proving_lab(tmp_path, space_k=18, work_bits=4)
    operator = Address(lab.consensus_keys[0].address)
    async with lab.node(0) as node:
        await until(lambda: given(node.service.reader(), operator) == Given(0, 1), WAIT)
        await make_plot(plot_of(lab.home(0), genesis_hash(lab.genesis), operator, 0, 18))
        await finish_epoch(lab, node)
        await until(lambda: given(node.service.reader(), operator) == Given(2, 2), WAIT)
        record = space_record(node.service.reader(), operator)
        assert record is not None and (record.epoch, record.index, record.k) == (1, 0, 18)


async def test_a_wasted_free_message_costs_its_epoch_and_no_more(tmp_path: Path) -> None:
    lab = proving_lab(tmp_path, work_bits=20)  # a second's search: time to be faster
    key = lab.consensus_keys[0]
    own = Account(Address(key.address), key.public_key)
    async with lab.node(0) as node:
        point = lab.point(node)
        wasted = call(point, own, key, 0, [message("proofs/work", Work(7, 7))], fee=0)
        await node.service.submit(wasted.raw)
        receipt = await node.service.wait_committed(wasted.txid, WAIT)
        assert receipt.reason == "wrong_epoch" and receipt.fee == 0
        await finish_epoch(lab, node)
        assert given(node.service.reader(), own.address) == Given(0, 0)
        await until(lambda: given(node.service.reader(), own.address) == Given(0, 2), WAIT)


async def test_a_chain_that_asks_for_nothing_is_left_in_peace(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1)
    async with lab.node(0) as node:
        await trio.sleep(0.5)
        assert node.service.height == 0
