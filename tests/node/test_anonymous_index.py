"""What an indexer reads out of blocks with anonymous payments: their clear coins, and nothing else."""

from apps.execution import decode_block
from node.api.shapes import HeaderView
from node.api.stream import BlockEvent, TransactionEvent
from node.api.text import Decimal
from node.api.views import receipt_view
from node.indexer.apply import read_block
from state.receipt import BlockResult
from state.transaction import Coin, Decoded, OutPoint
from state.types import NATIVE, Amount
from tests.apps.crowd import FEE, Crowd
from tests.apps.ringing import RingVault
from tests.apps.world import World, address


def events(result: BlockResult) -> tuple[BlockEvent, list[TransactionEvent]]:
    """The events of a block as a node's stream tells them."""
    zero, height = "00" * 32, Decimal(result.receipts[0].height)
    header = HeaderView(
        block_id=zero, version=1, chain_id=zero, height=height, time=Decimal(0), proposer="nx1", previous=zero,
        last_commit_hash=zero, transactions_root=zero, state_root=zero, receipts_root=zero, validators_hash=zero,
        next_validators_hash=zero, evidence_root=zero, beacon=zero,
    )
    block = BlockEvent(id="x", height=height, index=0, header=header, transactions=len(result.receipts), events=[])
    return block, [
        TransactionEvent(id="x", height=height, index=one.index + 1, receipt=receipt_view(one))
        for one in result.receipts
    ]


def test_clear_coins_of_a_ring_payment_are_outputs_and_accounts_are_none() -> None:
    world = World()
    crowd, vault = Crowd(world), RingVault(world)
    members = vault.fill()
    coin = Coin(NATIVE, address("bob"), Amount(2 * FEE))
    paid: list[Decoded] = [
        vault.pay([(4, members)], [vault.new(7 * FEE + 4000)], [coin]), crowd.pay("m0", FEE),
    ]
    result = world.block(*paid)
    assert result.touched == ((address("bob"),), ())
    raws = [one.raw for one in paid]
    assert decode_block(raws) == tuple(paid)
    block, told = events(result)
    read = read_block(block, told, raws)
    assert [(one.outpoint, one.output) for one in read.made] == [(OutPoint(paid[0].txid, 0), coin)]
    assert read.spent == ()
