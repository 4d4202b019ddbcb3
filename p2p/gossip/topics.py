"""What gossip carries: the topics, and the announcements on them. Needs no libp2p.

    /nexus/transactions/1   TransactionBatch     transactions that entered the network at a node that is no validator
    /nexus/blocks/1         BlockAnnouncement    a block is final, and its announcer has it
    /nexus/evidence/1       EvidenceAnnouncement a validator broke the rules
    /nexus/learning/1       LearningAnnouncement somebody holds the data of a round of federated learning

A message is at most MAX_MESSAGE bytes; what is larger is pulled by its hash. Whether one is passed on depends on its
bytes alone (form, signature, hashcash): what a height or a state would say of it is for whoever receives it.
"""

from enum import IntEnum, StrEnum
from itertools import count
from typing import Annotated, Final

from msgspec import Meta

from consensus.effects import Verifier
from consensus.evidence import check_signed_by
from consensus.types import Evidence, KeyField
from crypto.errors import Reason, Refused
from crypto.falcon import PUBLIC_KEY_SIZE, SIGNATURE_SIZE
from crypto.hashing import Label, digest
from crypto.keys import SecretKey
from crypto.schemes import Scheme, address_of, verify
from crypto.work import meets
from p2p.address import peer_id_of
from p2p.network import PeerId
from p2p.wire import TransactionBatch
from state.encoding import Codec, Record, encode
from state.types import (
    BlockId,
    BlockIdField,
    ChainId,
    ChainIdField,
    Hash32,
    Height,
    HeightField,
    Round,
    RoundField,
    Unsigned,
)

MAX_MESSAGE: Final = 64 << 10
"""Bytes of one message."""
LEARNING_WORK: Final = 16
"""Leading zero bits of the digest that a LearningAnnouncement signs: about a tenth of a second for one."""
NodeKeyField = Annotated[bytes, Meta(min_length=PUBLIC_KEY_SIZE + 1, max_length=PUBLIC_KEY_SIZE + 1)]
NodeSignatureField = Annotated[bytes, Meta(min_length=SIGNATURE_SIZE + 1, max_length=SIGNATURE_SIZE + 1)]


class Topic(StrEnum):
    """Names of the topics. The chain is in the messages, and every connection is with a node of the same chain."""

    TRANSACTIONS = "/nexus/transactions/1"
    BLOCKS = "/nexus/blocks/1"
    EVIDENCE = "/nexus/evidence/1"
    LEARNING = "/nexus/learning/1"


class BlockAnnouncement(Record, frozen=True):
    """A node says that it holds the final block of a height. `node_key` is the announcer's, scheme Falcon-1024.

    It proves who says so, not that it is so: whoever wants the block asks for it and checks its commit.
    """

    chain_id: ChainIdField
    height: HeightField
    block_id: BlockIdField
    node_key: NodeKeyField
    signature: NodeSignatureField

    @property
    def announcer(self) -> PeerId:
        """The node id of who signed."""
        return peer_id_of(self.node_key)


class EvidenceAnnouncement(Record, frozen=True):
    """Evidence with the consensus key of the accused, so that it can be checked without the state."""

    chain_id: ChainIdField
    evidence: Evidence
    consensus_key: KeyField


class Stage(IntEnum):
    """What a LearningAnnouncement is about."""

    ROUND = 1
    """A round is open; the digest is that of its model."""
    UPDATE = 2
    """A participant's update."""
    MODEL = 3
    """The aggregate of a round."""


class LearningAnnouncement(Record, frozen=True):
    """A node holds `size` bytes with this digest: of a round of a task of federated learning. Small, and signed.

    `work` is chosen so that the digest that is signed begins with LEARNING_WORK zero bits.
    """

    chain_id: ChainIdField
    task: Hash32
    round: RoundField
    stage: Stage
    content: Hash32
    size: Unsigned
    work: Unsigned
    node_key: NodeKeyField
    signature: NodeSignatureField

    @property
    def announcer(self) -> PeerId:
        """The node id of who signed."""
        return peer_id_of(self.node_key)


gossiped_transactions_codec: Final = Codec(TransactionBatch, MAX_MESSAGE)
block_announcement_codec: Final = Codec(BlockAnnouncement, 4096)
evidence_announcement_codec: Final = Codec(EvidenceAnnouncement, MAX_MESSAGE)
learning_announcement_codec: Final = Codec(LearningAnnouncement, 4096)


def block_sign_bytes(chain_id: ChainId, height: Height, block_id: BlockId) -> bytes:
    """Return the 32 bytes that a BlockAnnouncement signs."""
    return digest(Label.BLOCK_ANNOUNCEMENT, encode((chain_id, height, block_id)))


def announce_block(key: SecretKey, chain_id: ChainId, height: Height, block_id: BlockId) -> BlockAnnouncement:
    """Return a signed announcement. Takes up to 12 ms without the native kernel.

    Args:
        key: the node key.
        chain_id: the genesis hash.
        height: of the block.
        block_id: of the block.
    """
    signature = key.sign(block_sign_bytes(chain_id, height, block_id))
    return BlockAnnouncement(chain_id, height, block_id, key.public_key, signature)


def check_block(announcement: BlockAnnouncement, chain_id: ChainId) -> None:
    """Check what the bytes alone show.

    Raises:
        Refused: WRONG_CHAIN, MALFORMED (height 0), BAD_KEY, BAD_SIGNATURE.
    """
    _check_chain(announcement.chain_id, chain_id)
    if not announcement.height:
        raise Refused(Reason.MALFORMED, "nobody announces genesis")
    signed = block_sign_bytes(chain_id, announcement.height, announcement.block_id)
    _check_signature(announcement.node_key, signed, announcement.signature)


def check_announced_evidence(announcement: EvidenceAnnouncement, chain_id: ChainId, verifier: Verifier) -> None:
    """Check what the bytes alone show: that the holder of the key signed what no validator may.

    Whether it was a validator is for whoever knows the height.

    Raises:
        Refused: WRONG_CHAIN, BAD_KEY, BAD_SIGNATURE, BAD_EVIDENCE.
    """
    _check_chain(announcement.chain_id, chain_id)
    if address_of(announcement.consensus_key) != announcement.evidence.validator:
        raise Refused(Reason.BAD_KEY, "the key is not that of the accused")
    check_signed_by(chain_id, announcement.consensus_key, announcement.evidence, verifier)


def learning_sign_bytes(
    chain_id: ChainId, task: bytes, round: Round, stage: Stage, content: bytes, size: int, work: int
) -> bytes:
    """Return the 32 bytes that a LearningAnnouncement signs, and that show its work."""
    body = encode((chain_id, task, round, int(stage), content, size, work))
    return digest(Label.LEARNING_ANNOUNCEMENT, body)


def announce_learning(
    key: SecretKey, chain_id: ChainId, task: bytes, round: Round, stage: Stage, content: bytes, size: int
) -> LearningAnnouncement:
    """Return a signed announcement, with its work done: about a tenth of a second.

    Args:
        key: the node key.
        chain_id: the genesis hash.
        task: 32 bytes, the task's id.
        round: of the task.
        stage: what is announced.
        content: 32 bytes, digest of what this node holds.
        size: its bytes.
    """
    for work in count():
        signed = learning_sign_bytes(chain_id, task, round, stage, content, size, work)
        if meets(signed, LEARNING_WORK):
            break
    return LearningAnnouncement(
        chain_id, task, round, stage, content, size, work, key.public_key, key.sign(signed)
    )


def check_learning(announcement: LearningAnnouncement, chain_id: ChainId) -> None:
    """Check what the bytes alone show.

    Raises:
        Refused: WRONG_CHAIN, INSUFFICIENT_WORK, BAD_KEY, BAD_SIGNATURE.
    """
    one = announcement
    _check_chain(one.chain_id, chain_id)
    signed = learning_sign_bytes(chain_id, one.task, one.round, one.stage, one.content, one.size, one.work)
    if not meets(signed, LEARNING_WORK):
        raise Refused(Reason.INSUFFICIENT_WORK, f"its digest does not begin with {LEARNING_WORK} zero bits")
    _check_signature(one.node_key, signed, one.signature)


def _check_chain(said: ChainId, ours: ChainId) -> None:
    if said != ours:
        raise Refused(Reason.WRONG_CHAIN, f"it is of the chain {said.hex()[:16]}")


def _check_signature(node_key: bytes, signed: bytes, signature: bytes) -> None:
    if node_key[0] != Scheme.FALCON:
        raise Refused(Reason.BAD_KEY, "a node key is of scheme Falcon-1024")
    if not verify(node_key, signed, signature):
        raise Refused(Reason.BAD_SIGNATURE, "the announcer did not sign it")
