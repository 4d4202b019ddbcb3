"""The faucet on a real network: whoever asks is paid, bad questions get named answers, and too many are refused."""

import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio

from crypto.address import encode_address
from crypto.keys import SecretKey
from node.client import AsyncClient
from node.keystore import Keystore
from testnet.bench.temporary import running_network
from testnet.cli import open_faucet
from testnet.create import WALLET_PASSWORD
from testnet.faucet.limits import Limits
from testnet.faucet.process import find_faucet, stop_faucet
from testnet.faucet.server import Settings, serve_faucet
from testnet.network import LocalNetwork
from testnet.processes import free_ports
from testnet.purse import Purse

pytestmark = pytest.mark.network
GIFT = 5_000_000
LIMITS = Limits(window=600, each_account=2, each_prefix=24)


@pytest.fixture
def network() -> Any:
    with running_network(1, senders=0) as running:
        yield running


@pytest.fixture
async def faucet(network: LocalNetwork, nursery: trio.Nursery) -> AsyncIterator[httpx.AsyncClient]:
    key = Keystore(network.root / "wallets" / "keys").open("faucet", WALLET_PASSWORD).key
    settings = Settings(key, network.members[0].url, network.manifest.chain_id, GIFT, LIMITS, "::1", 0)
    port = await nursery.start(serve_faucet, settings)
    async with httpx.AsyncClient(base_url=f"http://[::1]:{port}", trust_env=False, timeout=40) as client:
        yield client


async def reason(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["error"]["reason"])


async def test_the_faucet(network: LocalNetwork, faucet: httpx.AsyncClient, nursery: trio.Nursery) -> None:
    offer = (await faucet.get("/")).json()
    assert (offer["chain_id"], offer["amount"], offer["each_account"]) == (network.manifest.chain_id, str(GIFT), 2)
    people = [SecretKey.generate() for _ in range(20)]
    names = [encode_address(key.address) for key in people]
    answers: dict[str, Any] = {}

    async def ask(name: str) -> None:
        answers[name] = (await faucet.post("/give", json={"address": name, "wait": True})).json()

    async with trio.open_nursery() as crowd:
        for name in names:
            crowd.start_soon(ask, name)
    assert {answer["amount"] for answer in answers.values()} == {str(GIFT)}
    assert all(int(answer["height"]) > 0 for answer in answers.values())
    assert len({answer["txid"] for answer in answers.values()}) < len(names)  # those who waited shared a transaction
    async with AsyncClient(network.members[0].url) as client:
        assert [await Purse("one", key, client).balance() for key in people] == [GIFT] * len(people)
    asked = (await faucet.post("/give", json={"address": names[0]})).json()
    assert asked["height"] == "" and asked["txid"]
    assert await reason(await faucet.post("/give", json={"address": names[0]}), 429) == "rate_limited"
    assert await reason(await faucet.post("/give", json={"address": "nx1nonsense"}), 400) == "bad_address"
    for wrong in (b"", b"{", b"[]", b'{"address": 5}', b'{"address": "a", "more": 1}', b"[" * 4000):
        assert await reason(await faucet.post("/give", content=wrong), 400) == "malformed"
    assert await reason(await faucet.post("/give", content=b" " * 5000), 413) == "too_large"
    assert await reason(await faucet.get("/give"), 405) == "unknown_method"
    assert await reason(await faucet.get("/other"), 404) == "unknown_method"
    for key in [SecretKey.generate() for _ in range(3)]:
        last = await faucet.post("/give", json={"address": encode_address(key.address), "wait": True})
        assert last.status_code == 200
    stranger = encode_address(SecretKey.generate().address)
    assert await reason(await faucet.post("/give", json={"address": stranger}), 429) == "rate_limited"


async def test_without_its_node_it_says_so_and_nothing_counts(network: LocalNetwork, faucet: httpx.AsyncClient) -> None:
    name = encode_address(SecretKey.generate().address)
    network.stop("node0")
    for _ in range(3):
        assert await reason(await faucet.post("/give", json={"address": name}), 503) == "unreachable"
    network.start("node0")
    answer = httpx.Response(503)
    with trio.fail_after(60):
        while answer.status_code == 503:
            answer = await faucet.post("/give", json={"address": name, "wait": True})
            await trio.sleep(0.2)
    assert answer.json()["amount"] == str(GIFT)


async def test_money_of_another_chain_and_an_empty_purse(network: LocalNetwork, nursery: trio.Nursery) -> None:
    rich = Keystore(network.root / "wallets" / "keys").open("faucet", WALLET_PASSWORD).key
    url, chain_id = network.members[0].url, network.manifest.chain_id
    name = encode_address(SecretKey.generate().address)
    for key, chain, status, why in (
        (rich, "00" * 32, 400, "wrong_chain"), (SecretKey.generate(), chain_id, 503, "insufficient_funds"),
    ):
        port = await nursery.start(serve_faucet, Settings(key, url, chain, GIFT, LIMITS, "::1", 0))
        async with httpx.AsyncClient(base_url=f"http://[::1]:{port}", trust_env=False) as client:
            assert await reason(await client.post("/give", json={"address": name}), status) == why


def test_its_process_is_found_and_stopped(network: LocalNetwork) -> None:
    open_faucet(network.root, free_ports(1, socket.SOCK_STREAM)[0])
    found = find_faucet(network.root)
    assert found is not None and httpx.get(found.url, trust_env=False).json()["each_account"] == 3
    stop_faucet(network.root)
    assert find_faucet(network.root) is None
