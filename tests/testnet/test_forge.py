"""Forged chains: they are what a node that catches up would take, and a home goes on with them."""

from pathlib import Path

import pytest

from consensus.block import check_committed_block
from consensus.signing import SchemeVerifier
from crypto.errors import Reason, Refused
from node.chain import Chain, open_chain
from node.home import Home
from node.last_sign import SignStep
from node.node import load_genesis
from node.sign_export import read_state
from state.leveldb import LevelDB
from state.memory import MemoryStore
from state.transaction import Decoded, decode_transaction, sign_digest
from state.types import Height
from testnet.create import WALLET_COINS, WALLETS
from testnet.forge import Plan, forge
from testnet.manifest import load_manifest
from testnet.senders import COINS_EACH, SENDERS

GENESIS_COINS = len(WALLETS) * WALLET_COINS + SENDERS * COINS_EACH


def follow(home: Home) -> Chain:
    """Take over a home's chain block by block, with all checks of a node that catches up."""
    store = LevelDB.open(home.chain)
    source = open_chain(store, load_genesis(home))
    chain = open_chain(MemoryStore(), source.genesis)
    verifier = SchemeVerifier()

    def holds(decoded: Decoded, keys: tuple[bytes, ...]) -> bool:
        message, witnesses = sign_digest(decoded.transaction.body), decoded.transaction.witnesses
        return all(verifier.verify(key, message, one.signature) for key, one in zip(keys, witnesses, strict=True))

    while chain.height < source.height:
        synced = source.block(Height(chain.height + 1))
        check_committed_block(chain.tip, synced.block, synced.commit, verifier)
        decoded = tuple(decode_transaction(raw) for raw in synced.block.transactions)
        chain.commit(chain.execute(synced.block, decoded, holds, verifier), synced.commit)
    assert chain.tip.state_root == source.tip.state_root
    store.close()
    return chain


def test_a_signed_chain_passes_every_check_of_a_node_that_catches_up(tmp_path: Path) -> None:
    heights: list[int] = []
    made = forge(tmp_path, Plan(8, validators=2, payments=2, outputs=500), lambda height, _what: heights.append(height))
    manifest = load_manifest(tmp_path)
    homes = [Home(tmp_path / member.name) for member in manifest.members]
    chains = [follow(home) for home in homes]
    assert [chain.tip.state_root.hex() for chain in chains] == [made.state_root] * 2
    assert [chain.tip.block_id.hex() for chain in chains] == [made.block_id] * 2
    assert made.height == 8 and made.transactions == 3 + 7 * 2
    assert made.outputs == chains[0].store.output_counts.coins == GENESIS_COINS + 500
    assert sorted(set(heights)) == list(range(9))
    for home in homes:
        state = read_state(home)
        assert state.place == (8, 0, SignStep.PRECOMMIT) and len(state.votes) == 1


def test_an_unsigned_chain_opens_and_nobody_else_takes_it_over(tmp_path: Path) -> None:
    made = forge(tmp_path, Plan(3, payments=1, signed=False))
    home = Home(tmp_path / "node0")
    store = LevelDB.open(home.chain)
    chain = open_chain(store, load_genesis(home))
    assert (chain.height, chain.tip.state_root.hex()) == (3, made.state_root)
    store.close()
    with pytest.raises(Refused) as caught:
        follow(home)
    assert caught.value.reason is Reason.BAD_SIGNATURE


def test_outputs_that_do_not_fit_and_a_folder_in_use_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        forge(tmp_path / "a", Plan(1, outputs=1_000_000))
    assert caught.value.reason is Reason.USAGE
    assert not (tmp_path / "a").exists()
    forge(tmp_path / "b", Plan(1))
    with pytest.raises(Refused) as caught:
        forge(tmp_path / "b", Plan(1))
    assert caught.value.reason is Reason.HOME_EXISTS
