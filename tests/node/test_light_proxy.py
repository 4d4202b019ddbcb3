"""The local API of a light client: the same questions, verified answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio

from consensus.signing import SchemeVerifier
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from node.api import methods
from node.api.methods import METHODS
from node.api.stream import BlockEvent, Subscribe
from node.api.text import Decimal
from node.cli.trust import clock
from node.client import AsyncClient
from node.light.answer import RememberingVerifier
from node.light.client import Surroundings
from node.light.opening import Place, open_light
from node.light.proxy import serve_light
from node.light.roots import GenesisRoot
from node.light.source import Source
from state.genesis import genesis_hash
from state.types import Address
from tests.node.served import Served, served_node
from tests.node.test_light import young_lab

BOB = Address(b"\x07" * 32)


class Liar:
    """A node between a light client and an honest one, that bends what it does not like."""

    def __init__(self, honest: Source) -> None:
        self.url = "liar"
        self.honest = honest
        self.lies = False

    async def ask(self, ask: Any) -> Any:
        answer = await self.honest.ask(ask)
        if self.lies and isinstance(ask, methods.GetProof):
            return msgspec.structs.replace(answer, proof=answer.proof[:-1] + bytes([answer.proof[-1] ^ 1]))
        if self.lies and isinstance(ask, methods.GetBody):
            return msgspec.structs.replace(answer, transactions=answer.transactions[1:])
        if self.lies and isinstance(ask, methods.GetReceipt):
            return msgspec.structs.replace(answer, raw=answer.raw[:-1] + bytes([answer.raw[-1] ^ 1]))
        return answer


@dataclass
class Proxied:
    served: Served
    liar: Liar
    client: AsyncClient

    @property
    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.client.url, trust_env=False)


@asynccontextmanager
async def proxied(folder: Path) -> AsyncIterator[Proxied]:
    lab = young_lab(folder)
    async with served_node(folder, lab) as served, trio.open_nursery() as nursery:
        signed = lab.pay(served.node, 0, 0, BOB, 5)
        await served.client.submit_one(signed.raw, wait="committed")
        liar = Liar(served.client)
        around = Surroundings(liar, (), clock, RememberingVerifier(SchemeVerifier()), lambda told: None)
        root = GenesisRoot(genesis_hash(lab.genesis))
        answers = await open_light(Place(folder / "light", root, keep=True), around)
        port = await nursery.start(serve_light, answers, 0, 0.2)
        async with AsyncClient(f"http://[::1]:{port}") as client:
            with trio.fail_after(10):
                while (await client.ask(methods.GetStatus())).height < 1:
                    await trio.sleep(0.05)
            yield Proxied(served, liar, client)
        nursery.cancel_scope.cancel()


async def test_a_wallet_may_use_it_in_place_of_a_node(tmp_path: Path) -> None:
    async with proxied(tmp_path) as proxy:
        lab, client = proxy.served.lab, proxy.client
        status, told = await client.ask(methods.GetStatus()), await proxy.served.client.ask(methods.GetStatus())
        assert (status.chain_id, status.chain_name, status.difficulty) == (told.chain_id, "lab", told.difficulty)
        header = await client.ask(methods.GetHeader(height=str(status.height)))
        assert (status.block_id, status.block_time) == (header.block_id, header.time)
        signed = lab.pay(proxy.served.node, 0, 1, BOB, 7)
        result = await client.submit_one(signed.raw, wait="committed")
        assert result.receipt is not None and result.receipt.txid == signed.txid.hex() and result.reason == ""
        view = await client.ask(methods.GetBalance(address=encode_address(BOB)))
        assert view.amount == 12 and view.height >= result.receipt.height
        found = await client.ask(methods.GetTransaction(txid=signed.txid.hex()))
        assert (found.raw, found.height) == (signed.raw, result.receipt.height)
        with pytest.raises(Refused) as caught:
            await client.submit_one(signed.raw, wait="accepted")
        assert caught.value.reason is Reason.ALREADY_COMMITTED
        proof = await client.ask(methods.GetProof(key=b"chain/params".hex()))
        assert proof.height >= 1 and (await client.ask(methods.GetGenesis())).chain_id == status.chain_id
        assert (await client.ask(methods.GetHeaders(first="1", limit=2))).headers[0] == (
            await proxy.served.client.ask(methods.GetHeaders(first="1", limit=1))
        ).headers[0]


async def test_what_cannot_be_verified_is_refused_by_name(tmp_path: Path) -> None:
    who = encode_address(BOB)
    async with proxied(tmp_path) as proxy:
        unprovable: list[methods.Ask[Any]] = [
            methods.GetPeers(), methods.GetMempool(), methods.ReportEvidence(evidence=b"x"),
            methods.Simulate(transaction=b"x"),
        ]
        for question in unprovable:
            with pytest.raises(Refused) as caught:
                await proxy.client.ask(question)
            assert caught.value.reason is Reason.NOT_VERIFIABLE
        with pytest.raises(Refused) as caught:
            await proxy.client.ask(methods.GetOutput(txid="ab" * 32, index=0))
        assert caught.value.reason is Reason.OUTPUT_NOT_FOUND
        async with proxy.http as http:
            answer = await http.post("/rpc", json={"jsonrpc": "2.0", "id": 1, "method": "peers"})
            assert answer.json()["error"]["data"]["reason"] == "not_verifiable"
            balance = {"jsonrpc": "2.0", "id": 2, "method": "balance", "params": {"address": who}}
            assert (await http.post("/rpc", json=balance)).json()["result"]["amount"] == "5"
            assert (await http.get("/ready")).json()["ready"] is True
            document = (await http.get("/openapi.json")).json()
            assert all(method.path in document["paths"] for method in METHODS)


async def test_a_node_that_begins_to_lie_is_found_out(tmp_path: Path) -> None:
    async with proxied(tmp_path) as proxy:
        question = methods.GetBalance(address=encode_address(BOB))
        assert (await proxy.client.ask(question)).amount == 5
        listed = await proxy.served.client.ask(methods.GetTransactionsOf(address=encode_address(BOB)))
        proxy.liar.lies = True
        asked: list[methods.Ask[Any]] = [
            question, methods.GetReceipt(txid=listed.transactions[0].txid), methods.GetBlock(height="1"),
            methods.GetTransactionsOf(address=encode_address(BOB)),
        ]
        for lie in asked:
            with pytest.raises(Refused) as caught:
                await proxy.client.ask(lie)
            assert caught.value.reason in (Reason.BAD_PROOF, Reason.MALFORMED, Reason.NOT_CANONICAL)
        proxy.liar.lies = False
        assert (await proxy.client.ask(question)).amount == 5


async def test_subscriptions_are_told_of_what_is_proven_and_a_lie_ends_them(tmp_path: Path) -> None:
    async with proxied(tmp_path) as proxy:
        everything = Subscribe(id="all", from_height=Decimal(1))
        filtered = Subscribe(id="bob", topic="transactions", address=encode_address(BOB), from_height=Decimal(1))
        node = proxy.served.client
        for subscription in (everything, filtered):
            with trio.fail_after(20):
                async with proxy.client.events(subscription) as proven, node.events(subscription) as told:
                    for _ in range(2 if subscription is everything else 1):
                        ours, theirs = await anext(proven), await anext(told)
                        if isinstance(theirs, BlockEvent):
                            theirs = msgspec.structs.replace(theirs, events=[])
                        assert ours == theirs
        proxy.liar.lies = True
        with trio.fail_after(20), pytest.raises(Refused) as caught:
            async with proxy.client.events(everything) as proven:
                await anext(proven)
        assert caught.value.reason is Reason.BAD_PROOF
