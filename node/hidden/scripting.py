"""Transactions that run a program: planned, proven, ready to sign.

Whoever makes one knows what every commitment holds that the program reads and that moves.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from apps.gas import intrinsic_gas, program_gas
from apps.hidden import held_by
from apps.script import needed_signers, sight_of
from crypto.confidential import Opening, default_proofs
from crypto.constraints import Opening as Committed
from crypto.errors import Reason, Refused
from node.hidden.paying import Holding, Randomness, prove_movement
from node.wallet import Account, ChainPoint, Draft, Progress, body_of, find_work, least_fee, no_progress, size_of
from state.encoding import encode
from state.transaction import EXCESS_SIZE, Coin, OutPoint, Output, Script, Transfer, TransferProof, held, sign_digest
from state.types import MAX_INT, Address, Amount, Height
from state.zkvm.machine import Ran, run_program
from state.zkvm.proving import program_proofs, prove_program
from state.zkvm.scripts import CallProof
from state.zkvm.sight import Secrets

_ENTROPY = 32


class Spent(NamedTuple):
    """An output to spend."""

    outpoint: OutPoint
    output: Output


class ScriptPlan(NamedTuple):
    """What a transaction is to do.

    Attributes:
        spent: the inputs, in order.
        made: the outputs, in order.
        openings: what each commitment among them holds, and each that the program reads besides.
        program, call: the program, and that it is one of the script's.
        data: its arguments.
        signers: who signs besides the owners of what no script guards.
        not_before: first height of a block that may hold it.
        not_after: the last one; the wallet's usual expiry if that is earlier.
        allocated: the numbers of `alloc`, in order.
    """

    spent: tuple[Spent, ...]
    made: tuple[Output, ...]
    openings: Mapping[bytes, Opening]
    program: bytes
    call: CallProof
    data: tuple[bytes, ...] = ()
    signers: tuple[Address, ...] = ()
    not_before: Height = Height(0)
    not_after: Height = Height(MAX_INT)
    allocated: tuple[int, ...] = ()


def draft_outputs(
    point: ChainPoint, spent: Sequence[Spent], made: Sequence[Output], openings: Mapping[bytes, Opening],
    accounts: Sequence[Account], fee: int, random: Randomness, progress: Progress = no_progress,
) -> Draft:
    """Return a transfer of coins, Memos and States without running a program: what begins a contract.

    Args:
        point: the chain.
        spent: the inputs, in order; no script guards them.
        made: the outputs, in order.
        openings: what each commitment among them holds.
        accounts: the owners of the inputs.
        fee: in unxs; `transfer_fee` says the least.
        random: see `Randomness`.
        progress: is told of the hashcash.

    Raises:
        Refused: UNPROVEN if the money does not balance, BAD_ARGUMENT for a commitment without an opening.
    """
    payload = Transfer(tuple(one.outpoint for one in spent), tuple(made))
    body = find_work(body_of(point, payload, fee, None), point.difficulty, progress)
    before, after = _holdings(openings, [one.output for one in spent]), _holdings(openings, made)
    if not any(one.commitment for one in (*before, *after)):
        return Draft(body, tuple(accounts))
    return Draft(body, tuple(accounts), (prove_movement(sign_digest(encode(body)), before, after, fee, random),))


def transfer_fee(
    point: ChainPoint, spent: Sequence[Spent], made: Sequence[Output], accounts: Sequence[Account]
) -> Amount:
    """Return the least fee of `draft_outputs`."""
    payload = Transfer(tuple(one.outpoint for one in spent), tuple(made))
    hidden = held_by((*(one.output for one in spent), *made))
    ranges = bytes(default_proofs().range_size(len(held_by(made))))
    excesses = (bytes(EXCESS_SIZE),) * len({one.asset for one in hidden})
    return least_fee(point, payload, accounts, None, (TransferProof(ranges, excesses),) if hidden else ())


def draft_script(
    point: ChainPoint, plan: ScriptPlan, accounts: Sequence[Account], fee: int, random: Randomness,
    progress: Progress = no_progress,
) -> Draft:
    """Return the transaction with all its proofs.

    Args:
        point: the chain.
        plan: what it does; its money balances with the fee.
        accounts: exactly those who sign.
        fee: in unxs; `script_gas` says the least.
        random: see `Randomness`.
        progress: is told of the hashcash.

    Raises:
        Refused: as `run_program`; UNPROVEN if the money does not balance or a hidden condition does not hold;
            MISSING_SIGNATURE, SURPLUS_SIGNATURE for accounts that are not those who sign; BAD_ARGUMENT for a
            commitment without an opening.
    """
    script = _payload(plan, script_gas(point, plan, accounts))
    _check_accounts(script, plan, accounts)
    body = msgspec.structs.replace(body_of(point, script, fee, None), expiry=_expiry(point, plan))
    body = find_work(body, point.difficulty, progress)
    context = sign_digest(encode(body))
    signers = needed_signers(script, _outputs(plan))
    sight = sight_of(script, _outputs(plan), body.expiry, signers)
    openings = {key: Committed(*opening) for key, opening in plan.openings.items()}
    proof = prove_program(plan.program, sight, Secrets(openings, iter(plan.allocated)), context, random(_ENTROPY))
    shown = prove_movement(
        context, _holdings(plan.openings, _outputs(plan)), _holdings(plan.openings, plan.made), fee, random
    )
    shown = msgspec.structs.replace(shown, program=proof)
    return Draft(body, tuple(accounts), (shown,) if proof or shown.excesses else ())


def script_gas(point: ChainPoint, plan: ScriptPlan, accounts: Sequence[Account]) -> int:
    """Return the gas that a plan takes, and so wants. Raises Refused as `run_program`."""
    script = _payload(plan, 2**31)
    ran = _ran(point, plan, script)
    assets = {one.asset for one in held_by((*_outputs(plan), *plan.made))}
    ranges = bytes(default_proofs().range_size(len(held_by(plan.made))))
    program = bytes(program_proofs().proof_size(ran.system)) if ran.needs_proof else b""
    proofs = (TransferProof(ranges, (bytes(EXCESS_SIZE),) * len(assets), program),) if program or assets else ()
    keys = [account.public_key for account in accounts]
    size = size_of(point, script, accounts, None, proofs)
    return intrinsic_gas(script, size, keys, len(assets)) + program_gas(ran)


def _ran(point: ChainPoint, plan: ScriptPlan, script: Script) -> Ran:
    outputs = _outputs(plan)
    sight = sight_of(script, outputs, _expiry(point, plan), needed_signers(script, outputs))
    return run_program(plan.program, sight)


def _expiry(point: ChainPoint, plan: ScriptPlan) -> Height:
    return min(point.expiry(), plan.not_after)


def _payload(plan: ScriptPlan, gas: int) -> Script:
    inputs = tuple(one.outpoint for one in plan.spent)
    signers = tuple(sorted(set(plan.signers)))
    return Script(inputs, plan.made, plan.program, plan.call, plan.data, signers, plan.not_before, gas)


def _check_accounts(script: Script, plan: ScriptPlan, accounts: Sequence[Account]) -> None:
    needed, given = needed_signers(script, _outputs(plan)), {account.address for account in accounts}
    if needed - given:
        raise Refused(Reason.MISSING_SIGNATURE, f"{min(needed - given).hex()} has to sign, too")
    if given - needed:
        raise Refused(Reason.SURPLUS_SIGNATURE, f"{min(given - needed).hex()} need not sign")


def _outputs(plan: ScriptPlan) -> tuple[Output, ...]:
    return tuple(one.output for one in plan.spent)


def _holdings(openings: Mapping[bytes, Opening], outputs: Sequence[Output]) -> list[Holding]:
    found = []
    for output in outputs:
        hidden = held(output)
        if hidden is not None:
            opening = openings.get(hidden.commitment)
            if opening is None:
                raise Refused(Reason.BAD_ARGUMENT, f"nobody told what the commitment {hidden.commitment.hex()} holds")
            found.append(Holding(hidden.asset, opening, hidden.commitment))
        elif isinstance(output, Coin):
            found.append(Holding(output.asset, Opening(output.amount, 0)))
    return found
