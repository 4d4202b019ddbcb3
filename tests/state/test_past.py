"""Proofs of old states lead to the roots that were theirs."""

import pytest

from crypto.errors import Reason, Refused
from state.chainstore import ChainOptions
from state.memory import MemoryStore
from state.past import PastState
from state.proof import verify_state_proof
from state.tree import TreeLimits
from state.types import Height
from tests.state.chains import Chain

SHORT = ChainOptions(tree=TreeLimits(heights=2))
GROWTH = (3, 0, 33, 32, 5, 60, 1, 20)


def grown(store: MemoryStore) -> tuple[Chain, list[bytes], set[bytes]]:
    chain = Chain(store, SHORT, 7)
    roots, keys = [chain.chain.state_root], {b"never there"}
    for transactions in GROWTH:
        chain.grow(transactions=transactions)
        roots.append(chain.chain.state_root)
        keys |= set(chain.chain.changes_at(chain.chain.height).entries)
    return chain, roots, keys


def past(chain: Chain, height: int, most: int = 10_000) -> PastState:
    frozen = chain.chain.freeze()
    since = (chain.chain.changes_at(Height(other)) for other in range(height + 1, frozen.height + 1))
    return PastState(frozen, Height(height), since, most)


def test_every_record_and_every_absence_is_proven_at_every_height() -> None:
    chain, roots, keys = grown(MemoryStore())
    absent = 0
    for height in range(len(GROWTH)):
        state = past(chain, height)
        assert state.root == roots[height]
        for key in keys:
            value = verify_state_proof(roots[height], key, state.prove(key))
            assert value == chain.chain.value_at(key, height)
            absent += value is None
        state.close()
    assert absent > len(keys)


def test_it_stays_while_the_chain_goes_on() -> None:
    chain, roots, keys = grown(MemoryStore())
    state = past(chain, 2)
    for _ in range(3):
        chain.grow(transactions=30)
    for key in keys:
        verify_state_proof(roots[2], key, state.prove(key))
    state.close()


def test_too_many_changes_are_refused() -> None:
    chain, _, _ = grown(MemoryStore())
    with pytest.raises(Refused) as caught:
        past(chain, 1, most=20)
    assert caught.value.reason is Reason.NOT_AVAILABLE
