"""Ring coins through a real node and its API: minted, found, paid, spent twice."""

import secrets
from functools import partial
from pathlib import Path

import pytest
import trio

from apps.anonymous.ring import RING_AGE
from crypto.errors import Reason, Refused
from node.anonymous.ringindex import RingIndex
from node.anonymous.ringkeys import RingViewer, ring_keys
from node.anonymous.ringpaying import RingWish, draft_ring, is_ready, mint_message
from node.anonymous.ringreading import scan_rings
from node.api.methods import GetReceipt, GetTransaction, QueryModule
from node.client import Client
from node.hidden.viewing import viewing_seed
from node.wallet import call, sign_draft
from state.genesis import genesis_hash
from state.transaction import RING_SIZE
from state.types import NATIVE, Address, Amount
from tests.node.lab import Lab
from tests.node.served import served_node

NXS = 1_000_000


async def test_mint_find_pay_and_spend_twice(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1)
    chain_id = genesis_hash(lab.genesis)
    viewers = [RingViewer(chain_id, ring_keys(viewing_seed(key))) for key in lab.wallet_keys]
    indexes = [RingIndex(viewer) for viewer in viewers]
    async with served_node(tmp_path, lab) as served:

        async def scan(number: int) -> int:
            def ask() -> int:
                with Client(served.url) as client:
                    return scan_rings(client, indexes[number])

            return await trio.to_thread.run_sync(ask)

        wish = partial(RingWish, viewers[0].keys.address(chain_id), NATIVE)
        messages = [mint_message(viewers[0], wish(Amount(NXS + at)), secrets.token_bytes) for at in range(RING_SIZE)]
        minted = call(lab.point(served.node), lab.account(0), lab.wallet_keys[0], 0, messages)
        await served.client.submit_one(minted.raw, wait="committed")
        height = int((await served.client.ask(GetReceipt(txid=minted.txid.hex()))).receipt.height)
        assert await scan(0) == RING_SIZE and await scan(1) == 0
        with pytest.raises(Refused) as caught:
            draft_ring(lab.point(served.node), indexes[0], [wish(Amount(1))], secrets.token_bytes)
        assert caught.value.reason is Reason.NOT_AVAILABLE
        nonce = 0  # there are no blocks without transactions
        while served.node.core.chain.tip.height < height + 2 * RING_AGE:
            other = lab.pay(served.node, 1, nonce, Address(b"\x08" * 32), 1)
            await served.client.submit_one(other.raw, wait="committed")
            nonce += 1
        assert await scan(0) == 0
        index = indexes[0]
        assert all(is_ready(coin, index.sets(), index.height) for coin in index.own())

        to = viewers[1].keys.address(chain_id)
        wishes = [RingWish(to, NATIVE, Amount(NXS // 2), "tea"), RingWish(Address(b"\x07" * 32), NATIVE, Amount(9))]
        drafted = draft_ring(lab.point(served.node), index, wishes, secrets.token_bytes)
        signed = sign_draft(drafted.draft, {})
        # a wallet that forgot the first payment would make this one
        again = draft_ring(lab.point(served.node), index, wishes[:1], secrets.token_bytes)
        assert again.rings == drafted.rings
        twin = sign_draft(again.draft, {}).raw
        index.reserve(drafted.sent, drafted.rings)
        await served.client.submit_one(signed.raw)
        with pytest.raises(Refused) as caught:
            await served.client.submit_one(twin)
        assert caught.value.reason in (Reason.CONFLICT, Reason.IMAGE_USED)
        await served.client.submit_one(signed.raw, wait="committed")
        receipt = (await served.client.ask(GetReceipt(txid=signed.txid.hex()))).receipt
        assert receipt.reason == "" and receipt.gas_used == receipt.gas_wanted
        assert (await served.client.ask(GetTransaction(txid=signed.txid.hex()))).raw == signed.raw
        with pytest.raises(Refused) as caught:
            await served.client.submit_one(twin)
        assert caught.value.reason is Reason.IMAGE_USED

        assert await scan(1) == 1 and indexes[1].balances() == {NATIVE: NXS // 2}
        assert indexes[1].own()[0].text == "tea"
        await scan(0)
        total = RING_SIZE * NXS + RING_SIZE * (RING_SIZE - 1) // 2
        assert index.balances() == {NATIVE: total - NXS // 2 - 9 - signed.fee}
        pools = (await served.client.ask(QueryModule(name="anonymous/pools"))).value
        assert int(pools["rings"]) == total - 9 - signed.fee
