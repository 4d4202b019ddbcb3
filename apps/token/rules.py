"""Rules of the token module: balances, allowances, locks, coins.

A frozen account cannot move the asset out of its hands in any form: not transfer, not through an allowance, not lock,
burn, deposit, or spend its coins. It can still be paid, and what it has locked can return to its balance.
"""

from apps.module import Context
from apps.token.messages import Approve, Burn, Deposit, Lock, Transfer, TransferFrom, Unlock, Withdraw
from apps.transfer import made_event, spent_event
from crypto.errors import Reason, Refused
from state import ledger, records
from state.receipt import Event
from state.records import asset_text, lock_id
from state.transaction import Coin
from state.types import NATIVE, Address, Amount, AssetId


def positive(amount: int) -> None:
    """Refuse to move nothing. Raises Refused(AMOUNT_OUT_OF_RANGE)."""
    if amount <= 0:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "the amount is at least 1")


def known_asset(context: Context, asset: AssetId) -> None:
    """Refuse an asset that nobody issued. Raises Refused(UNKNOWN_ASSET)."""
    if asset != NATIVE and ledger.asset(context.state, asset) is None:
        raise Refused(Reason.UNKNOWN_ASSET, f"there is no asset {asset.hex()}")


def check_movable(context: Context, owner: Address, asset: AssetId) -> None:
    """Refuse to move what the issuer froze. Raises Refused(FROZEN)."""
    if ledger.is_frozen(context.state, owner, asset):
        raise Refused(Reason.FROZEN, f"{owner.hex()} is frozen for {asset_text(asset)}")


def take(context: Context, owner: Address, asset: AssetId, amount: int) -> None:
    """Take a positive amount out of a balance.

    Raises:
        Refused: AMOUNT_OUT_OF_RANGE, UNKNOWN_ASSET, FROZEN, INSUFFICIENT_FUNDS.
    """
    positive(amount)
    known_asset(context, asset)
    check_movable(context, owner, asset)
    ledger.debit(context.state, owner, asset, amount)


def transfer(context: Context, message: Transfer) -> None:
    """Pay. Raises Refused as `take`."""
    take(context, context.sender, message.asset, message.amount)
    ledger.credit(context.state, message.to, message.asset, message.amount)
    _moved(context, "token/transfer", context.sender, message.to, message.asset, message.amount)


def approve(context: Context, message: Approve) -> None:
    """Set an allowance; an amount of 0 takes it back. Raises Refused(UNKNOWN_ASSET)."""
    known_asset(context, message.asset)
    ledger.set_allowance(context.state, context.sender, message.spender, message.asset, message.amount)
    context.touched.add(message.spender)
    context.emit(
        "token/approve",
        owner=context.sender.hex(),
        spender=message.spender.hex(),
        asset=asset_text(message.asset),
        amount=str(message.amount),
    )


def transfer_from(context: Context, message: TransferFrom) -> None:
    """Pay out of an allowance. Raises Refused(INSUFFICIENT_ALLOWANCE), or as `take`."""
    positive(message.amount)
    allowed = ledger.allowance(context.state, message.owner, context.sender, message.asset)
    if allowed < message.amount:
        raise Refused(Reason.INSUFFICIENT_ALLOWANCE, f"the allowance is {allowed}, {message.amount} is needed")
    take(context, message.owner, message.asset, message.amount)
    ledger.set_allowance(
        context.state, message.owner, context.sender, message.asset, allowed - message.amount
    )
    ledger.credit(context.state, message.to, message.asset, message.amount)
    context.touched.add(message.owner)
    _moved(context, "token/transfer_from", message.owner, message.to, message.asset, message.amount)


def lock(context: Context, message: Lock) -> None:
    """Lock an amount. Raises Refused(BAD_ARGUMENT) for a height that is not ahead, TOO_LARGE, or as `take`."""
    if message.release_height <= context.block.height:
        raise Refused(Reason.BAD_ARGUMENT, f"the release height has to be above {context.block.height}")
    take(context, context.sender, message.asset, message.amount)
    identity = lock_id(context.txid, context.message)
    ledger.add_lock(
        context.state,
        context.sender,
        identity,
        records.Lock(message.asset, message.amount, message.release_height),
    )
    context.emit(
        "token/lock",
        owner=context.sender.hex(),
        id=identity.hex(),
        asset=asset_text(message.asset),
        amount=str(message.amount),
        release_height=str(message.release_height),
    )


def unlock(context: Context, message: Unlock) -> None:
    """Release a lock whose height has come. Raises Refused(LOCK_NOT_FOUND | LOCKED)."""
    found = ledger.remove_lock(context.state, context.sender, message.lock_id)
    if context.block.height < found.release_height:
        raise Refused(Reason.LOCKED, f"locked until height {found.release_height}, this is {context.block.height}")
    ledger.credit(context.state, context.sender, found.asset, found.amount)
    context.emit(
        "token/unlock",
        owner=context.sender.hex(),
        id=message.lock_id.hex(),
        asset=asset_text(found.asset),
        amount=str(found.amount),
    )


def burn(context: Context, message: Burn) -> None:
    """Destroy an amount. Raises Refused(UNKNOWN_ASSET | NOT_BURNABLE), or as `take`."""
    asset = ledger.asset(context.state, message.asset)
    if asset is None and message.asset != NATIVE:
        raise Refused(Reason.UNKNOWN_ASSET, f"there is no asset {message.asset.hex()}")
    if asset is None or not asset.burnable:
        raise Refused(Reason.NOT_BURNABLE, "the asset cannot be burned")
    take(context, context.sender, message.asset, message.amount)
    supply = ledger.supply(context.state, message.asset)
    ledger.set_supply(context.state, message.asset, supply - message.amount)
    context.emit(
        "token/burn", owner=context.sender.hex(), asset=asset_text(message.asset), amount=str(message.amount)
    )


def deposit(context: Context, message: Deposit) -> None:
    """Turn balance into coins. Raises Refused as `take`."""
    for new in message.coins:
        positive(new.amount)
    total = sum(new.amount for new in message.coins)
    take(context, context.sender, message.asset, total)
    context.emit(
        "token/deposit", account=context.sender.hex(), asset=asset_text(message.asset), amount=str(total)
    )
    for new in message.coins:
        index = context.outputs_made
        context.outputs_made += 1
        coin = Coin(message.asset, new.owner, new.amount)
        ledger.add_output(context.state, context.txid, index, coin)
        context.touched.add(new.owner)
        context.events.append(made_event(index, coin))


def withdraw(context: Context, message: Withdraw) -> None:
    """Turn the sender's coins into balance.

    Raises:
        Refused: OUTPUT_NOT_FOUND, OUTPUT_TYPE_NOT_ALLOWED, NOT_OWNER, FROZEN.
    """
    totals: dict[AssetId, int] = {}
    for outpoint in message.inputs:
        spent = ledger.spend_output(context.state, outpoint)
        if not isinstance(spent, Coin):
            raise Refused(Reason.OUTPUT_TYPE_NOT_ALLOWED, "only coins can be withdrawn")
        if spent.owner != context.sender:
            raise Refused(Reason.NOT_OWNER, f"the coin belongs to {spent.owner.hex()}")
        check_movable(context, spent.owner, spent.asset)
        totals[spent.asset] = totals.get(spent.asset, 0) + spent.amount
        context.events.append(spent_event(outpoint, spent))
    for asset, total in totals.items():
        ledger.credit(context.state, context.sender, asset, Amount(total))
        context.emit("token/withdraw", account=context.sender.hex(), asset=asset_text(asset), amount=str(total))


def _moved(context: Context, name: str, owner: Address, to: Address, asset: AssetId, amount: int) -> None:
    context.touched.add(to)
    context.events.append(Event(name, (
        ("from", owner.hex()), ("to", to.hex()), ("asset", asset_text(asset)), ("amount", str(amount)),
    )))  # fmt: skip
