"""Transactions for programs to look at, and provers who know what is in them."""

from collections.abc import Iterable, Mapping

from crypto.confidential import Opening, default_proofs
from crypto.constraints import Opening as Committed
from crypto.errors import Reason, Refused
from state.transaction import NOTE_SIZE, Coin, HiddenCoin, Memo, Output, State
from state.types import MAX_INT, NATIVE, Address, Amount, Height
from state.zkvm.assembly import assemble_program
from state.zkvm.machine import Ran, run_program
from state.zkvm.sight import Secrets, Sight

SCRIPT = b"s" * 32
ALICE, BOB = Address(b"a" * 32), Address(b"b" * 32)
FOREVER = Height(MAX_INT)
OPENINGS = {default_proofs().commit(opening): opening for opening in (Opening(7, 11), Opening(9, 13))}
SEVEN, NINE = OPENINGS

COIN = Coin(NATIVE, ALICE, Amount(5))
HIDDEN = HiddenCoin(NATIVE, BOB, NINE, bytes(NOTE_SIZE))
MEMO = Memo(SCRIPT, ALICE, NATIVE, SEVEN, b"memo", Height(0), FOREVER)
STATE = State(3, SCRIPT, ALICE, NATIVE, SEVEN, (b"one", b"two"), Height(0), FOREVER)
FOREIGN = Memo(b"f" * 32, ALICE, NATIVE, SEVEN, b"memo", Height(0), FOREVER)


def sight(
    inputs: Iterable[Output] = (MEMO, STATE, COIN, HIDDEN, FOREIGN), outputs: Iterable[Output] = (COIN, MEMO, STATE),
    data: Iterable[bytes] = (),
) -> Sight:
    """Return a transaction between heights 10 and 20 that Alice signed."""
    return Sight(SCRIPT, tuple(inputs), tuple(outputs), tuple(data), Height(10), Height(20), frozenset({ALICE}))


def text(*lines: str, **parameters: bytes) -> bytes:
    """Return the program of these lines; commitments are given as $seven and $nine."""
    return assemble_program("\n".join(lines), {"seven": SEVEN, "nine": NINE, "alice": ALICE, "bob": BOB, **parameters})


def secrets(*allocated: int, openings: Mapping[bytes, Opening] = OPENINGS) -> Secrets:
    """Return what a prover knows."""
    return Secrets({key: Committed(*one) for key, one in openings.items()}, iter(allocated))


def run(*lines: str, seen: Sight | None = None, known: Secrets | None = None) -> Ran:
    """Run these lines."""
    return run_program(text(*lines), seen or sight(), known)


def reason(*lines: str, seen: Sight | None = None, known: Secrets | None = None) -> Reason | None:
    """Return why these lines are refused, or None."""
    try:
        run(*lines, seen=seen, known=known)
    except Refused as refused:
        return refused.reason
    return None
