"""Transactions that run a program: what it allows, it may spend.

The program is one of those under the script address of every guarded Memo and State that the transaction spends; where
it spends none, the address is that to which the call proof leads, so that a program can also guard what is made.
Owners of coins and of what no script guards sign as ever; a Memo's or State's own owner need not, unless the program
asks. Money balances by the same rule as in a transfer (`apps/hidden.py`), whatever the program says.
"""

from apps.gas import intrinsic_gas, program_gas
from apps.hidden import movement
from apps.transfer import Spending, check_spendable, check_states, check_transfer, find_inputs
from apps.validity import View, check_signers
from crypto.errors import Reason, Refused
from crypto.merkle import NEXUS, fold, path_of
from state.transaction import NO_SCRIPT, Decoded, Memo, Output, Script, Spend, State, sign_digest
from state.types import Address, Height
from state.zkvm.machine import Ran, run_program
from state.zkvm.proving import ProgramClaim, check_proof_size
from state.zkvm.sight import Sight


def check_script(script: Script, decoded: Decoded, keys: tuple[bytes, ...], view: View) -> Spending:
    """Check inputs, signers, sums and outputs, and run the program; return what is spent. Proofs are only counted.

    Args:
        script: the payload.
        decoded: the transaction.
        keys: the public keys of its signers.
        view: the chain.

    Raises:
        Refused: TOO_EARLY, OUTPUT_NOT_FOUND, MISSING_SIGNATURE, SURPLUS_SIGNATURE, WRONG_SCRIPT, FROZEN, TOO_LATE,
            UNBALANCED, UNKNOWN_ASSET, MISSING_PROOF, SURPLUS_PROOF, TURNSTILE_OVERDRAWN, BAD_STATE_NONCE; BAD_PROGRAM,
            SCRIPT_FAILED, PROGRAM_TOO_COSTLY; OUT_OF_GAS; MALFORMED for a proof of the wrong size.
    """
    if view.height < script.not_before:
        raise Refused(Reason.TOO_EARLY, f"may be in a block from height {script.not_before}, this is {view.height}")
    spent = find_inputs(script, view.reader)
    outputs = tuple(found.output for found in spent)
    address = script_of(script)
    signers = needed_signers(script, outputs)
    check_signers(sorted(signers), decoded)
    for output in outputs:
        guard = guard_of(output)
        if guard not in (NO_SCRIPT, address):
            raise Refused(Reason.WRONG_SCRIPT, f"the program is none of those under {guard.hex()}")
        check_spendable(output, view)
    moved = movement(script, decoded, outputs, view.reader)
    check_states(outputs, script.outputs)
    ran = run_program(script.program, sight_of(script, outputs, decoded.body.expiry, signers))
    used = intrinsic_gas(script, len(decoded.raw), keys, decoded.excesses) + program_gas(ran)
    if script.gas_wanted < used:
        raise Refused(Reason.OUT_OF_GAS, f"gas wanted {script.gas_wanted}, the program uses {used} in all")
    return Spending(spent, moved, _claim(decoded, ran))


def check_spend(spend: Spend, decoded: Decoded, keys: tuple[bytes, ...], view: View) -> Spending:
    """Check a transaction that spends outputs, of either kind. Raises Refused as `check_transfer`, `check_script`."""
    if isinstance(spend, Script):
        return check_script(spend, decoded, keys, view)
    return check_transfer(spend, decoded, view)


def guard_of(output: Output) -> bytes:
    """Return the address of the script that guards an output, or NO_SCRIPT."""
    return output.script if isinstance(output, Memo | State) else NO_SCRIPT


def script_of(script: Script) -> bytes:
    """Return the address of the script that the program belongs to. Raises Refused(WRONG_SCRIPT)."""
    call = script.call
    if call.index >= call.size:
        raise Refused(Reason.WRONG_SCRIPT, f"there is no program {call.index} among {call.size}")
    try:
        return fold(NEXUS.leaf(script.program), path_of(call.index, call.size, call.path))
    except Refused:
        raise Refused(Reason.WRONG_SCRIPT, "the call proof has too many or too few hashes") from None


def needed_signers(script: Script, spent: tuple[Output, ...]) -> set[Address]:
    """Return who has to sign: the owners of what no script guards, and whom the payload names."""
    return {*script.signers, *(output.owner for output in spent if guard_of(output) == NO_SCRIPT)}


def sight_of(script: Script, spent: tuple[Output, ...], expiry: Height, signers: set[Address]) -> Sight:
    """Return what the program sees. Raises Refused(WRONG_SCRIPT)."""
    return Sight(
        script_of(script), spent, script.outputs, script.data, script.not_before, expiry, frozenset(signers)
    )


def _claim(decoded: Decoded, ran: Ran) -> ProgramClaim | None:
    proof = decoded.shown.program if decoded.shown is not None else b""
    check_proof_size(ran.system, proof, needed=ran.needs_proof)
    return ProgramClaim(sign_digest(decoded.transaction.body), ran.system, proof) if ran.needs_proof else None
