"""What a validator signed last: the rules, the file, and what it prevents when the log or the data is lost."""

from pathlib import Path

import pytest

from consensus.effects import SignVote
from consensus.types import NIL, Vote, VoteKind, vote_sign_bytes
from crypto.errors import Reason, Refused
from node.last_sign import (
    SignGuard,
    SignState,
    SignStep,
    decode_state,
    encode_state,
    new_state,
    open_guard,
    sign_document,
    state_after,
)
from state.genesis import genesis_hash
from state.memory import MemoryStore
from state.types import Address, BlockId, ChainId, Height, Round
from tests.node.test_core import check_nobody_signed_twice, payment, settled, world
from tests.node.world import Machine, MemoryDocument, MemoryLog, World, fake_signature

KEY = Address(b"\x01" * 32)
CHAIN = ChainId(b"\x02" * 32)
BLOCK, OTHER = BlockId(b"\x03" * 32), BlockId(b"\x04" * 32)


def vote(height: int, round: int, kind: VoteKind, block_id: BlockId = BLOCK, signature: bytes = b"s") -> Vote:
    return Vote(kind, Height(height), Round(round), block_id, 0, signature)


def wish(height: int, round: int, kind: VoteKind, block_id: BlockId = BLOCK) -> SignVote:
    return SignVote(kind, Height(height), Round(round), block_id, 0)


def guard(*votes: Vote) -> SignGuard:
    made = open_guard(MemoryDocument(), KEY, CHAIN, is_new=True)
    for one in votes:
        made.record(one)
    return made


def signed_at(height: int, round: int, kind: VoteKind) -> SignState:
    return state_after(new_state(KEY, CHAIN), vote(height, round, kind))


@pytest.mark.parametrize(
    ("later", "is_later"),
    [
        ((5, 2, VoteKind.PRECOMMIT), True),
        ((5, 3, VoteKind.PREVOTE), True),
        ((6, 0, VoteKind.PREVOTE), True),
        ((5, 2, VoteKind.PREVOTE), False),
        ((5, 1, VoteKind.PRECOMMIT), False),
        ((4, 9, VoteKind.PRECOMMIT), False),
    ],
)
def test_places_only_rise(later: tuple[int, int, VoteKind], is_later: bool) -> None:
    one = guard(vote(5, 2, VoteKind.PREVOTE))
    assert one.permits(wish(*later)) is is_later
    if is_later:
        one.record(vote(*later))
        return
    with pytest.raises(Refused) as caught:
        one.record(vote(*later, OTHER))
    assert caught.value.reason is Reason.DOUBLE_SIGN
    assert one.state == signed_at(5, 2, VoteKind.PREVOTE)


def test_only_the_same_thing_has_the_signature_of_before() -> None:
    one = guard(vote(5, 2, VoteKind.PREVOTE, signature=b"first"))
    assert one.signature_of(wish(5, 2, VoteKind.PREVOTE)) == b"first"
    assert one.signature_of(wish(5, 2, VoteKind.PREVOTE, OTHER)) == b""
    assert one.signature_of(wish(5, 2, VoteKind.PREVOTE, NIL)) == b""
    assert one.signature_of(wish(5, 1, VoteKind.PREVOTE)) == b""


def test_the_lock_is_kept_until_the_height_is_over() -> None:
    lock = vote(5, 1, VoteKind.PRECOMMIT)
    late = vote(5, 2, VoteKind.PREVOTE, NIL)
    one = guard(lock, late)
    assert one.votes_at(5) == (lock, late)
    one.record(vote(5, 2, VoteKind.PRECOMMIT, NIL))
    assert one.votes_at(5) == (lock, vote(5, 2, VoteKind.PRECOMMIT, NIL))
    one.record(vote(5, 3, VoteKind.PRECOMMIT, OTHER))
    assert one.votes_at(5) == (vote(5, 3, VoteKind.PRECOMMIT, OTHER),)
    one.record(vote(6, 0, VoteKind.PREVOTE))
    assert one.votes_at(6) == (vote(6, 0, VoteKind.PREVOTE),)


def test_a_height_can_be_named_up_to_which_nothing_is_signed() -> None:
    state = new_state(KEY, CHAIN, passed=7)
    one = SignGuard(MemoryDocument(), state)
    assert not one.permits(wish(7, 90, VoteKind.PRECOMMIT))
    assert one.permits(wish(8, 0, VoteKind.PREVOTE))


def test_what_the_log_alone_knows_is_learnt() -> None:
    one = guard(vote(5, 0, VoteKind.PREVOTE))
    one.learn([vote(5, 1, VoteKind.PREVOTE, NIL), vote(5, 0, VoteKind.PRECOMMIT), vote(5, 0, VoteKind.PREVOTE, OTHER)])
    assert one.state.place == (5, 1, SignStep.PREVOTE)
    assert one.votes_at(5) == (vote(5, 0, VoteKind.PRECOMMIT), vote(5, 1, VoteKind.PREVOTE, NIL))


# ---- the file


def test_the_file_is_replaced_as_a_whole_and_private(tmp_path: Path) -> None:
    file = sign_document(tmp_path / "state")
    assert file.read() == b""
    file.replace(b"old")
    file.replace(b"new")
    assert file.read() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0


def test_every_damaged_bit_and_length_is_noticed() -> None:
    raw = encode_state(signed_at(5, 2, VoteKind.PRECOMMIT))
    damaged = [raw[:length] for length in range(len(raw))] + [raw + b"\0"]
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for wrong in damaged:
        with pytest.raises(Refused) as caught:
            decode_state(wrong)
        assert caught.value.reason is Reason.BAD_SIGN_STATE
    assert decode_state(raw) == signed_at(5, 2, VoteKind.PRECOMMIT)


@pytest.mark.parametrize(
    ("key", "chain_id", "exported", "reason"),
    [
        (Address(b"\x09" * 32), CHAIN, False, Reason.BAD_SIGN_STATE),
        (KEY, ChainId(b"\x09" * 32), False, Reason.BAD_SIGN_STATE),
        (KEY, CHAIN, True, Reason.SIGN_STATE_EXPORTED),
    ],
)
def test_the_state_of_another_does_not_open(key: Address, chain_id: ChainId, exported: bool, reason: Reason) -> None:
    state = SignState(key, chain_id, Height(1), Round(0), SignStep.NOTHING, NIL, -1, b"", (), exported)
    with pytest.raises(Refused) as caught:
        open_guard(MemoryDocument(encode_state(state)), KEY, CHAIN, is_new=True)
    assert caught.value.reason is reason


def test_a_missing_file_is_made_for_a_new_chain_only() -> None:
    file = MemoryDocument()
    open_guard(file, KEY, CHAIN, is_new=True)
    assert decode_state(file.content) == new_state(KEY, CHAIN)
    with pytest.raises(Refused) as caught:
        open_guard(MemoryDocument(), KEY, CHAIN, is_new=False)
    assert caught.value.reason is Reason.BAD_SIGN_STATE


# ---- in a network


def crash_after(made: World, victim: Machine, sent: int) -> None:
    """Let the network run until a machine has sent so many votes of its own, and end its life."""
    index = victim.core.chain.tip.validators.index_of(decode_state(victim.last_sign.content).key)

    def own() -> int:
        said = [one for name, one in made.sent if name == victim.name and isinstance(one, Vote)]
        return sum(vote.validator == index for vote in said)

    made.submit(made.machines[1], [payment(0)])
    made.run(lambda: own() >= sent)
    made.crash(victim)


@pytest.mark.parametrize("sent", range(1, 4))
def test_a_validator_that_lost_its_log_signs_nothing_twice(sent: int) -> None:
    made = world()
    victim = made.machines[0]
    crash_after(made, victim, sent)
    victim.log = MemoryLog()
    made.start(victim)
    made.submit(made.machines[2], [payment(1)])
    made.run(lambda: settled(made, 3), limit=120_000)
    check_nobody_signed_twice(made)


def test_all_lose_their_logs_and_go_on_without_signing_twice() -> None:
    made = world()
    made.submit(made.machines[0], [payment(0)])
    made.run(lambda: any(machine.core.chain.height for machine in made.machines))
    for machine in made.machines:
        made.crash(machine)
        machine.log = MemoryLog()
    for machine in made.machines:
        made.start(machine)
    made.run(lambda: settled(made, 2), limit=120_000)
    check_nobody_signed_twice(made)


def test_an_older_data_folder_does_not_make_a_validator_sign_again() -> None:
    made = world()
    victim = made.machines[0]
    made.submit(made.machines[1], [payment(0)])
    made.run(lambda: settled(made, 2))
    old_log = MemoryLog(victim.log.synced, victim.log.synced)
    rows = dict(victim.store.scan(b"", b"\xff" * 64))
    made.submit(made.machines[1], [payment(1)])
    made.run(lambda: settled(made, 4))
    made.crash(victim)
    for key, _ in list(victim.store.scan(b"", b"\xff" * 64)):
        victim.store.write([(key, None)])
    victim.store.write(list(rows.items()))
    victim.log = old_log
    made.start(victim)
    assert victim.core.chain.height == 2
    made.submit(made.machines[2], [payment(2)])
    made.run(lambda: settled(made, 6), limit=120_000)
    check_nobody_signed_twice(made)


def test_the_state_learns_from_a_log_that_is_ahead_of_it() -> None:
    """The crash came after the log was synced and before the state was written."""
    made = world()
    victim = made.machines[0]
    before = victim.last_sign.content
    crash_after(made, victim, 1)
    victim.last_sign.content = before
    made.start(victim)
    assert decode_state(victim.last_sign.content).height == 1
    assert decode_state(victim.last_sign.content).step is not SignStep.NOTHING


def rest(made: World) -> None:
    """Let the network come to rest."""
    until = made.now + 5000
    made.run(lambda: made.now >= until)


def test_a_lock_at_a_later_height_is_remembered_when_the_chain_gets_there() -> None:
    """The whole data folder is gone: the chain comes from peers, the lock from the last-sign state."""
    made = world()
    victim = made.machines[0]
    made.submit(made.machines[1], [payment(0)])
    rest(made)
    tip = victim.core.chain.tip
    following = Height(tip.height + 1)
    made.crash(victim)
    key = decode_state(victim.last_sign.content).key
    index = tip.validators.index_of(key)
    assert index is not None
    message = vote_sign_bytes(tip.chain_id, VoteKind.PRECOMMIT, following, Round(1), BLOCK)
    lock = Vote(VoteKind.PRECOMMIT, following, Round(1), BLOCK, index, fake_signature(victim.key or b"", message))
    victim.last_sign.content = encode_state(state_after(new_state(key, tip.chain_id, passed=tip.height), lock))
    victim.store, victim.log = MemoryStore(), MemoryLog()
    made.start(victim)
    made.run(lambda: settled(made, tip.height))
    rest(made)
    made.submit(made.machines[2], [payment(1)])
    made.run(lambda: settled(made, following))
    check_nobody_signed_twice(made)
    own = [said for _, said in made.sent if isinstance(said, Vote) and said.validator == index]
    assert {said for said in own if said.height == following} == {lock}


def test_nothing_is_signed_up_to_the_height_that_was_named() -> None:
    made = world()
    victim = made.machines[0]
    made.crash(victim)
    key = decode_state(victim.last_sign.content).key
    victim.last_sign.content = encode_state(new_state(key, genesis_hash(made.genesis), passed=2))
    made.start(victim)
    made.submit(made.machines[1], [payment(0)])
    made.run(lambda: settled(made, 2))
    own_index = victim.core.chain.tip.validators.index_of(key)
    assert not [said for _, said in made.sent if isinstance(said, Vote) and said.validator == own_index]
    assert victim.core.agreement.counters.withheld > 0
    made.submit(made.machines[1], [payment(1)])
    made.run(lambda: settled(made, 3))
    assert {said.height for _, said in made.sent if isinstance(said, Vote) and said.validator == own_index} >= {3}
