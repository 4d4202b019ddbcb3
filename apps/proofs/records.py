"""Records of the four proofs.

    key                              value
    proofs/params                    ProofParams
    proofs/epoch                     Epoch: the one of the next block
    proofs/given/ operator           Given: when an operator last gave each proof
    proofs/space/ account            SpaceRecord: an account's last accepted answer from a plot
    proofs/free/ operator name       epoch in which an operator last used its free message of that name

A proof is *given* in the epoch of the block that holds its message. Epochs count blocks, so a chain that stands still
asks for nothing and nobody misses anything.
"""

from typing import Annotated, Final

from msgspec import Meta

from apps.chain.records import load, required
from state.changes import Overlay, Reader
from state.encoding import Codec, Record, encode
from state.ledger import read_number
from state.params import ProofParams
from state.records import encode_amount
from state.types import Address, Unsigned

PARAMS: Final = b"proofs/params"
EPOCH: Final = b"proofs/epoch"
GIVEN: Final = b"proofs/given/"
SPACE: Final = b"proofs/space/"
FREE: Final = b"proofs/free/"

FULL: Final = 2
"""Halves of the whole power."""
MISSES: Final = 2
"""Complete epochs in a row without a proof after which its share of the power is gone."""
SPACE_EPOCHS: Final = 2
"""Epochs for which an accepted answer counts as a transaction's WHERE: its own and the next."""


class Epoch(Record, frozen=True):
    """The epoch of the next block.

    Attributes:
        number: from 0.
        weak: its beacon was not made by the delay function, so that the last proposers could choose among some.
        seed: id of the last block before the epoch (the chain id before the first), from the epoch's first block on;
            empty until then. The delay function runs over it while the epoch goes on.
        beacon: of the next epoch, once somebody showed the delay function's output; empty until then.
    """

    number: Unsigned
    weak: bool
    seed: Annotated[bytes, Meta(max_length=32)]
    beacon: Annotated[bytes, Meta(max_length=32)]


class Given(Record, frozen=True):
    """The epoch in which an operator last gave each proof, plus one; 0 stands for before the first epoch."""

    space: Unsigned
    work: Unsigned


class SpaceRecord(Record, frozen=True):
    """An accepted answer: in which epoch, from which of the account's plots, and that plot's size."""

    epoch: Unsigned
    index: Unsigned
    k: Unsigned


_params_codec: Final = Codec(ProofParams)
_epoch_codec: Final = Codec(Epoch)
_given_codec: Final = Codec(Given)
_space_codec: Final = Codec(SpaceRecord)


def proof_params(reader: Reader) -> ProofParams:
    """Return which proofs the chain asks for. Raises Refused(CORRUPT_DATABASE) in a state without genesis."""
    return _params_codec.decode(required(reader, PARAMS))


def set_proof_params(state: Overlay, new: ProofParams) -> None:
    """Write which proofs the chain asks for."""
    state.put(PARAMS, encode(new))


# ---- epochs


def epoch(reader: Reader) -> Epoch:
    """Return the epoch of the next block; inside a block, once it began, its own."""
    return _epoch_codec.decode(required(reader, EPOCH))


def set_epoch(state: Overlay, new: Epoch) -> None:
    """Write the epoch of the next block."""
    state.put(EPOCH, encode(new))


# ---- what validators gave


def given(reader: Reader, operator: Address) -> Given | None:
    """Return when an operator last gave each proof; None if it never gave any and is no validator of genesis."""
    value = reader.get(GIVEN + operator)
    return None if value is None else _given_codec.decode(value)


def set_given(state: Overlay, operator: Address, new: Given) -> None:
    """Write when an operator last gave each proof."""
    state.put(GIVEN + operator, encode(new))


def halves(reader: Reader, operator: Address) -> int:
    """Return how much of its bonded stake an operator votes with, in halves: FULL, 1 or 0.

    The power is shared evenly among the proofs of space and work that the chain asks for. A proof counts unless the
    last MISSES complete epochs are without it; it counts again from the moment that it is given. Who is new has none
    until it gives them. A chain that asks for neither gives FULL.
    """
    rules = proof_params(reader)
    if not rules.space_k and not rules.work_bits:
        return FULL
    last = given(reader, operator)
    if last is None:
        return 0
    needed = epoch(reader).number - MISSES + 1
    counts = []
    if rules.space_k:
        counts.append(last.space >= needed)
    if rules.work_bits:
        counts.append(last.work >= needed)
    return FULL * sum(counts) // len(counts)


# ---- space


def space_record(reader: Reader, account: Address) -> SpaceRecord | None:
    """Return an account's last accepted answer, however old."""
    value = reader.get(SPACE + account)
    return None if value is None else _space_codec.decode(value)


def set_space_record(state: Overlay, account: Address, new: SpaceRecord) -> None:
    """Write an account's accepted answer."""
    state.put(SPACE + account, encode(new))


def has_space(reader: Reader, account: Address, now: int) -> bool:
    """Tell whether an account's space record is of the epoch `now` or the one before."""
    found = space_record(reader, account)
    return found is not None and found.epoch > now - SPACE_EPOCHS


# ---- free messages


def free_used(reader: Reader, operator: Address, name: str, now: int) -> bool:
    """Tell whether an operator already had its free message of this name in epoch `now`."""
    return read_number(reader, _free_key(operator, name)) == now + 1


def use_free(state: Overlay, operator: Address, name: str, now: int) -> None:
    """Remember that an operator had its free message of this name in epoch `now`."""
    state.put(_free_key(operator, name), encode_amount(now + 1))


def _free_key(operator: Address, name: str) -> bytes:
    return FREE + operator + name.encode()


# ---- transactions


class Demands(Record, frozen=True):
    """What the chain asks of a transaction besides signatures and fee.

    Attributes:
        epoch: of the block that it would be in.
        where: it has to name a space record.
        difficulty: leading zero bits of its hashcash, if its anchor is the last block.
    """

    epoch: int
    where: bool
    difficulty: int


def demands(reader: Reader) -> Demands:
    """Return what the chain asks of transactions now."""
    return Demands(epoch(reader).number, bool(proof_params(reader).where), load(reader).difficulty)
