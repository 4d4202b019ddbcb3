"""Labelled SHA3-256: the one place that owns every domain-separation label.

`H(label, data) = SHA3-256(len(label) as one byte || label || data)`. No label is a prefix of another with its
length byte, so a hash made for one purpose never stands for another. A caller that hashes several values
encodes them canonically first (`state.encoding`), or concatenates values of fixed size.
"""

import hashlib
from collections.abc import Callable
from enum import Enum


class Label(Enum):
    """What a hash or a signature is for."""

    TX = b"nexus/tx/1"  # body bytes -> txid
    WTX = b"nexus/wtx/1"  # whole transaction -> wtxid
    TX_SIGN = b"nexus/tx-sign/1"  # body bytes -> what every witness signs
    TX_WORK = b"nexus/tx-work/1"  # body bytes -> hashcash digest
    BLOCK = b"nexus/block/1"  # header -> block id
    VOTE = b"nexus/vote/1"  # what a prevote or precommit signs
    PROPOSAL = b"nexus/proposal/1"  # what a proposer signs
    COMMIT = b"nexus/commit/1"  # commit -> last commit hash
    VALIDATORS = b"nexus/validators/1"  # validator set -> its hash
    EVIDENCE = b"nexus/evidence/1"
    GENESIS = b"nexus/genesis/1"  # genesis document -> chain id
    GENESIS_TERMS = b"nexus/genesis-terms/1"  # rules of a genesis document -> what its first validators agree to
    GENTX = b"nexus/gentx/1"  # a validator's part of a genesis document -> what its operator signs
    BEACON = b"nexus/beacon/1"  # output of the delay function -> beacon of an epoch
    WEAK_BEACON = b"nexus/weak-beacon/1"  # previous beacon, block id -> beacon of an epoch without such an output
    PLOT = b"nexus/plot/1"  # chain id, owner, index -> plot id
    SPACE_CHALLENGE = b"nexus/space-challenge/1"  # beacon, plot id, number -> one challenge to a plot
    WORK = b"nexus/work/1"  # beacon, operator, nonce -> digest of a validator's hashcash
    TIME_CHALLENGE = b"nexus/time-challenge/1"  # chain id, epoch, block id -> where the delay function begins
    ADDRESS = b"nexus/address/1"  # scheme byte and public key -> address
    NODE_ID = b"nexus/node-id/1"  # node's Falcon key -> node id
    ASSET = b"nexus/asset/1"  # issuer and symbol -> asset id
    LOCK = b"nexus/lock/1"
    STATE_KEY = b"nexus/state-key/1"  # raw record key -> place in the state tree
    STATE_LEAF = b"nexus/state-leaf/1"  # record value -> leaf digest
    STATE_PAGE = b"nexus/state-page/1"
    STATE_NODE = b"nexus/state-node/1"
    MERKLE_LEAF = b"nexus/merkle-leaf/1"
    MERKLE_NODE = b"nexus/merkle-node/1"
    RECEIPT = b"nexus/receipt/1"
    CONSENSUS_KEY = b"nexus/consensus-key/1"  # chain id, operator, consensus key -> what that key signs
    ROTATE_KEY = b"nexus/rotate-key/1"  # chain id, account, new public key -> what the new key signs
    KEY_DERIVE = b"nexus/key-derive/1"  # phrase seed and path -> key seed
    KEY_FILE_BOX = b"nexus/key-file-box/1"  # master key from the password, key file's open part -> its box key
    KEY_FILE_CHECKSUM = b"nexus/key-file-checksum/1"
    SEALING_CONTEXT = b"nexus/sealing-context/1"  # info and associated data -> HPKE info
    HYBRID_SIGN = b"nexus/hybrid-sign/1"  # scheme byte, both keys, message -> what both keys sign
    TRANSCRIPT = b"nexus/transcript/1"  # protocol, context -> state of a proof's transcript
    PROOF_NONCES = b"nexus/proof-nonces/1"  # entropy, transcript, witness -> a prover's secret scalars
    BATCH_WEIGHTS = b"nexus/batch-weights/1"  # entropy, transcripts -> a verifier's random weights
    ANONYMOUS_ACCOUNT = b"nexus/anonymous-account/1"  # bytes of an anonymous account -> its id
    KEY_IMAGE = b"nexus/key-image/1"  # key of a ring member -> base of its key image
    CONSTRAINTS = b"nexus/constraints/1"  # counts and constraints of a system -> what its proof is bound to
    ALGEBRAIC_HASH = b"nexus/algebraic-hash/1"  # nothing -> the round constants of `crypto.algebraic`
    SCRIPT_HASH = b"nexus/script-hash/1"  # data -> what the ZkVM's `hash` gives
    NOTE_COPY = b"nexus/note-copy/1"  # outgoing view key, what the note is for -> key of the sender's copy
    VIEW_KEY = b"nexus/view-key/1"  # a wallet's viewing seed, direction -> secret of a view key
    ANONYMOUS_KEY = b"nexus/anonymous-key/1"  # a wallet's viewing seed, what for -> secrets for anonymous accounts
    RING_KEY = b"nexus/ring-key/1"  # a wallet's viewing seed, what for -> secrets for ring coins
    RING_AMOUNTS = b"nexus/ring-amounts/1"  # what is signed, ring signatures -> what the proofs of amounts begin with
    RING_SET = b"nexus/ring-set/1"  # keys of waiting ring coins -> in which order they are cut into rings
    TEXT_CHECKSUM = b"nexus/text-checksum/1"  # prefix and content of a view key or an invoice -> its checksum
    WALLET_INDEX = b"nexus/wallet-index/1"  # incoming view key -> key that seals the wallet's index
    STOQ_AUTH = b"nexus/stoq-auth/1"
    HANDSHAKE = b"nexus/handshake/1"
    PEER_RECORD = b"nexus/peer-record/1"  # what a node says of itself -> what both its keys sign
    PEER_NAME = b"nexus/peer-name/1"  # seed of the node key -> seed of its Ed25519 key
    BLOCK_ANNOUNCEMENT = b"nexus/block-announcement/1"  # chain id, height, block id -> what an announcer signs
    LEARNING_ANNOUNCEMENT = b"nexus/learning-announcement/1"  # its fields -> what an announcer signs; shows its work
    GOSSIP_ID = b"nexus/gossip-id/1"  # topic and content of a gossiped message -> its id
    ADDRESS_BOOK = b"nexus/address-book/1"  # a node's secret and prefixes -> bucket of an address
    SIGN_STATE = b"nexus/sign-state/1"  # checksum of a validator's last-sign state

    def __init__(self, text: bytes) -> None:
        self.prefix = bytes([len(text)]) + text


_sha3 = hashlib.sha3_256


def digest(label: Label, data: bytes) -> bytes:
    """Return the 32-byte labelled hash of `data`."""
    return _sha3(label.prefix + data).digest()


def hasher(label: Label) -> Callable[[bytes], bytes]:
    """Return `digest` with its label bound: for hot paths."""
    prefix = label.prefix

    def labelled(data: bytes) -> bytes:
        return _sha3(prefix + data).digest()

    return labelled
