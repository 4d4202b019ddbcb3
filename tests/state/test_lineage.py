"""The index of contracts: what follows what, taken back, pruned, and where it begins late."""

from dataclasses import replace

import pytest

from crypto.errors import Reason, Refused
from state.chainstore import ChainOptions
from state.columns import LINEAGE, LINEAGE_NOTES, META, ORIGIN
from state.lineage import Lineage, outpoint_bytes
from state.memory import MemoryStore
from state.receipt import Succession
from state.store import Store
from state.transaction import OutPoint
from state.types import TxId
from tests.state.chains import Chain


def at(number: int) -> OutPoint:
    return OutPoint(TxId(bytes([number]) * 32), number)


def began(made: int) -> Succession:
    return Succession(None, at(made), 0, at(made).txid)


def followed(spent: int, made: int, nonce: int) -> Succession:
    return Succession(at(spent), at(made), nonce, at(made).txid)


def ended(spent: int, nonce: int, by: int) -> Succession:
    return Succession(at(spent), None, nonce, at(by).txid)


def grow(chain: Chain, *successions: Succession) -> None:
    block, result = chain.make(1)
    result = replace(result, successions=successions)
    chain.chain.commit_block(block, result)
    chain.take(block, result)


def known(chain: Chain, number: int, first: int = 0, limit: int = 100) -> Lineage:
    found = chain.chain.lineage_of(at(number), first, limit)
    assert found is not None
    return found


def shown(lineage: Lineage) -> list[tuple[int, int, OutPoint]]:
    return [(one.nonce, one.height, one.outpoint) for one in lineage.versions]


def rows_of(store: Store) -> dict[bytes, bytes]:
    return {key: value for key, value in store.scan(b"", b"\xff" * 80) if key != META}


def test_versions_follow_each_other_over_blocks_and_within_one(store: Store) -> None:
    chain = Chain(store)
    grow(chain, began(1), began(9))
    grow(chain, followed(1, 2, 1), followed(2, 3, 2))
    whole = [(0, 1, at(1)), (1, 2, at(2)), (2, 2, at(3))]
    for number in (1, 2, 3):
        assert shown(known(chain, number)) == whole
        assert known(chain, number).end is None
    page = known(chain, 3, limit=2)
    assert (shown(page), page.next) == (whole[:2], 2)
    assert shown(known(chain, 1, first=2)) == whole[2:]
    assert shown(known(chain, 9)) == [(0, 1, at(9))]
    assert chain.chain.lineage_of(at(8), 0, 9) is None
    grow(chain, ended(3, 3, by=7))
    assert known(chain, 1).end == (3, at(7).txid)
    assert shown(known(chain, 1)) == whole


def test_a_contract_older_than_the_index_begins_with_what_is_spent(store: Store) -> None:
    chain = Chain(store)
    grow(chain, followed(4, 5, 8), ended(6, 3, by=7))
    assert shown(known(chain, 5)) == shown(known(chain, 4)) == [(7, 0, at(4)), (8, 1, at(5))]
    lone = known(chain, 6)
    assert (shown(lone), lone.end) == ([(2, 0, at(6))], (1, at(7).txid))


def test_blocks_that_are_taken_back_leave_nothing(store: Store) -> None:
    chain = Chain(store)
    before = []
    for successions in ((began(1),), (followed(1, 2, 1), followed(2, 3, 2)), (ended(3, 3, by=7), followed(4, 5, 8))):
        before.append(rows_of(store))
        grow(chain, *successions)
    while before:
        rows = before.pop()
        chain.chain.undo_block()
        assert rows_of(store) == rows


def test_pruned_blocks_take_their_entries_along() -> None:
    chain = Chain(MemoryStore(), ChainOptions(keep_undo=1, keep_blocks=3))
    grow(chain, began(1))
    grow(chain, followed(1, 2, 1))
    for _ in range(3):
        grow(chain)
    grow(chain, followed(2, 3, 2))
    assert shown(known(chain, 3))[-1] == (2, 6, at(3))
    for _ in range(4):
        grow(chain)
    index = (LINEAGE, ORIGIN, LINEAGE_NOTES)
    assert not [key for key in rows_of(chain.store) if key[:1] in index]


def test_damaged_rows_are_named(store: Store) -> None:
    chain = Chain(store)
    grow(chain, began(1))
    place = LINEAGE + outpoint_bytes(at(1))
    for key in (place + bytes(8), place + b"\xff" * 8):
        store.write([(key, b"x")])
        with pytest.raises(Refused) as caught:
            chain.chain.lineage_of(at(1), 0, 9)
        assert caught.value.reason is Reason.CORRUPT_DATABASE
