"""A testnet's manifest and homes; the order of events that the demo's witness insists on; percentiles."""

import math
from pathlib import Path

import pytest
from msgspec.structs import replace

from crypto.errors import Reason, Refused
from node.api.shapes import HeaderView, ReceiptView
from node.api.stream import BlockEvent, TransactionEvent
from node.api.text import Decimal
from node.config import load_config
from node.home import Home
from node.keystore import Keystore
from state.genesis import check_genesis, genesis_hash
from state.genesis_json import genesis_from_json
from testnet.create import WALLET_PASSWORD, WALLETS, create_network
from testnet.demo import Witness
from testnet.manifest import load_manifest, manifest_path, save_manifest
from testnet.measure import percentile
from testnet.network import LocalNetwork


def test_a_new_testnet_is_consistent(tmp_path: Path) -> None:
    made = create_network(tmp_path, 3, senders=2)
    assert load_manifest(tmp_path) == made
    raws = {Home(tmp_path / member.name).genesis.read_bytes() for member in made.members}
    assert len(raws) == 1
    genesis = genesis_from_json(raws.pop())
    check_genesis(genesis)
    assert genesis_hash(genesis).hex() == made.chain_id
    assert len({validator.public_key for validator in genesis.validators}) == 3
    ports = [port for member in made.members for port in (member.api_port, member.metrics_port)]
    assert len(set(ports)) == 6
    for member in made.members:
        config = load_config(Home(tmp_path / member.name).config, {})
        assert len(config.persistent_peers) == 2
        assert not any(member.peer_id in peer for peer in config.persistent_peers)
    store = Keystore(tmp_path / "wallets" / "keys")
    assert store.names() == tuple(sorted((*WALLETS, *(member.name for member in made.members))))
    held = {balance.owner for balance in genesis.balances}
    assert {store.open(name, WALLET_PASSWORD).address for name in WALLETS} <= held


def test_a_testnet_is_not_made_over_another(tmp_path: Path) -> None:
    create_network(tmp_path, 1, senders=0)
    with pytest.raises(Refused) as caught:
        create_network(tmp_path, 1, senders=0)
    assert caught.value.reason is Reason.HOME_EXISTS


def test_members_by_name_and_number(tmp_path: Path) -> None:
    create_network(tmp_path, 1, senders=0)
    network = LocalNetwork(tmp_path)
    assert network.member("node0") == network.member("0") == network.members[0]
    with pytest.raises(Refused) as caught:
        network.member("1")
    assert caught.value.reason is Reason.USAGE


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"version": 1, "chain_id": "", "members": [{}]}'])
def test_a_damaged_manifest(tmp_path: Path, content: bytes) -> None:
    manifest_path(tmp_path).write_bytes(content)
    with pytest.raises(Refused) as caught:
        load_manifest(tmp_path)
    assert caught.value.reason is Reason.BAD_CONFIG


def test_a_manifest_of_another_version(tmp_path: Path) -> None:
    save_manifest(tmp_path, replace(create_network(tmp_path, 1, senders=0), version=99))
    with pytest.raises(Refused) as caught:
        load_manifest(tmp_path)
    assert caught.value.reason is Reason.BAD_CONFIG


def block(height: int, transactions: int) -> BlockEvent:
    zero, who = "00" * 32, "nx1"
    header = HeaderView(
        block_id=zero, version=1, chain_id=zero, height=Decimal(height), time=Decimal(0), proposer=who, previous=zero,
        last_commit_hash=zero, transactions_root=zero, state_root=zero, receipts_root=zero, validators_hash=zero,
        next_validators_hash=zero, evidence_root=zero, beacon=zero,
    )
    return BlockEvent(id="x", height=Decimal(height), index=0, header=header, transactions=transactions, events=[])


def transaction(height: int, index: int) -> TransactionEvent:
    receipt = ReceiptView(
        txid="", wtxid="", height=Decimal(height), index=index - 1, reason="", detail="", fee=Decimal(0),
        gas_wanted=Decimal(0), gas_used=Decimal(0), events=[],
    )
    return TransactionEvent(id="x", height=Decimal(height), index=index, receipt=receipt)


@pytest.mark.parametrize(("events", "good"), [
    ([block(1, 2), transaction(1, 1), transaction(1, 2), block(2, 0), block(3, 0)], True),
    ([block(1, 2), transaction(1, 2), transaction(1, 1)], False),
    ([block(1, 2), transaction(1, 1), block(2, 0)], False),
    ([block(1, 0), block(3, 0)], False),
    ([block(2, 0)], False),
    ([block(1, 1), transaction(1, 1), transaction(1, 1)], False),
    ([block(1, 0), block(2, 1), transaction(1, 1)], False),
])
def test_the_witness_sees_gaps_and_wrong_order(events: list[BlockEvent | TransactionEvent], good: bool) -> None:
    witness = Witness()
    for event in events:
        witness.hear(event)
    assert (not witness.faults) is good


def test_percentile() -> None:
    values = [float(number) for number in range(100)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([3.0], 0.99) == 3
    assert math.isnan(percentile([], 0.5))
