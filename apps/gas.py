"""What work costs. One unit of gas stands for about a microsecond of one node's CPU, rounded up to be safe, with
a premium on what stays in the state for ever.

A transfer or an anonymous payment uses exactly its intrinsic gas. A call uses its intrinsic gas plus that of its
messages, a script that of its program, up to the gas that its sender wanted. The fee is paid for the gas wanted, not
for the gas used: so that a block's worst case is known before it runs.
"""

from collections.abc import Sequence
from typing import Final

from crypto.confidential import padded
from crypto.schemes import Scheme, signature_count
from state.transaction import AccountPayment, Call, Payload, Script, Spend, Transfer, held
from state.zkvm.machine import Ran

TRANSACTION: Final = 100
"""Decoding, hashing, anchor, nonce, receipt."""
BYTE: Final = 1
"""Each wire byte: carried over every link, hashed, stored by every node."""
SIGNATURE: Final = 200
"""Each verification of one Falcon or Ed25519 signature."""
INPUT: Final = 50
"""Each output spent: one look-up, one record less."""
OUTPUT: Final = 100
"""Each output made: one record more."""
EXCESS: Final = 500
"""Each asset with hidden coins: one signature under its excess."""
RANGE_PROOF: Final = 2_000
"""Each range proof, whatever it is over."""
COMMITMENT: Final = 4_000
"""Each new hidden coin, rounded up to a power of two: more than libsodium takes in a batch, twice the kernel alone."""
PROGRAM_PROOF: Final = 5_000
"""Each proof of a program's constraint system, whatever its size."""
MULTIPLIER: Final = 100
"""Each multiplier of a program, rounded up to a power of two: five times the kernel alone, half of libsodium."""
COMMITTED: Final = 200
"""Each commitment that a program reads."""
WORK: Final = 1
"""Each unit of a program's other work (`state.zkvm.machine`)."""
ACCOUNT_PROOF: Final = 40_000
"""The proof of a payment between anonymous accounts: a quarter more than libsodium takes alone, seven kernels."""
ACCOUNT: Final = 300
"""Each anonymous account that a payment renews or adds: its record, its slot."""
RING: Final = 5_000
"""Each ring: one signature, whose challenges wait for each other, in half again libsodium's time; its key image."""
RING_COIN: Final = 500
"""Each ring coin made: two records that are never removed."""
RECORD: Final = 100
"""Each record that a message reads and writes."""
BLOCK_ROOM: Final = TRANSACTION
"""Least gas that a transaction can want: with less than this left, a block is full."""


def signatures_gas(keys: Sequence[bytes]) -> int:
    """Return the gas of checking one signature under each of these public keys. Raises Refused(BAD_KEY)."""
    count = 0
    for key in keys:
        count += 1 if key[0] == Scheme.FALCON else signature_count(key)
    return SIGNATURE * count


def intrinsic_gas(payload: Payload, size: int, keys: Sequence[bytes], excesses: int = 0) -> int:
    """Return the gas that a transaction uses before any message runs.

    Args:
        payload: what it does.
        size: its wire bytes.
        keys: the public keys of its signers.
        excesses: signatures under excesses that it carries: one for each asset with hidden coins.

    Raises:
        Refused: BAD_KEY.
    """
    gas = TRANSACTION + BYTE * size + signatures_gas(keys)
    if isinstance(payload, Transfer | Script):
        return gas + INPUT * len(payload.inputs) + OUTPUT * len(payload.outputs) + proofs_gas(payload, excesses)
    if isinstance(payload, Call):
        return gas
    if isinstance(payload, AccountPayment):
        return gas + ACCOUNT_PROOF + ACCOUNT * len(payload.outputs)
    made = RING_COIN * len(payload.made) + OUTPUT * len(payload.outputs)
    return gas + RING * len(payload.rings) + made + EXCESS * excesses + ranges_gas(len(payload.made))


def proofs_gas(spend: Spend, excesses: int) -> int:
    """Return the gas of verifying the proofs of hidden amounts, with so many signatures under excesses."""
    made = len([output for output in spend.outputs if held(output) is not None])
    return EXCESS * excesses + ranges_gas(made)


def ranges_gas(made: int) -> int:
    """Return the gas of verifying one range proof over so many new commitments; none over none."""
    return RANGE_PROOF + COMMITMENT * padded(made) if made else 0


def program_gas(ran: Ran) -> int:
    """Return the gas of running a program and of verifying the proof that it ran."""
    gas = WORK * ran.work + COMMITTED * len(ran.system.commitments)
    if not ran.needs_proof:
        return gas
    return gas + PROGRAM_PROOF + MULTIPLIER * padded(max(ran.system.multipliers, 1))


def gas_wanted(payload: Payload, intrinsic: int) -> int:
    """Return the gas that the fee is charged for, given that of `intrinsic_gas`."""
    return payload.gas_wanted if isinstance(payload, Call | Script) else intrinsic
