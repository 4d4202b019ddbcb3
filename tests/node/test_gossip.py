"""What may be passed on by gossip, what its words lead to, and who needs to be told over STOQ besides."""

import pytest

from consensus.evidence import duplicate_vote
from consensus.signing import SchemeVerifier
from consensus.types import Vote, VoteKind, vote_sign_bytes
from crypto.errors import Reason
from crypto.keys import SecretKey
from node.gossip import TOPICS_OF_ROLE, ContentRules
from node.hearsay import ASK_EVERY, ASKS, Hearsay
from p2p.gossip.topics import (
    EvidenceAnnouncement,
    LearningAnnouncement,
    Stage,
    Topic,
    announce_block,
    announce_learning,
)
from p2p.wire import TransactionBatch
from state.encoding import encode
from state.params import ChainParams
from state.transaction import Body, Call, Message, Witness, assemble, sign_digest
from state.types import Address, Amount, BlockId, ChainId, Height, Index, Round

CHAIN, OTHER = ChainId(b"\x07" * 32), ChainId(b"\x08" * 32)
KEY, NODE = SecretKey.generate(), SecretKey.generate()
BLOCK = BlockId(b"\x05" * 32)


def rules(difficulty: int = 0) -> ContentRules:
    return ContentRules(CHAIN, ChainParams(difficulty=difficulty), SchemeVerifier())


def verdict(topic: Topic, message: bytes, of: ContentRules | None = None) -> Reason | None:
    """Return why a message is not passed on; None if it is."""
    judge = of or rules()
    good = judge.validators(tuple(Topic))[topic](message)
    assert good == (not judge.refusals)
    return None if good else next(iter(judge.refusals))


def transaction(chain: ChainId = CHAIN, reveal: bool = True, signer: SecretKey = KEY, spoil: bool = False) -> bytes:
    call = Call(Address(KEY.address), 0, 10_000, (Message("token/transfer", b"x"),))
    body = Body(1, chain, bytes(32), Height(100), 0, Amount(2000), call)
    signature = signer.sign(sign_digest(encode(body)))
    if spoil:
        signature = signature[:-1] + bytes([signature[-1] ^ 1])
    return assemble(body, (Witness(Address(KEY.address), signer.public_key if reveal else b"", signature),))


def batch(*raws: bytes) -> bytes:
    return encode(TransactionBatch(raws))


def test_transactions_are_judged_by_their_bytes() -> None:
    good = transaction()
    assert verdict(Topic.TRANSACTIONS, batch(good)) is None
    assert verdict(Topic.TRANSACTIONS, batch(transaction(reveal=False))) is None  # its key is on chain: not for here
    assert verdict(Topic.TRANSACTIONS, batch(transaction(reveal=False, spoil=True))) is None
    assert verdict(Topic.TRANSACTIONS, batch()) is Reason.MALFORMED
    assert verdict(Topic.TRANSACTIONS, b"\x00") is Reason.MALFORMED
    assert verdict(Topic.TRANSACTIONS, batch(good, good[:-1])) is Reason.MALFORMED
    assert verdict(Topic.TRANSACTIONS, batch(good, transaction(OTHER))) is Reason.WRONG_CHAIN
    assert verdict(Topic.TRANSACTIONS, batch(transaction(spoil=True))) is Reason.BAD_SIGNATURE
    assert verdict(Topic.TRANSACTIONS, batch(transaction(signer=NODE))) is Reason.BAD_KEY
    assert verdict(Topic.TRANSACTIONS, batch(good), rules(difficulty=40)) is Reason.INSUFFICIENT_WORK


def test_a_verdict_does_not_depend_on_bounds_that_an_upgrade_may_move() -> None:
    tight = ContentRules(CHAIN, ChainParams(max_block_gas=1), SchemeVerifier())
    assert verdict(Topic.TRANSACTIONS, batch(transaction()), tight) is None


def test_a_block_is_announced_by_who_signed_it() -> None:
    good = announce_block(NODE, CHAIN, Height(9), BLOCK)
    assert verdict(Topic.BLOCKS, encode(good)) is None
    assert good.announcer.hex() and verdict(Topic.BLOCKS, encode(good) + b"\x00") is Reason.MALFORMED
    assert verdict(Topic.BLOCKS, encode(announce_block(NODE, OTHER, Height(9), BLOCK))) is Reason.WRONG_CHAIN
    assert verdict(Topic.BLOCKS, encode(announce_block(NODE, CHAIN, Height(0), BLOCK))) is Reason.MALFORMED
    forged = type(good)(CHAIN, Height(10), BLOCK, good.node_key, good.signature)
    assert verdict(Topic.BLOCKS, encode(forged)) is Reason.BAD_SIGNATURE
    odd = type(good)(CHAIN, Height(9), BLOCK, b"\x02" + good.node_key[1:], good.signature)
    assert verdict(Topic.BLOCKS, encode(odd)) is Reason.BAD_KEY


def vote(block_id: BlockId, key: SecretKey = KEY) -> Vote:
    signed = vote_sign_bytes(CHAIN, VoteKind.PREVOTE, Height(3), Round(0), block_id)
    return Vote(VoteKind.PREVOTE, Height(3), Round(0), block_id, Index(0), key.sign(signed))


def test_evidence_is_checked_under_the_key_that_comes_with_it() -> None:
    accused = Address(KEY.address)
    good = duplicate_vote(accused, vote(BLOCK), vote(BlockId(b"\x06" * 32)))
    assert verdict(Topic.EVIDENCE, encode(EvidenceAnnouncement(CHAIN, good, KEY.public_key))) is None
    assert verdict(Topic.EVIDENCE, encode(EvidenceAnnouncement(OTHER, good, KEY.public_key))) is Reason.WRONG_CHAIN
    assert verdict(Topic.EVIDENCE, encode(EvidenceAnnouncement(CHAIN, good, NODE.public_key))) is Reason.BAD_KEY
    framed = duplicate_vote(accused, vote(BLOCK), vote(BlockId(b"\x06" * 32), NODE))
    assert verdict(Topic.EVIDENCE, encode(EvidenceAnnouncement(CHAIN, framed, KEY.public_key))) is Reason.BAD_SIGNATURE
    same = duplicate_vote(accused, vote(BLOCK), vote(BLOCK))
    assert verdict(Topic.EVIDENCE, encode(EvidenceAnnouncement(CHAIN, same, KEY.public_key))) is Reason.BAD_EVIDENCE


def test_an_announcement_of_learning_is_signed_and_shows_work() -> None:
    good = announce_learning(NODE, CHAIN, bytes(32), Round(4), Stage.UPDATE, b"\x01" * 32, 1000)
    assert verdict(Topic.LEARNING, encode(good)) is None
    lazy = LearningAnnouncement(
        CHAIN, good.task, good.round, good.stage, good.content, good.size, good.work + 1, good.node_key, good.signature
    )
    assert verdict(Topic.LEARNING, encode(lazy)) is Reason.INSUFFICIENT_WORK
    stolen = LearningAnnouncement(
        CHAIN, good.task, good.round, good.stage, good.content, good.size, good.work, KEY.public_key, good.signature
    )
    assert verdict(Topic.LEARNING, encode(stolen)) is Reason.BAD_SIGNATURE


# ---- word of blocks


def test_an_announced_block_is_asked_for_at_once_and_then_a_few_times() -> None:
    words = Hearsay()
    assert not words.heard(Height(5), Height(5), False, 1000)
    assert words.heard(Height(6), Height(5), False, 1000)
    assert words.expects(Height(5)) and not words.expects(Height(6))
    assert [words.unanswered(Height(5)) for _ in range(ASKS + 2)] == [True] * ASKS + [False] * 2
    assert not words.expects(Height(5))


def test_who_announces_what_is_not_there_costs_one_frame_in_a_while() -> None:
    words = Hearsay()
    asked = sum(words.heard(Height(10**9 + n), Height(5), False, 1000 + n) for n in range(10 * ASK_EVERY))
    assert asked == 10
    assert words.heard(Height(6), Height(5), False, 10_000)  # the truth is heard among the lies


def test_a_block_whose_round_is_under_way_here_is_not_asked_for_at_once() -> None:
    words = Hearsay()
    assert not words.heard(Height(6), Height(5), True, 1000)
    assert words.unanswered(Height(5))  # but at the next look


@pytest.mark.parametrize("role", ["validator", "guarded"])
def test_validators_run_no_libp2p(role: str) -> None:
    assert role not in TOPICS_OF_ROLE
