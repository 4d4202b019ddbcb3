"""Messages of the token module.

Amounts are in the asset's smallest unit, from 1; `asset` is empty for the native token.
The sender of the call is the account that pays, owns, spends or issues.
"""

from typing import Annotated

from msgspec import Meta

from state.encoding import Record
from state.records import MAX_DECIMALS, MAX_SYMBOL
from state.transaction import MAX_INPUTS, MAX_OUTPUTS, OutPoint
from state.types import AddressField, AmountField, AssetField, Hash32, HeightField


class Transfer(Record, frozen=True):
    """token/transfer: pay from the sender's balance."""

    asset: AssetField
    to: AddressField
    amount: AmountField


class Approve(Record, frozen=True):
    """token/approve: let `spender` take up to `amount` from the sender's balance; replaces what was approved before."""

    asset: AssetField
    spender: AddressField
    amount: AmountField


class TransferFrom(Record, frozen=True):
    """token/transfer_from: pay from the balance of `owner`, who approved the sender."""

    asset: AssetField
    owner: AddressField
    to: AddressField
    amount: AmountField


class Lock(Record, frozen=True):
    """token/lock: put an amount out of the sender's own reach until a height."""

    asset: AssetField
    amount: AmountField
    release_height: HeightField


class Unlock(Record, frozen=True):
    """token/unlock: take a lock's amount back into the balance."""

    lock_id: Hash32


class Issue(Record, frozen=True):
    """token/issue: make a new asset and credit its first supply to the sender, who is its issuer from then on."""

    symbol: Annotated[str, Meta(min_length=1, max_length=MAX_SYMBOL)]
    decimals: Annotated[int, Meta(ge=0, le=MAX_DECIMALS)]
    supply: AmountField
    mintable: bool
    burnable: bool
    freezable: bool


class Mint(Record, frozen=True):
    """token/mint: the issuer makes more of a mintable asset."""

    asset: AssetField
    to: AddressField
    amount: AmountField


class Burn(Record, frozen=True):
    """token/burn: destroy an amount of a burnable asset from the sender's balance."""

    asset: AssetField
    amount: AmountField


class Freeze(Record, frozen=True):
    """token/freeze: the issuer of a freezable asset stops an account from moving it."""

    asset: AssetField
    account: AddressField


class Thaw(Record, frozen=True):
    """token/thaw: the issuer lets a frozen account move the asset again."""

    asset: AssetField
    account: AddressField


class NewCoin(Record, frozen=True):
    """One coin that a deposit makes."""

    owner: AddressField
    amount: AmountField


class Deposit(Record, frozen=True):
    """token/deposit: turn an amount of the sender's balance into coins, for anybody."""

    asset: AssetField
    coins: Annotated[tuple[NewCoin, ...], Meta(min_length=1, max_length=MAX_OUTPUTS)]


class Withdraw(Record, frozen=True):
    """token/withdraw: turn coins that the sender owns into balance. They may be of several assets."""

    inputs: Annotated[tuple[OutPoint, ...], Meta(min_length=1, max_length=MAX_INPUTS)]
