"""Transactions that spend outputs and make outputs. Everything is checked before anything is written.

- Coin: its owner spends it. For each asset the coins spent equal the coins made; of the native token the coins spent
  exceed the coins made by exactly the fee. Coins of an asset for which their owner is frozen stay where they are;
  coins may be *sent* to a frozen account.
- HiddenCoin: as Coin, but only proofs show that its amounts balance (`apps/hidden.py`).
- Memo and State: within their time bounds their owner spends them if their script is NO_SCRIPT, else who runs one of
  the script's programs does (`apps/script.py`). The amounts that they hold balance with those of hidden coins.
- State: one with nonce 0 begins. One with a higher nonce succeeds a State that the same transaction spends, of the
  same script and owner and with that nonce less one; each State spent has at most one successor.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from apps.hidden import Movement, movement, turn
from apps.prooftask import ProofTask
from apps.validity import View, check_signers
from crypto.errors import Reason, Refused
from state.changes import Overlay, Reader
from state.ledger import is_frozen
from state.receipt import Event, Succession
from state.records import asset_text, decode_output, encode_output, output_key
from state.transaction import NO_SCRIPT, Coin, Decoded, HiddenCoin, Memo, OutPoint, Output, Spend, State, Transfer
from state.types import Address, TxId, WtxId
from state.zkvm.proving import ProgramClaim


class SpentOutput(NamedTuple):
    """An output that a transaction spends, with the key of its record."""

    key: bytes
    outpoint: OutPoint
    output: Output


class Spending(NamedTuple):
    """A transaction that may come next.

    Attributes:
        spent: what it spends.
        movement: what it moves, and what is left to prove of that.
        program: what is left to prove of the program that it runs.
    """

    spent: list[SpentOutput]
    movement: Movement
    program: ProgramClaim | None = None

    @property
    def owners(self) -> set[Address]:
        """Who owned what is spent."""
        return {found.output.owner for found in self.spent}

    def proofs(self, wtxid: WtxId) -> ProofTask | None:
        """Return what is to be verified of the transaction of this name, or None if it stands on no proof."""
        claim = self.movement.claim
        return None if claim is None and self.program is None else ProofTask(wtxid, claim, self.program)


def find_inputs(spend: Spend, reader: Reader) -> list[SpentOutput]:
    """Return the outputs that a transaction spends. Raises Refused(OUTPUT_NOT_FOUND)."""
    found = []
    for outpoint in spend.inputs:
        key = output_key(outpoint.txid, outpoint.index)
        value = reader.get(key)
        if value is None:
            raise Refused(
                Reason.OUTPUT_NOT_FOUND, f"there is no unspent output {outpoint.txid.hex()}:{outpoint.index}"
            )
        found.append(SpentOutput(key, outpoint, decode_output(value)))
    return found


def check_transfer(transfer: Transfer, decoded: Decoded, view: View) -> Spending:
    """Check inputs, owners, signers, public sums and outputs; return what is spent. Proofs are only counted.

    Raises:
        Refused: OUTPUT_NOT_FOUND, MISSING_SIGNATURE, SURPLUS_SIGNATURE, FROZEN, TOO_EARLY, TOO_LATE,
            OUTPUT_TYPE_NOT_ALLOWED, BAD_STATE_NONCE, UNBALANCED; UNKNOWN_ASSET, MISSING_PROOF, SURPLUS_PROOF or
            TURNSTILE_OVERDRAWN with hidden coins.
    """
    spent = find_inputs(transfer, view.reader)
    check_signers(sorted({found.output.owner for found in spent}), decoded)
    outputs = [found.output for found in spent]
    for output in outputs:
        if isinstance(output, Memo | State) and output.script != NO_SCRIPT:
            raise Refused(Reason.OUTPUT_TYPE_NOT_ALLOWED, "a transfer cannot spend an output that a script guards")
        check_spendable(output, view)
    moved = movement(transfer, decoded, outputs, view.reader)
    check_states(outputs, transfer.outputs)
    return Spending(spent, moved)


def check_spendable(output: Output, view: View) -> None:
    """Check that an output may be spent now, whoever does.

    Raises:
        Refused: FROZEN, TOO_EARLY, TOO_LATE.
    """
    if output.asset and is_frozen(view.reader, output.owner, output.asset):
        raise Refused(Reason.FROZEN, f"{output.owner.hex()} is frozen for {asset_text(output.asset)}")
    if not isinstance(output, Coin | HiddenCoin):
        if view.height < output.not_before:
            raise Refused(Reason.TOO_EARLY, f"spendable from height {output.not_before}, this is {view.height}")
        if view.height > output.not_after:
            raise Refused(Reason.TOO_LATE, f"spendable until height {output.not_after}, this is {view.height}")


def check_states(spent: Sequence[Output], made: Sequence[Output]) -> None:
    """Check that every new State begins, or follows a spent one. Raises Refused(BAD_STATE_NONCE)."""
    followers = [output for output in made if isinstance(output, State) and output.nonce]
    if not followers:
        return
    open_places: Counter[tuple[bytes, Address, int]] = Counter(
        (output.script, output.owner, output.nonce + 1) for output in spent if isinstance(output, State)
    )
    for output in followers:
        place = (output.script, output.owner, output.nonce)
        if not open_places[place]:
            raise Refused(Reason.BAD_STATE_NONCE, f"no State is spent that nonce {output.nonce} follows")
        open_places[place] -= 1


def apply_spend(made: Sequence[Output], decoded: Decoded, spending: Spending, state: Overlay) -> list[Event]:
    """Write what was checked, and the outputs that it makes; return its events: first what is spent, then those."""
    events = []
    turn(spending.movement.flows, state)
    for key, outpoint, output in spending.spent:
        state.delete(key)
        events.append(spent_event(outpoint, output))
    txid = decoded.txid
    for index, output in enumerate(made):
        state.create(output_key(txid, index), encode_output(output))
        events.append(made_event(index, output))
    return events


def successions(spent: Sequence[SpentOutput], made: Sequence[Output], txid: TxId) -> list[Succession]:
    """Return what becomes of the States that a checked transaction spends and makes.

    Of States that could follow each other crosswise, the first made follows the first spent.
    """
    waiting: dict[tuple[bytes, Address, int], list[OutPoint]] = {}
    for _, outpoint, output in spent:
        if isinstance(output, State):
            waiting.setdefault((output.script, output.owner, output.nonce + 1), []).append(outpoint)
    found = []
    for index, output in enumerate(made):
        if isinstance(output, State):
            before = waiting[output.script, output.owner, output.nonce].pop(0) if output.nonce else None
            found.append(Succession(before, OutPoint(txid, index), output.nonce, txid))
    for (_, _, nonce), left in waiting.items():
        found += [Succession(outpoint, None, nonce, txid) for outpoint in left]
    return found


def spent_event(outpoint: OutPoint, output: Output) -> Event:
    """Return the event of an output that is spent."""
    return Event("output/spent", (("outpoint", f"{outpoint.txid.hex()}:{outpoint.index}"), *_described(output)))


def made_event(index: int, output: Output) -> Event:
    """Return the event of an output that is made; the receipt's txid completes its outpoint."""
    return Event("output/made", (("index", str(index)), *_described(output)))


def _described(output: Output) -> tuple[tuple[str, str], ...]:
    owner = output.owner.hex()
    if isinstance(output, Coin):
        asset = asset_text(output.asset) if output.asset else "unxs"
        return ("type", "coin"), ("owner", owner), ("asset", asset), ("amount", str(output.amount))
    if isinstance(output, HiddenCoin):
        asset = asset_text(output.asset) if output.asset else "unxs"
        commitment = output.commitment.hex()
        return ("type", "hidden"), ("owner", owner), ("asset", asset), ("commitment", commitment)
    if isinstance(output, State):
        return ("type", "state"), ("owner", owner), ("nonce", str(output.nonce))
    return ("type", "memo"), ("owner", owner)
