"""From a call file to a plan: outputs made with fresh commitments, and coins of the sender to pay for them.

Pure: what names, amounts and receiving keys mean comes in as functions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from apps.hidden import note_info
from crypto.confidential import Opening, default_proofs
from crypto.errors import Reason, Refused
from crypto.notes import Note, seal_note
from crypto.ristretto import UNIFORM_SIZE, scalar_from_uniform
from node.hidden.callfile import OutputPart
from node.hidden.expressions import Scope, evaluate
from node.hidden.paying import Randomness, Spendable, select_spendable
from node.hidden.scripting import Spent
from node.wallet import Account
from state.records import asset_text
from state.transaction import (
    MAX_INPUTS,
    NO_SCRIPT,
    NOTE_SIZE,
    NOTHING,
    Coin,
    HiddenCoin,
    Memo,
    Output,
    State,
    held,
)
from state.types import NATIVE, Address, Amount, AssetId, ChainId


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the words of a call file mean.

    Attributes:
        chain_id: the chain.
        address: of a stored key's name, or of `nx1...`.
        amount: asset and amount of such as `7nxs`.
        receiving: the published receiving key of an account. Raises Refused(NOT_AVAILABLE) if there is none.
        outgoing: the sender's outgoing view key; asked for when a note is sealed.
        random: fresh random bytes.
    """

    chain_id: ChainId
    address: Callable[[str], Address]
    amount: Callable[[str], tuple[AssetId, Amount]]
    receiving: Callable[[Address], bytes]
    outgoing: Callable[[], bytes]
    random: Randomness


class Made(NamedTuple):
    """New outputs, and what their commitments hold."""

    outputs: tuple[Output, ...]
    openings: Mapping[bytes, Opening]


class Funded(NamedTuple):
    """Inputs and outputs that balance with the fee."""

    spent: tuple[Spent, ...]
    made: Made
    fee: int


@dataclass(frozen=True, slots=True)
class Funds:
    """Who pays: the account, its coins that may be spent, and its receiving key if change is to be hidden."""

    account: Account
    coins: Sequence[Spendable]
    receiving: bytes = b""


class _Sum(NamedTuple):
    """Money of one output that is to be made. `commitment` is empty for a coin in clear."""

    asset: AssetId
    amount: Amount
    opening: Opening
    commitment: bytes


def make_outputs(
    parts: Sequence[OutputPart], script: bytes, spent: Sequence[Spent], openings: Mapping[bytes, Opening],
    around: Surroundings,
) -> Made:
    """Return the outputs that a call file asks for.

    Args:
        parts: of the file.
        script: address of the script that guards its Memos and States.
        spent: the inputs.
        openings: what the commitments of the inputs hold.
        around: what the words mean.

    Raises:
        Refused: BAD_ARGUMENT, and what `around` raises.
    """
    sums = [_sum(part, spent, openings, around) for part in parts]
    commitments = {place: one.commitment for place, one in enumerate(sums) if one.commitment}
    inputs = [one.output for one in spent]
    outputs: list[Output] = []
    for place, (part, money) in enumerate(zip(parts, sums, strict=True)):
        owner = around.address(part.owner)
        if part.kind == "coin":
            outputs.append(Coin(money.asset, owner, money.amount))
            continue
        if part.kind == "hidden":
            outputs.append(_noted(owner, money, place, part.text, around.receiving(owner), around))
            continue
        scope = Scope(around.address, inputs, commitments, money.commitment)
        guard = script if part.guarded else NO_SCRIPT
        bounds = part.not_before, part.not_after
        if part.kind == "memo":
            outputs.append(Memo(guard, owner, money.asset, money.commitment, evaluate(part.data, scope), *bounds))
        else:
            variables = tuple(evaluate(one, scope) for one in part.variables)
            outputs.append(State(part.nonce, guard, owner, money.asset, money.commitment, variables, *bounds))
    known = {one.commitment: one.opening for one in sums if one.commitment not in (b"", NOTHING)}
    return Made(tuple(outputs), known)


def fund(
    funds: Funds, spent: Sequence[Spent], made: Made, around: Surroundings, fee: int | None,
    least: Callable[[tuple[Spent, ...], Made], int],
    openings: Mapping[bytes, Opening],
) -> Funded:
    """Add coins that pay for what is made and for the fee, and their change.

    Args:
        funds: who pays.
        spent: inputs that are certain.
        made: outputs that are certain.
        around: see `Surroundings`.
        fee: in unxs; None for the least.
        least: returns the least fee for inputs and outputs.
        openings: what the commitments of the inputs hold.

    Raises:
        Refused: INSUFFICIENT_FUNDS, TOO_LARGE; UNBALANCED if the inputs hold more than the outputs.
    """
    missing = _missing(spent, made, openings)
    taken = {one.outpoint for one in spent}
    coins = [coin for coin in funds.coins if coin.outpoint not in taken]
    paid = 1 if fee is None else fee  # at least one coin of the sender is spent
    for _ in range(MAX_INPUTS):
        chosen = select_spendable(coins, {**missing, NATIVE: missing.get(NATIVE, 0) + paid})
        inputs = (*spent, *(_spent(coin, funds.account.address) for coin in chosen))
        whole = _with_change(funds, chosen, missing, paid, made, around)
        cost = least(inputs, whole)
        if fee is not None or paid >= cost:
            return Funded(inputs, whole, paid)
        paid = cost
    raise Refused(Reason.INSUFFICIENT_FUNDS, "the coins are too small to pay the fee for spending them")


def amount_in(output: Output, openings: Mapping[bytes, Opening]) -> int:
    """Return what an output holds. Raises Refused(BAD_ARGUMENT) if nobody told."""
    if isinstance(output, Coin):
        return output.amount
    hidden = held(output)
    if hidden is None:
        return 0
    if hidden.commitment not in openings:
        raise Refused(
            Reason.BAD_ARGUMENT, f"nobody told what the commitment {hidden.commitment.hex()} holds: --openings FILE of "
            "who made it",
        )
    return openings[hidden.commitment].amount


def _sum(
    part: OutputPart, spent: Sequence[Spent], openings: Mapping[bytes, Opening], around: Surroundings
) -> _Sum:
    asset, amount = NATIVE, Amount(0)
    if part.amount.startswith("input."):
        place = part.amount.removeprefix("input.")
        if not place.isdecimal() or int(place) >= len(spent):
            raise Refused(Reason.BAD_ARGUMENT, f"there is no {part.amount} to take an amount from")
        output = spent[int(place)].output
        asset, amount = output.asset, Amount(amount_in(output, openings))
    elif part.amount:
        asset, amount = around.amount(part.amount)
    if part.kind == "coin":
        return _Sum(asset, amount, Opening(amount, 0), b"")
    if not part.amount:
        return _Sum(asset, amount, Opening(0, 0), NOTHING)
    opening = Opening(amount, scalar_from_uniform(around.random(UNIFORM_SIZE)))
    return _Sum(asset, amount, opening, default_proofs().commit(opening))


def _noted(
    owner: Address, money: _Sum, place: int, text: str, receiving: bytes, around: Surroundings
) -> HiddenCoin:
    """Return a hidden coin with the note that its owner's wallet opens."""
    bare = HiddenCoin(money.asset, owner, money.commitment, bytes(NOTE_SIZE))
    info = note_info(around.chain_id, bare, place)
    note = seal_note(receiving, around.outgoing(), info, Note(money.opening, text))
    return HiddenCoin(money.asset, owner, money.commitment, note)


def _missing(spent: Sequence[Spent], made: Made, openings: Mapping[bytes, Opening]) -> dict[AssetId, int]:
    """Return by asset what the outputs hold more than the inputs."""
    missing: dict[AssetId, int] = {}
    for outputs, sign, known in (
        ([one.output for one in spent], -1, openings), (made.outputs, 1, made.openings)
    ):  # fmt: skip
        for output in outputs:
            missing[output.asset] = missing.get(output.asset, 0) + sign * amount_in(output, known)
    for asset, amount in missing.items():
        if amount < 0:
            name = asset_text(asset) if asset else "unxs"
            raise Refused(
                Reason.UNBALANCED, f"the inputs hold {-amount} {name} more than the outputs: name another output"
            )
    return missing


def _spent(coin: Spendable, owner: Address) -> Spent:
    """Return a coin as an input. A program does not see notes, so that of a hidden coin does not matter."""
    if coin.commitment:
        return Spent(coin.outpoint, HiddenCoin(coin.asset, owner, coin.commitment, bytes(NOTE_SIZE)))
    return Spent(coin.outpoint, Coin(coin.asset, owner, Amount(coin.opening.amount)))


def _with_change(
    funds: Funds, chosen: Sequence[Spendable], missing: Mapping[AssetId, int], fee: int, made: Made,
    around: Surroundings,
) -> Made:
    outputs, known = list(made.outputs), dict(made.openings)
    known |= {coin.commitment: coin.opening for coin in chosen if coin.commitment}
    totals: dict[AssetId, int] = {}
    for coin in chosen:
        totals[coin.asset] = totals.get(coin.asset, 0) + coin.opening.amount
    for asset, total in sorted(totals.items()):
        rest = Amount(total - missing.get(asset, 0) - (0 if asset else fee))
        if not rest:
            continue
        if not funds.receiving:
            outputs.append(Coin(asset, funds.account.address, rest))
            continue
        opening = Opening(rest, scalar_from_uniform(around.random(UNIFORM_SIZE)))
        money = _Sum(asset, rest, opening, default_proofs().commit(opening))
        outputs.append(_noted(funds.account.address, money, len(outputs), "", funds.receiving, around))
        known[money.commitment] = opening
    return Made(tuple(outputs), known)
