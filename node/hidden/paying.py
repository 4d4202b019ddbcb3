"""Paying with hidden coins, into them and out of them: selecting coins, making change, proving that all balances.

Randomness comes in as a function, so that a test can fix it. The order of new hidden coins follows their commitments,
which look random: nobody learns from it which one is the change.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from apps.hidden import note_info
from crypto.confidential import Balance, ConfidentialProofs, Opening, default_proofs
from crypto.errors import Reason, Refused
from crypto.hpke import PUBLIC_SIZE
from crypto.notes import Note, seal_note
from crypto.ristretto import UNIFORM_SIZE, scalar_from_uniform
from node.hidden.viewing import ViewKeys
from node.wallet import (
    Account,
    ChainPoint,
    Draft,
    Progress,
    body_of,
    find_work,
    least_fee,
    no_progress,
    with_sponsor,
)
from state.encoding import encode
from state.transaction import (
    EXCESS_SIZE,
    MAX_HIDDEN,
    MAX_INPUTS,
    NOTE_SIZE,
    Coin,
    HiddenCoin,
    OutPoint,
    Output,
    Transfer,
    TransferProof,
    sign_digest,
)
from state.types import MAX_AMOUNT, NATIVE, Address, Amount, AssetId

Randomness = Callable[[int], bytes]
"""Gives so many fresh random bytes: `secrets.token_bytes`."""
_ENTROPY: Final = 32


class Holding(NamedTuple):
    """Money in an output: hidden, with what opens its commitment, or clear, with a blinding of zero."""

    asset: AssetId
    opening: Opening
    commitment: bytes = b""


@dataclass(frozen=True, slots=True)
class Spendable:
    """A coin of the payer: hidden, with what is in it, or clear, with a blinding of zero and no commitment."""

    outpoint: OutPoint
    asset: AssetId
    opening: Opening
    commitment: bytes = b""


@dataclass(frozen=True, slots=True)
class Payment:
    """What somebody gets: a hidden coin, its note sealed to `receiving`, or without that key a clear one."""

    owner: Address
    asset: AssetId
    amount: Amount
    receiving: bytes = b""
    text: str = ""


class Purse(NamedTuple):
    """Who pays: the account, its view keys, and the coins that may be spent."""

    account: Account
    keys: ViewKeys
    coins: Sequence[Spendable]


class _Made(NamedTuple):
    """A new hidden coin: for whom, and what is in it."""

    payment: Payment
    opening: Opening
    commitment: bytes


def clear_coin(outpoint: OutPoint, coin: Coin) -> Spendable:
    """Return a coin in clear as one that may be spent."""
    return Spendable(outpoint, coin.asset, Opening(coin.amount, 0))


def draft_hidden(
    point: ChainPoint, purse: Purse, payments: Sequence[Payment], random: Randomness, *,
    fee: int | None = None, sponsor: Account | None = None, progress: Progress = no_progress,
) -> Draft:
    """Return the transfer that makes these payments; what is left over comes back in hidden coins. Takes 0.02 to 1 s.

    Args:
        point: the chain.
        purse: who pays, and with which coins; only what is needed is spent, the largest first.
        payments: at most 16 of them hidden, change included.
        random: see `Randomness`.
        fee: in unxs; by default the least that the chain takes.
        sponsor: signs too; its space record stands for the account's.
        progress: is told of the hashcash.

    Raises:
        Refused: INSUFFICIENT_FUNDS, TOO_LARGE (coins or payments), AMOUNT_OUT_OF_RANGE, BAD_KEY (a receiving key).
    """
    _check(payments)
    needed: dict[AssetId, int] = {NATIVE: 0}
    for payment in payments:
        needed[payment.asset] = needed.get(payment.asset, 0) + payment.amount
    paid = fee or 0
    signers = with_sponsor([purse.account], sponsor)
    for _ in range(MAX_INPUTS):
        chosen = select_spendable(purse.coins, {**needed, NATIVE: needed[NATIVE] + paid})
        planned = [*payments, *_change(purse, chosen, needed, paid)]
        if sum(bool(payment.receiving) for payment in planned) > MAX_HIDDEN:
            raise Refused(Reason.TOO_LARGE, f"a transfer makes at most {MAX_HIDDEN} hidden coins")
        least = least_fee(point, _outline(chosen, planned), signers, sponsor, _outline_proofs(chosen, planned))
        if fee is not None or paid >= least:
            break
        paid = least
    else:
        raise Refused(Reason.INSUFFICIENT_FUNDS, "the coins are too small to pay the fee for spending them")
    proofs = default_proofs()
    made = _make(proofs, planned, random)
    outputs = _outputs(point, purse.keys, planned, made)
    payload = Transfer(tuple(coin.outpoint for coin in chosen), outputs)
    body = find_work(body_of(point, payload, paid, sponsor), point.difficulty, progress)
    context = sign_digest(encode(body))
    if not made and not any(coin.commitment for coin in chosen):
        return Draft(body, signers)
    spent = [Holding(coin.asset, coin.opening, coin.commitment) for coin in chosen]
    held = [Holding(one.payment.asset, one.opening, one.commitment) for one in made]
    held += [Holding(one.asset, Opening(one.amount, 0)) for one in outputs if isinstance(one, Coin)]
    return Draft(body, signers, (prove_movement(context, spent, held, paid, random),))


def _check(payments: Sequence[Payment]) -> None:
    for payment in payments:
        if not 0 < payment.amount <= MAX_AMOUNT:
            raise Refused(Reason.AMOUNT_OUT_OF_RANGE, f"a payment is of 1 to {MAX_AMOUNT}")
        if len(payment.receiving) not in (0, PUBLIC_SIZE):
            raise Refused(Reason.BAD_KEY, f"a receiving key has {PUBLIC_SIZE} bytes, not {len(payment.receiving)}")


def select_spendable(coins: Iterable[Spendable], needed: Mapping[AssetId, int]) -> tuple[Spendable, ...]:
    """Return coins that cover the amounts, the largest first so that they are few, and at least one."""
    missing = dict(needed)
    chosen: list[Spendable] = []
    for coin in sorted(coins, key=lambda one: (-one.opening.amount, one.outpoint.txid, one.outpoint.index)):
        if missing.get(coin.asset, 0) > 0:
            chosen.append(coin)
            missing[coin.asset] -= coin.opening.amount
    short = {asset: amount for asset, amount in missing.items() if amount > 0}
    if short or not chosen:
        asset, amount = next(iter(short.items()), (NATIVE, 1))
        raise Refused(Reason.INSUFFICIENT_FUNDS, f"{amount} more of {asset.hex() or 'unxs'} is needed in these coins")
    if len(chosen) > MAX_INPUTS:
        raise Refused(Reason.TOO_LARGE, f"{len(chosen)} coins would be needed, a transfer spends {MAX_INPUTS}")
    return tuple(chosen)


def _change(purse: Purse, chosen: Sequence[Spendable], needed: Mapping[AssetId, int], fee: int) -> list[Payment]:
    left: dict[AssetId, int] = {}
    for coin in chosen:
        left[coin.asset] = left.get(coin.asset, 0) + coin.opening.amount
    return [
        Payment(purse.account.address, asset, Amount(rest), purse.keys.receiving)
        for asset, total in sorted(left.items())
        if (rest := total - needed.get(asset, 0) - (0 if asset else fee))
    ]


def _outline(chosen: Sequence[Spendable], planned: Sequence[Payment]) -> Transfer:
    """Return a transfer of the size that the real one will have."""
    outputs = tuple(
        HiddenCoin(one.asset, one.owner, bytes(32), bytes(NOTE_SIZE)) if one.receiving
        else Coin(one.asset, one.owner, one.amount)
        for one in planned
    )
    return Transfer(tuple(coin.outpoint for coin in chosen), outputs)


def _outline_proofs(chosen: Sequence[Spendable], planned: Sequence[Payment]) -> tuple[TransferProof, ...]:
    hidden = sum(bool(one.receiving) for one in planned)
    assets = {coin.asset for coin in chosen if coin.commitment} | {one.asset for one in planned if one.receiving}
    if not assets:
        return ()
    ranges = bytes(default_proofs().range_size(hidden))
    return (TransferProof(ranges, (bytes(EXCESS_SIZE),) * len(assets)),)


def _make(proofs: ConfidentialProofs, planned: Sequence[Payment], random: Randomness) -> list[_Made]:
    """Return the new hidden coins in the order in which they will stand."""
    made = []
    for payment in planned:
        if payment.receiving:
            opening = Opening(payment.amount, scalar_from_uniform(random(UNIFORM_SIZE)))
            made.append(_Made(payment, opening, proofs.commit(opening)))
    return sorted(made, key=lambda one: one.commitment)


def _outputs(
    point: ChainPoint, keys: ViewKeys, planned: Sequence[Payment], made: Sequence[_Made]
) -> tuple[Output, ...]:
    """Return the new outputs: hidden coins with their notes, then clear ones."""
    outputs: list[Output] = []
    for index, one in enumerate(made):
        bare = HiddenCoin(one.payment.asset, one.payment.owner, one.commitment, bytes(NOTE_SIZE))
        info = note_info(point.chain_id, bare, index)
        note = seal_note(one.payment.receiving, keys.outgoing, info, Note(one.opening, one.payment.text))
        outputs.append(HiddenCoin(bare.asset, bare.owner, bare.commitment, note))
    clear = [Coin(one.asset, one.owner, one.amount) for one in planned if not one.receiving]
    return (*outputs, *clear)


def prove_movement(
    context: bytes, spent: Sequence[Holding], made: Sequence[Holding], fee: int, random: Randomness
) -> TransferProof:
    """Return the proofs that what is spent pays for what is made and the fee.

    Args:
        context: the digest that the owners sign.
        spent: all inputs that hold money.
        made: all outputs that hold money, in order.
        fee: in unxs.
        random: see `Randomness`.

    Raises:
        Refused: UNPROVEN if it does not balance.
    """
    proofs = default_proofs()
    excesses = []
    for asset in sorted({one.asset for one in (*spent, *made) if one.commitment}):
        before, after = ([one for one in side if one.asset == asset] for side in (spent, made))
        comes, leaves = (sum(one.opening.amount for one in side if not one.commitment) for side in (before, after))
        balance = Balance(
            asset, _commitments(before), _commitments(after), leaves - comes + (fee if asset == NATIVE else 0)
        )
        excess = sum(one.opening.blinding for one in before) - sum(one.opening.blinding for one in after)
        excesses.append(proofs.prove_excess(context, balance, excess, random(_ENTROPY)))
    ranges = proofs.prove_ranges(context, [one.opening for one in made if one.commitment], random(_ENTROPY))
    return TransferProof(ranges, tuple(excesses))


def _commitments(held: Sequence[Holding]) -> tuple[bytes, ...]:
    return tuple(one.commitment for one in held if one.commitment)
