"""The API of a real node: REST, JSON-RPC, OpenAPI, websocket and the client."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio
from trio_websocket import open_websocket_url

from apps.token.messages import Deposit, NewCoin
from consensus.light import light_block_codec
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.merkle import verify_inclusion
from node.api import methods
from node.api.answers import ANSWERS
from node.api.methods import METHODS
from node.api.server import bind_socket, serve_api
from node.api.stream import BlockEvent, Subscribe, TransactionEvent
from node.api.text import Decimal
from node.client import AsyncClient, Client, read_answer
from node.wallet import OwnCoin, call, message, transfer
from state.genesis import genesis_codec, genesis_hash
from state.proof import proof_codec, verify_state_proof
from state.records import balance_key
from state.transaction import Coin, OutPoint
from state.types import NATIVE, UNXS_PER_NXS, Address, Amount, TxId
from tests.node.lab import FUNDS, Lab
from tests.node.served import Served, served_node

BOB = Address(b"\x07" * 32)


async def _refused(client: AsyncClient, ask: methods.Ask[Any]) -> Reason:
    with pytest.raises(Refused) as caught:
        await client.ask(ask)
    return caught.value.reason


async def _pay(served: Served, nonce: int, amount: int = 5) -> str:
    signed = served.lab.pay(served.node, 0, nonce, BOB, amount)
    return (await served.client.submit_one(signed.raw, wait="committed")).txid


async def test_every_method_answers(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        txid = await _pay(served, 0)
        client, address = served.client, encode_address(served.lab.wallet_keys[0].address)
        bob = encode_address(BOB)
        status = await client.ask(methods.GetStatus())
        assert status.chain_id == genesis_hash(served.lab.genesis).hex()
        assert status.height >= 1 and status.voting_power == 10
        genesis = await client.ask(methods.GetGenesis())
        assert genesis_codec.decode(genesis.raw) == served.lab.genesis
        params = await client.ask(methods.GetParams())
        assert params.chain["expiry_window"] == 2048
        assert (await client.ask(methods.GetPeers())).peers == []
        assert (await client.ask(methods.GetMempool())).transactions == 0
        validators = await client.ask(methods.GetValidators())
        assert validators.total_power == 10
        receipt = await client.ask(methods.GetReceipt(txid=txid))
        assert receipt.receipt.reason == "" and receipt.receipt.txid == txid
        height = str(receipt.receipt.height)
        block = await client.ask(methods.GetBlock(height=height))
        assert [one.txid for one in block.transactions] == [txid]
        header = await client.ask(methods.GetHeader(height=height))
        assert header == block.header
        assert (await client.ask(methods.GetCommit(height=height))).block_id == header.block_id
        light = light_block_codec.decode((await client.ask(methods.GetLightBlock(height=height))).light_block)
        assert light.header.block_id.hex() == header.block_id
        found = await client.ask(methods.GetTransaction(txid=txid))
        assert found.height == receipt.receipt.height and found.kind == "call"
        assert found.body["messages"][0]["value"] == {"asset": "unxs", "to": bob, "amount": "5"}
        account = await client.ask(methods.GetAccount(address=address))
        assert account.nonce == 1 and account.scheme == "falcon"
        assert account.public_key == served.lab.wallet_keys[0].public_key
        assert (await client.ask(methods.GetBalance(address=bob))).amount == 5
        assert (await client.ask(methods.GetAllowance(owner=address, spender=bob))).amount == 0
        assert (await client.ask(methods.GetLocks(address=address))).locks == []
        assert (await client.ask(methods.GetAsset(asset="unxs"))).supply == 2 * FUNDS + 10 * UNXS_PER_NXS
        refs = await client.ask(methods.GetTransactionsOf(address=bob))
        assert [one.txid for one in refs.transactions] == [txid]
        query = await client.ask(methods.QueryModule(name="token/balance", parameters={"address": bob}))
        assert query.value["amount"] == "5"


async def test_proofs_lead_to_the_next_header(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        txid = await _pay(served, 0, 77)
        await _pay(served, 1)
        client = served.client
        answer = await client.ask(methods.GetReceipt(txid=txid))
        above = await client.ask(methods.GetHeader(height=str(answer.receipt.height + 1)))
        verify_inclusion(
            bytes.fromhex(above.receipts_root), answer.raw, answer.receipt.index, answer.proof_size, answer.proof_path
        )
        key = balance_key(BOB, NATIVE)
        proof = await client.ask(methods.GetProof(key=key.hex()))
        above = await client.ask(methods.GetHeader(height=str(proof.height + 1)))
        value = verify_state_proof(bytes.fromhex(above.state_root), key, proof_codec.decode(proof.proof))
        assert value is not None


async def test_coins_are_made_listed_and_spent(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        lab, client = served.lab, served.client
        key, owner = lab.wallet_keys[0], Address(lab.wallet_keys[0].address)
        coins = tuple(NewCoin(owner, Amount(amount)) for amount in (4_000_000, 2_000_000, 3_000_000))
        messages = [message("token/deposit", Deposit(NATIVE, coins))]
        deposit = call(lab.point(served.node), lab.account(0), key, 0, messages)
        await client.submit_one(deposit.raw, wait="committed")
        first = await client.ask(methods.GetOutputs(address=encode_address(owner), limit=2))
        assert first.next is not None
        rest = await client.ask(methods.GetOutputs(address=encode_address(owner), limit=2, after=first.next))
        listed = first.outputs + rest.outputs
        assert sorted(int(one.amount or 0) for one in listed) == [2_000_000, 3_000_000, 4_000_000]
        own = [
            OwnCoin(OutPoint(TxId(bytes.fromhex(one.txid)), one.index), Coin(NATIVE, owner, Amount(one.amount or 0)))
            for one in listed
        ]
        account = replace(lab.account(0), registered=True)
        paid = transfer(lab.point(served.node), account, key, own, [Coin(NATIVE, BOB, Amount(5_000_000))])
        await client.submit_one(paid.raw, wait="committed")
        to_bob = await client.ask(methods.GetOutput(txid=paid.txid.hex(), index=0))
        assert (to_bob.owner, to_bob.amount) == (encode_address(BOB), 5_000_000)
        change = await client.ask(methods.GetOutput(txid=paid.txid.hex(), index=1))
        assert change.amount == 7_000_000 - 5_000_000 - paid.fee
        spent = next(one for one in listed if one.amount == 4_000_000)
        assert await _refused(client, methods.GetOutput(txid=spent.txid, index=spent.index)) is Reason.OUTPUT_NOT_FOUND


async def test_refusals_have_names_and_statuses(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served, httpx.AsyncClient(base_url=served.url) as http:
        nobody = "0" * 64
        for path, status, reason in [
            (f"/v1/transactions/{nobody}", 404, "not_available"),
            (f"/v1/transactions/{nobody}0", 400, "malformed"),
            ("/v1/blocks/99999999", 404, "not_available"),
            ("/v1/blocks/-1", 400, "malformed"),
            ("/v1/blocks/9999999999999999999999", 400, "malformed"),
            ("/v1/blocks/latest%0A", 400, "bad_argument"),
            ("/v1/mempool?limit=0", 400, "malformed"),
            ("/v1/mempool?limit=1&limit=2", 400, "malformed"),
            ("/v1/status?colour=red", 400, "malformed"),
            (f"/v1/assets/{nobody}", 404, "unknown_asset"),
            ("/v1/accounts/nx1" + "q" * 58, 400, "bad_address"),
            ("/v1/nothing", 404, "unknown_method"),
            ("/", 404, "unknown_method"),
        ]:
            answer = await http.get(path)
            assert (answer.status_code, answer.json()["error"]["reason"]) == (status, reason), path
        assert (await http.delete("/v1/status")).status_code == 405
        assert (await http.post("/v1/transactions", content=b"{}")).status_code == 415
        json = {"content-type": "application/json"}
        wrong = b"", b"{", b"[]", b'{"transactions":[]}', b'{"transactions":["!"]}', b'{"transactions":["aaaa"],"x":1}'
        for body in wrong:
            answer = await http.post("/v1/transactions", content=body, headers=json)
            assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "malformed"), body
        big = await http.post("/v1/transactions", content=b" " * (9 << 20), headers=json)
        assert (big.status_code, big.json()["error"]["reason"]) == (413, "too_large")


async def test_submitting_says_why_not_for_each(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        good = served.lab.pay(served.node, 0, 0, BOB, 5)
        bad = bytearray(served.lab.pay(served.node, 1, 0, BOB, 5).raw)
        bad[-2] ^= 1  # the last byte says that there are no proofs
        poor = served.lab.pay(served.node, 1, 0, BOB, 5, fee=0)
        results = await served.client.submit([good.raw, bytes(bad), b"\x00", poor.raw])
        assert [one.reason for one in results] == ["", "bad_signature", "malformed", "fee_too_low"]
        assert results[0].txid == good.txid.hex()
        async with httpx.AsyncClient(base_url=served.url) as http:
            again = await http.post(
                "/v1/transactions", json={"transactions": [msgspec.to_builtins(good.raw)], "wait": "committed"}
            )
        (result,) = again.json()["results"]
        assert result["reason"] == "" and result["receipt"]["reason"] == ""
        replay = served.lab.pay(served.node, 0, 0, BOB, 6)
        with pytest.raises(Refused) as caught:
            await served.client.submit_one(replay.raw)
        assert caught.value.reason is Reason.NONCE_TOO_LOW


async def _rpc(http: httpx.AsyncClient, body: Any) -> tuple[int, Any]:
    answer = await http.post("/rpc", json=body)
    return answer.status_code, answer.json() if answer.content else None


async def test_rpc_follows_the_specification(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served, httpx.AsyncClient(base_url=served.url) as http:
        status, answer = await _rpc(http, {"jsonrpc": "2.0", "id": "a", "method": "balance", "params": {
            "address": encode_address(BOB)}})
        assert status == 200 and answer["id"] == "a" and answer["result"]["amount"] == "0"
        status, answer = await _rpc(http, {"jsonrpc": "2.0", "id": 1, "method": "nothing"})
        assert (status, answer["error"]["code"], answer["error"]["data"]["reason"]) == (404, -32601, "unknown_method")
        status, answer = await _rpc(http, {"jsonrpc": "2.0", "id": 1, "method": "status", "params": {"x": 1}})
        assert (status, answer["error"]["code"]) == (400, -32602)
        status, answer = await _rpc(http, {"jsonrpc": "2.0", "id": 1, "method": "status", "params": [1]})
        assert (status, answer["error"]["code"]) == (400, -32602)
        status, answer = await _rpc(http, {"id": 1, "method": "status"})
        assert (status, answer["error"]["code"]) == (400, -32600)
        assert await _rpc(http, {"jsonrpc": "2.0", "method": "status"}) == (204, None)
        status, answer = await _rpc(http, [
            {"jsonrpc": "2.0", "id": 1, "method": "status"}, 7, {"jsonrpc": "2.0", "method": "status"},
            {"jsonrpc": "2.0", "id": 2, "method": "block", "params": {"height": "999"}},
        ])
        assert status == 200 and [one["id"] for one in answer] == [1, None, 2]
        assert answer[2]["error"]["data"]["reason"] == "not_available"
        assert (await _rpc(http, []))[0] == 400
        assert (await _rpc(http, [1] * 101))[0] == 413
        broken = await http.post("/rpc", content=b"{", headers={"content-type": "application/json"})
        assert broken.json()["error"]["code"] == -32700


async def test_events_come_in_order_and_from_the_past(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        txids = [await _pay(served, nonce) for nonce in range(3)]
        bob = encode_address(BOB)
        subscriptions = (
            Subscribe(id="all", from_height=Decimal(1)),
            Subscribe(id="bob", topic="transactions", address=bob, event="token/transfer", from_height=Decimal(1)),
            Subscribe(id="none", topic="transactions", event="token/mint", from_height=Decimal(1)),
        )
        got: dict[str, list[BlockEvent | TransactionEvent]] = {"all": [], "bob": [], "none": []}
        with trio.fail_after(20):
            async with served.client.events(*subscriptions) as events:
                txids += [await _pay(served, nonce) for nonce in range(3, 6)]
                async for event in events:
                    got[event.id].append(event)
                    if sum(isinstance(one, TransactionEvent) for chain in got.values() for one in chain) == 12:
                        break
        for chain in got.values():
            places = [(int(event.height), event.index) for event in chain]
            assert places == sorted(set(places))
        for name in ("all", "bob"):
            assert [one.receipt.txid for one in got[name] if isinstance(one, TransactionEvent)] == txids
        assert got["none"] == []
        blocks = [int(event.height) for event in got["all"] if isinstance(event, BlockEvent)]
        assert blocks == list(range(1, blocks[-1] + 1))


async def test_wrong_subscriptions_are_refused(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        for subscription, reason in [
            (Subscribe(id="a", from_height=Decimal(1000)), Reason.NOT_AVAILABLE),
            (Subscribe(id="a", address="nx1" + "q" * 58), Reason.BAD_ADDRESS),
        ]:
            with pytest.raises(Refused) as caught:
                async with served.client.events(subscription):
                    pass
            assert caught.value.reason is reason
        with pytest.raises(Refused) as caught:
            async with served.client.events(Subscribe(id="a"), Subscribe(id="a")):
                pass
        assert caught.value.reason is Reason.CONFLICT


async def test_garbage_on_the_websocket_is_answered_and_ends_nothing(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served, open_websocket_url(f"ws{served.url[4:]}/ws") as socket:
        for garbage in ("", "{", "[]", '{"type":"dance"}', '{"type":"subscribe","id":"a","colour":1}', "null"):
            await socket.send_message(garbage)
            answer = msgspec.json.decode(await socket.get_message())
            assert (answer["type"], answer["error"]["reason"]) == ("error", "malformed")
        for command, told in (("subscribe", "subscribed"), ("unsubscribe", "unsubscribed")):
            await socket.send_message(f'{{"type":"{command}","id":"a"}}')
            assert msgspec.json.decode(await socket.get_message())["type"] == told


async def test_a_fault_is_no_answer_and_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served_node(tmp_path) as served:
        monkeypatch.setitem(ANSWERS, "peers", lambda service, ask: 1 // 0)
        assert await _refused(served.client, methods.GetPeers()) is Reason.INTERNAL
        async with httpx.AsyncClient(base_url=served.url) as http:
            status, answer = await _rpc(http, {"jsonrpc": "2.0", "id": 1, "method": "peers"})
            assert (status, answer["error"]["reason"]) == (500, "internal")
        assert (await served.client.ask(methods.GetStatus())).peers == 0


@pytest.mark.parametrize(("status", "content"), [
    (200, b""), (200, b"{}"), (200, b"\xff"), (500, b"<html>"), (404, b'{"error": {}}'),
    (400, b'{"error": {"reason": "because", "detail": ""}}'), (302, b""),
])
def test_what_is_no_answer_is_refused(status: int, content: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read_answer(methods.BY_NAME["status"], status, content)
    assert caught.value.reason is Reason.PROTOCOL_VIOLATION


async def test_openapi_names_every_method(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served, httpx.AsyncClient(base_url=served.url) as http:
        document = (await http.get("/openapi.json")).json()
        assert document["openapi"].startswith("3.1")
        operations = {one["operationId"] for path in document["paths"].values() for one in path.values()}
        assert operations == {method.name for method in METHODS} | {"rpc", "health", "ready"}
        assert (await http.get("/health")).status_code == 200
        assert (await http.get("/ready")).json()["ready"] is True


async def test_the_synchronous_client_is_the_same(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        signed = served.lab.pay(served.node, 0, 0, BOB, 5)

        def use() -> tuple[str, int]:
            with Client(served.url) as client:
                result = client.submit_one(signed.raw, wait="committed")
                return result.txid, client.ask(methods.GetBalance(address=encode_address(BOB))).amount

        assert await trio.to_thread.run_sync(use) == (signed.txid.hex(), 5)


async def test_a_port_in_use_has_a_name(tmp_path: Path) -> None:
    taken = bind_socket("::1", 0)
    taken.listen()
    try:
        async with Lab(tmp_path, size=1).node(0) as node:
            with pytest.raises(Refused) as caught:
                await serve_api(node.service, "::1", taken.getsockname()[1])
        assert caught.value.reason is Reason.PORT_IN_USE
    finally:
        taken.close()


def test_nobody_there() -> None:
    with bind_socket("::1", 0) as free:
        port = free.getsockname()[1]
    with pytest.raises(Refused) as caught, Client(f"http://[::1]:{port}") as client:
        client.ask(methods.GetStatus())
    assert caught.value.reason is Reason.UNREACHABLE


@pytest.mark.parametrize("url", ["", "localhost", "ftp://[::1]", "http://", "http://[::1]:port", "http://[::1"])
def test_wrong_urls(url: str) -> None:
    with pytest.raises(Refused) as caught:
        Client(url)
    assert caught.value.reason is Reason.USAGE


