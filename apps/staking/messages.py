"""Messages of the staking module. The sender of a call is the operator, or the delegator; money is in unxs, from 1."""

from typing import Annotated, Final

from msgspec import Meta

from consensus.types import MAX_SIGNATURE, KeyField
from crypto.hashing import Label, digest
from state.encoding import Record
from state.params import BasisPoints
from state.types import AddressField, AmountField, ChainId

MAX_MONIKER: Final = 64

MonikerField = Annotated[str, Meta(min_length=1, max_length=MAX_MONIKER)]
ProofField = Annotated[bytes, Meta(max_length=MAX_SIGNATURE)]


class CreateValidator(Record, frozen=True):
    """staking/create_validator: become an operator, with stake of one's own.

    `proof` is a signature by the consensus key over `possession_digest`: nobody votes with a key that is another's.
    """

    public_key: KeyField
    proof: ProofField
    moniker: MonikerField
    commission: BasisPoints
    amount: AmountField


class EditValidator(Record, frozen=True):
    """staking/edit_validator: replace the operator's name and commission."""

    moniker: MonikerField
    commission: BasisPoints


class Delegate(Record, frozen=True):
    """staking/delegate: bond stake with an operator."""

    operator: AddressField
    amount: AmountField


class Redelegate(Record, frozen=True):
    """staking/redelegate: move stake from one operator to another without a pause."""

    source: AddressField
    target: AddressField
    amount: AmountField


class Unbond(Record, frozen=True):
    """staking/unbond: take stake back; it comes into the balance by itself after the unbonding period."""

    operator: AddressField
    amount: AmountField


class Claim(Record, frozen=True):
    """staking/claim: take the rewards that stake with an operator has earned; the operator takes the commission too."""

    operator: AddressField


class RotateKey(Record, frozen=True):
    """staking/rotate_key: vote with another consensus key from the next epoch on. `proof` as in CreateValidator."""

    public_key: KeyField
    proof: ProofField


def possession_digest(chain_id: ChainId, operator: bytes, public_key: bytes) -> bytes:
    """Return what a consensus key signs for its operator: H("consensus-key", chain id || operator || public key)."""
    return digest(Label.CONSENSUS_KEY, chain_id + operator + public_key)
