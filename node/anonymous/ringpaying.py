"""Payments with ring coins, from amounts and addresses to a transaction that nobody signs. EXPERIMENTAL, classical.

So that payments of one kind look alike: the fee is the least that the chain takes; of every asset that is spent there
is change, be it 0; rings and new coins stand in the order of their images and commitments, which look random; and a
coin is only spent with its set (`node.anonymous.ringsets`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from apps.anonymous.messages import Mint
from crypto import ring
from crypto.confidential import Opening, default_proofs
from crypto.errors import Reason, Refused
from crypto.ringnotes import RingNote, ring_note_info, seal_ring_note
from crypto.ringpay import RingMade, RingSpend, default_ring_payments
from crypto.ristretto import UNIFORM_SIZE, decode_scalar, encode_scalar
from node.amounts import format_amount
from node.anonymous.choosing import Randomness
from node.anonymous.keys import random_scalar
from node.anonymous.ringindex import OwnCoin, RingIndex, SentPayment
from node.anonymous.ringkeys import RingAddress, RingViewer
from node.anonymous.ringsets import PERIOD, RingSets
from node.wallet import Account, ChainPoint, Draft, Progress, body_of, find_work, least_fee, no_progress
from node.wallet import message as call_message
from state.encoding import encode
from state.records import asset_text
from state.transaction import (
    EXCESS_SIZE,
    MAX_HIDDEN,
    MAX_RINGS,
    NOTE_SIZE,
    RING_SIGNATURE,
    RING_SIZE,
    Coin,
    Message,
    Ring,
    RingCoin,
    RingPayment,
    RingProof,
    sign_digest,
    tx_id,
)
from state.types import MAX_AMOUNT, NATIVE, Address, Amount, AssetId, ChainId, Height, TxId

_ENTROPY: Final = 32
_ATTEMPTS: Final = MAX_RINGS + 2


@dataclass(frozen=True, slots=True)
class RingWish:
    """What somebody gets: a ring coin at a ring address, with a text in its note, or a coin in clear at an account."""

    to: RingAddress | Address
    asset: AssetId
    amount: Amount
    text: str = ""


class RingDraft(NamedTuple):
    """A payment with its proofs.

    `draft` is signed by the sponsor, if there is one, and put together with `node.wallet.sign_draft`. `sent` goes to
    `RingIndex.reserve` with `rings` before it is sent.
    """

    draft: Draft
    sent: SentPayment
    rings: dict[int, tuple[int, ...]]


class NewCoin(NamedTuple):
    """A ring coin to make: what it is like, and what only its maker knows."""

    coin: RingCoin
    opening: Opening


class _Spent(NamedTuple):
    """A ring to show, its statement, and what only its owner knows."""

    stated: Ring
    spend: RingSpend


def draft_ring(
    point: ChainPoint, index: RingIndex, wishes: Sequence[RingWish], random: Randomness, *,
    sponsor: Account | None = None, progress: Progress = no_progress, told: str = "",
) -> RingDraft:
    """Return the payment that fulfils the wishes out of the wallet's ring coins. Takes 0.05 to 1 s.

    Args:
        point: the chain.
        index: of the wallet, after a scan.
        wishes: what to pay.
        random: see `Randomness`.
        sponsor: signs; its space record stands for that of the payer, whom nobody knows.
        progress: is told of the hashcash.
        told: what the index is to remember of it.

    Raises:
        Refused: INSUFFICIENT_FUNDS; NOT_AVAILABLE if the coins have no set to hide in yet; TOO_LARGE (coins spent or
            made), BAD_ARGUMENT, AMOUNT_OUT_OF_RANGE, BAD_KEY, WRONG_CHAIN (an address); CONFLICT if a coin's set is not
            what it was.
    """
    _check(point, wishes)
    sets = index.sets()
    needed: dict[AssetId, int] = {NATIVE: 0}
    for wish in wishes:
        needed[wish.asset] = needed.get(wish.asset, 0) + wish.amount
    signers = () if sponsor is None else (sponsor,)
    fee = 0
    for _ in range(_ATTEMPTS):
        chosen = select_ring_coins(index.unspent(), sets, index.height, {**needed, NATIVE: needed[NATIVE] + fee})
        least = least_fee(point, *_outline(chosen, wishes, sets, signers, sponsor))
        if fee >= least:
            break
        fee = least
    else:
        raise Refused(Reason.INSUFFICIENT_FUNDS, "the ring coins are too small to pay the fee for spending them")
    left = _change(index, chosen, needed, fee)
    made = sorted(
        (
            new_ring_coin(index.viewer, wish, random) for wish in (*wishes, *left)
            if isinstance(wish.to, RingAddress)
        ),
        key=lambda one: one.coin.commitment,
    )  # fmt: skip
    spent = sorted((_spend(index, coin, sets.of[coin.number], random) for coin in chosen), key=_image)
    payment = RingPayment(
        tuple(one.stated for one in spent), tuple(one.coin for one in made), _clear(wishes)
    )
    body = find_work(body_of(point, payment, fee, sponsor), point.difficulty, progress)
    shown = default_ring_payments().prove(
        sign_digest(encode(body)), [one.spend for one in spent],
        [RingMade(one.coin.asset, one.opening) for one in made], _public(wishes, fee), random(_ENTROPY),
    )  # fmt: skip
    proof = RingProof(shown.signatures, shown.ranges, shown.excesses)
    rings = {coin.number: sets.of[coin.number] for coin in chosen}
    sent = SentPayment(TxId(tx_id(encode(body))), point.height, body.expiry, tuple(sorted(rings)), Amount(fee), told)
    return RingDraft(Draft(body, signers, (proof,)), sent, rings)


def mint_message(viewer: RingViewer, wish: RingWish, random: Randomness) -> Message:
    """Return the message of a call that makes a ring coin of a part of the caller's balance.

    Args:
        viewer: of the wallet that makes it: it keeps a copy in the note.
        wish: for whom and how much.
        random: see `Randomness`.

    Raises:
        Refused: AMOUNT_OUT_OF_RANGE, WRONG_CHAIN, BAD_KEY, BAD_ARGUMENT unless it is for a ring address.
    """
    _check_wish(viewer.chain_id, wish)
    made = new_ring_coin(viewer, wish, random)
    coin, blinding = made.coin, encode_scalar(made.opening.blinding)
    return call_message("anonymous/mint", Mint(coin.asset, wish.amount, coin.key, blinding, coin.note))


def new_ring_coin(viewer: RingViewer, wish: RingWish, random: Randomness) -> NewCoin:
    """Return a ring coin for an address with a key that nobody can link with it."""
    if not isinstance(wish.to, RingAddress):
        raise Refused(Reason.BAD_ARGUMENT, "ring coins are for ring addresses")
    tweak, blinding = (random_scalar(random(UNIFORM_SIZE)) for _ in range(2))
    opening = Opening(wish.amount, blinding)
    key, commitment = viewer.payments.one_time_key(wish.to.spend_key, tweak), viewer.payments.commit(opening)
    info = ring_note_info(viewer.chain_id, wish.asset, key, commitment)
    note = seal_ring_note(wish.to.receiving, viewer.keys.outgoing, info, RingNote(opening, tweak, wish.text))
    return NewCoin(RingCoin(wish.asset, key, commitment, note), opening)


# ---- choosing coins


def select_ring_coins(
    coins: Sequence[OwnCoin], sets: RingSets, height: Height, needed: Mapping[AssetId, int]
) -> tuple[OwnCoin, ...]:
    """Return coins that cover the amounts: of each asset the smallest that does alone, else the largest ones.

    A coin that is waiting for its set, or is on its way in a payment that was sent, is left out. How old coins are
    makes no difference.

    Args:
        coins: unspent ones of the wallet.
        sets: after the last block.
        height: of that block.
        needed: by asset.

    Raises:
        Refused: INSUFFICIENT_FUNDS, TOO_LARGE; NOT_AVAILABLE if what is left out would do.
    """
    chosen: list[OwnCoin] = []
    for asset, amount in needed.items():
        if not amount:
            continue
        held = [coin for coin in coins if coin.amount and coin.asset == asset]
        ready = [coin for coin in held if is_ready(coin, sets, height)]
        alone = [coin for coin in ready if coin.amount >= amount]
        if alone:
            chosen.append(min(alone, key=lambda coin: (coin.amount, coin.number)))
            continue
        total = 0
        for coin in sorted(ready, key=lambda coin: (-coin.amount, coin.number)):
            if total >= amount:
                break
            chosen.append(coin)
            total += coin.amount
        if total < amount:
            raise _short(asset, amount, held, ready, sets)
    if len(chosen) > MAX_RINGS:
        raise Refused(
            Reason.TOO_LARGE, f"{len(chosen)} ring coins would be needed, a payment spends {MAX_RINGS}: pay less"
        )
    return tuple(chosen)


def is_ready(coin: OwnCoin, sets: RingSets, height: Height) -> bool:
    """Tell whether a coin may be spent in the block after `height`."""
    ripe = sets.ripe.get(coin.number)
    return ripe is not None and ripe <= height + 1 and coin.until <= height and not coin.spent


def missing_for_set(sets: RingSets, asset: AssetId) -> int:
    """Return how many ring coins of an asset have to be made before all that wait get a set; 0 if none waits."""
    waiting = len(sets.waiting.get(asset, ()))
    return max(0, RING_SIZE - waiting) if waiting else 0


def _short(
    asset: AssetId, amount: int, held: Sequence[OwnCoin], ready: Sequence[OwnCoin], sets: RingSets
) -> Refused:
    """Return why an amount cannot be paid."""
    there, able = (sum(coin.amount for coin in some) for some in (held, ready))
    if there < amount:
        return Refused(
            Reason.INSUFFICIENT_FUNDS, f"{_named(asset, amount)} is needed, the ring coins hold {_named(asset, there)}"
        )
    lacking = missing_for_set(sets, asset)
    wait = f"until {lacking} more of them are made, by anybody, and then " if lacking else ""
    return Refused(
        Reason.NOT_AVAILABLE,
        f"{_named(asset, amount)} is needed, {_named(asset, able)} can hide by now: the other coins wait {wait}"
        f"up to {2 * PERIOD} blocks for their set or their age, or are in a payment that was sent",
    )


def _named(asset: AssetId, amount: int) -> str:
    return format_amount(Amount(amount)) if asset == NATIVE else f"{amount} of {asset_text(asset)}"


# ---- parts of a payment


def _check(point: ChainPoint, wishes: Sequence[RingWish]) -> None:
    if not wishes:
        raise Refused(Reason.BAD_ARGUMENT, "there is nothing to pay")
    for wish in wishes:
        _check_wish(point.chain_id, wish)
    assets = {wish.asset for wish in wishes} | {NATIVE}
    if sum(isinstance(wish.to, RingAddress) for wish in wishes) + len(assets) > MAX_HIDDEN:
        raise Refused(Reason.TOO_LARGE, f"a payment makes at most {MAX_HIDDEN} ring coins, change among them")


def _check_wish(chain_id: ChainId, wish: RingWish) -> None:
    if not 0 < wish.amount <= MAX_AMOUNT:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, f"a payment is of 1 to {MAX_AMOUNT}")
    if isinstance(wish.to, RingAddress) and wish.to.chain_id != chain_id:
        raise Refused(Reason.WRONG_CHAIN, "the ring address is for another chain")
    if not isinstance(wish.to, RingAddress) and wish.text:
        raise Refused(Reason.BAD_ARGUMENT, "a coin in clear has no note for a text")


def _change(index: RingIndex, chosen: Sequence[OwnCoin], needed: Mapping[AssetId, int], fee: int) -> list[RingWish]:
    """Return what comes back, of every asset that is spent."""
    left: dict[AssetId, int] = {}
    for coin in chosen:
        left[coin.asset] = left.get(coin.asset, 0) + coin.amount
    here = index.viewer.keys.address(index.viewer.chain_id)
    return [
        RingWish(here, asset, Amount(total - needed.get(asset, 0) - (0 if asset else fee)))
        for asset, total in sorted(left.items())
    ]


def _clear(wishes: Sequence[RingWish]) -> tuple[Coin, ...]:
    return tuple(Coin(one.asset, one.to, one.amount) for one in wishes if not isinstance(one.to, RingAddress))


def _public(wishes: Sequence[RingWish], fee: int) -> dict[bytes, int]:
    public: dict[bytes, int] = {NATIVE: fee}
    for coin in _clear(wishes):
        public[coin.asset] = public.get(coin.asset, 0) + coin.amount
    return public


def _image(one: _Spent) -> bytes:
    return one.stated.image


def _spend(index: RingIndex, coin: OwnCoin, members: tuple[int, ...], random: Randomness) -> _Spent:
    if coin.ring and coin.ring != members:
        raise Refused(
            Reason.CONFLICT,
            f"ring coin {coin.number} was sent before in another ring, and both together would tell which coin it is: "
            "a node gave wrong coins then or now",
        )
    viewer = index.viewer
    kept = [index.coins[number] for number in members]
    tweak, opening = decode_scalar(coin.tweak), coin.opening
    blinding = random_scalar(random(UNIFORM_SIZE))
    commitment = viewer.payments.commit(Opening(coin.amount, blinding))
    stated = ring.Ring(
        tuple(one.key for one in kept), tuple(one.commitment for one in kept), commitment, coin.image
    )
    place = members.index(coin.number)
    spend = RingSpend(coin.asset, stated, place, viewer.secret(tweak), opening, blinding)
    return _Spent(Ring(coin.asset, members, commitment, coin.image), spend)


def _outline(
    chosen: Sequence[OwnCoin], wishes: Sequence[RingWish], sets: RingSets, signers: tuple[Account, ...],
    sponsor: Account | None,
) -> tuple[RingPayment, tuple[Account, ...], Account | None, tuple[RingProof, ...]]:
    """Return a payment of the size that the real one will have, as `least_fee` takes it."""
    assets = sorted({coin.asset for coin in chosen})
    hidden = [*(wish.asset for wish in wishes if isinstance(wish.to, RingAddress)), *assets]
    empty, note = bytes(32), bytes(NOTE_SIZE)
    payment = RingPayment(
        tuple(Ring(coin.asset, sets.of[coin.number], empty, empty) for coin in chosen),
        tuple(RingCoin(asset, empty, empty, note) for asset in hidden), _clear(wishes),
    )  # fmt: skip
    proof = RingProof(
        (bytes(RING_SIGNATURE),) * len(chosen), bytes(default_proofs().range_size(len(hidden))),
        (bytes(EXCESS_SIZE),) * len(assets),
    )  # fmt: skip
    return payment, signers, sponsor, (proof,)
