"""Rules of the token module that only an asset's issuer may use, and issuing itself."""

import re
from typing import Final

from apps.module import Context
from apps.token.messages import Freeze, Issue, Mint, Thaw
from apps.token.rules import positive
from crypto.errors import Reason, Refused
from state import ledger
from state.records import Asset, asset_id, asset_text
from state.types import Address, AssetId

SYMBOL: Final = re.compile(r"[a-z][a-z0-9]{0,11}", re.ASCII)
RESERVED_SYMBOLS: Final = frozenset({"nxs", "unxs"})
"""Names of the native token: nobody issues a second one under them."""


def issue(context: Context, message: Issue) -> None:
    """Make a new asset.

    Raises:
        Refused: BAD_ARGUMENT for a symbol that is not 1 to 12 small letters and digits or is reserved, and for a fixed
            supply of nothing; ASSET_EXISTS.
    """
    if not SYMBOL.fullmatch(message.symbol) or message.symbol in RESERVED_SYMBOLS:
        raise Refused(Reason.BAD_ARGUMENT, "a symbol is 1 to 12 small letters and digits, other than nxs and unxs")
    if not message.supply and not message.mintable:
        raise Refused(Reason.BAD_ARGUMENT, "an asset with a fixed supply of nothing cannot be of use")
    issuer = context.sender
    asset = asset_id(issuer, message.symbol)
    if ledger.asset(context.state, asset) is not None:
        raise Refused(Reason.ASSET_EXISTS, f"the issuer already issued {message.symbol}")
    ledger.add_asset(
        context.state,
        asset,
        Asset(issuer, message.symbol, message.decimals, message.mintable, message.burnable, message.freezable),
    )
    ledger.set_supply(context.state, asset, message.supply)
    ledger.credit(context.state, issuer, asset, message.supply)
    context.emit(
        "token/issue", issuer=issuer.hex(), asset=asset.hex(), symbol=message.symbol, supply=str(message.supply)
    )


def mint(context: Context, message: Mint) -> None:
    """Make more of an asset.

    Raises:
        Refused: AMOUNT_OUT_OF_RANGE, UNKNOWN_ASSET, NOT_OWNER, NOT_MINTABLE.
    """
    positive(message.amount)
    if not _issued(context, message.asset).mintable:
        raise Refused(Reason.NOT_MINTABLE, "the asset was issued with a fixed supply")
    ledger.set_supply(context.state, message.asset, ledger.supply(context.state, message.asset) + message.amount)
    ledger.credit(context.state, message.to, message.asset, message.amount)
    context.touched.add(message.to)
    context.emit(
        "token/mint", to=message.to.hex(), asset=asset_text(message.asset), amount=str(message.amount)
    )


def freeze(context: Context, message: Freeze) -> None:
    """Freeze an account. Raises Refused(UNKNOWN_ASSET | NOT_OWNER | NOT_FREEZABLE)."""
    _set_frozen(context, message.asset, message.account, True)


def thaw(context: Context, message: Thaw) -> None:
    """Thaw an account. Raises Refused(UNKNOWN_ASSET | NOT_OWNER | NOT_FREEZABLE)."""
    _set_frozen(context, message.asset, message.account, False)


def _set_frozen(context: Context, asset: AssetId, account: Address, frozen: bool) -> None:
    if not _issued(context, asset).freezable:
        raise Refused(Reason.NOT_FREEZABLE, "the asset was issued without the right to freeze")
    ledger.set_frozen(context.state, account, asset, frozen)
    context.touched.add(account)
    context.emit("token/freeze" if frozen else "token/thaw", account=account.hex(), asset=asset_text(asset))


def _issued(context: Context, asset: AssetId) -> Asset:
    """Return an asset that the sender issued. Raises Refused(UNKNOWN_ASSET | NOT_OWNER)."""
    found = ledger.asset(context.state, asset)
    if found is None:
        raise Refused(Reason.UNKNOWN_ASSET, f"nobody issued {asset_text(asset)}")
    if found.issuer != context.sender:
        raise Refused(Reason.NOT_OWNER, f"the issuer is {found.issuer.hex()}")
    return found
