"""The steps of one transaction, in the order in which a node takes them, each with what was checked and what came out.

Nothing here asks a node: whoever calls has gathered what the transaction spends, the keys of its signers and its
receipt. Every check is made again with the functions that execute a block; what cannot be checked, because the node
does not have it any more, is said to be unknown.
"""

from typing import Any, Final, NamedTuple

from apps.anonymous.form import check_anonymous_form
from apps.gas import gas_wanted, intrinsic_gas, program_gas
from apps.hidden import Movement, check_proof_form, held_by, movement
from apps.registry import MESSAGES
from apps.script import guard_of, needed_signers, script_of, sight_of
from apps.transfer import check_states
from apps.validity import check_output_form, check_signers
from crypto.address import encode_address
from crypto.confidential import Balance, Claim, default_proofs
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.schemes import scheme_of, verify
from node.anonymous.tracing import NOBODY, Members, account_steps, ring_steps
from node.api import shapes
from node.api.views import readable
from node.steps import Step, Verdict, checked
from state.records import POOL, asset_text, encode_amount
from state.transaction import (
    NO_SCRIPT,
    NOTHING,
    AccountPayment,
    Anonymous,
    Call,
    Coin,
    Decoded,
    OutPoint,
    Output,
    RingPayment,
    Script,
    Spend,
    State,
    made_by,
    sign_digest,
)
from state.types import MAX_AMOUNT, NATIVE, Address, AssetId
from state.zkvm.instructions import decode_program
from state.zkvm.machine import Ran, run_program
from state.zkvm.proving import ProgramClaim, check_proof_size, program_faults

PRUNED: Final = "the node does not have every output that is spent any more: its transaction is pruned"


class Found(NamedTuple):
    """An output that the transaction spends: None if nobody has it any more; `source` says where it was found."""

    outpoint: OutPoint
    output: Output | None
    source: str


class Gathered(NamedTuple):
    """What is known of a transaction.

    Attributes:
        decoded: the transaction.
        found: what it spends, in order.
        keys: of its signers, in witness order; None where nobody knows one.
        rotated: tells that keys of the chain are those of now, not of the transaction's height.
        receipt: how it ended; None if that is not known.
        simulated: the receipt is what the node foresees.
        refusal: why the node would not take it.
        members: among what it hides, if it is anonymous.
    """

    decoded: Decoded
    found: tuple[Found, ...]
    keys: tuple[bytes | None, ...]
    rotated: bool
    receipt: shapes.ReceiptView | None
    simulated: bool
    refusal: Refused | None
    members: Members = NOBODY


class _AnyPool:
    """A state of which only the turnstile is read: whether it held enough, the node that took the block has checked."""

    def get(self, key: bytes) -> bytes | None:
        """Return the greatest count for any pool."""
        return encode_amount(MAX_AMOUNT) if key.startswith(POOL) else None


def trace(known: Gathered) -> list[Step]:
    """Return the steps of a transaction."""
    decoded = known.decoded
    payload = decoded.body.payload
    steps = [_form(decoded), _signers(known)]
    if isinstance(payload, Call):
        steps += [_nonce(payload), _gas(known, None), _messages(payload)]
    elif isinstance(payload, AccountPayment):
        steps += [*account_steps(payload, decoded, known.members), _gas(known, None)]
    elif isinstance(payload, RingPayment):
        steps += [*ring_steps(payload, decoded, known.members), _added(decoded), _gas(known, None)]
    else:
        steps += _spend(payload, known)
    return [*steps, _receipt(known)]


def _form(decoded: Decoded) -> Step:
    body, payload = decoded.body, decoded.body.payload

    def check() -> None:
        for output in made_by(payload):
            check_output_form(output)
        if isinstance(payload, Anonymous):
            check_anonymous_form(payload, decoded)
            return
        if isinstance(payload, Spend) and len(set(payload.inputs)) != len(payload.inputs):
            raise Refused(Reason.DUPLICATE_INPUT, "an output is spent twice")
        check_proof_form(decoded)

    return checked("form", check, {
        "kind": type(payload).__name__.lower(), "bytes": len(decoded.raw), "version": body.version,
        "chain": body.chain_id.hex(), "anchor": body.anchor.hex(), "expiry": str(body.expiry),
        "fee": f"{body.fee} {asset_text(NATIVE)}", "sponsor": encode_address(body.sponsor) if body.sponsor else None,
    })  # fmt: skip


def _signers(known: Gathered) -> Step:
    decoded = known.decoded
    message = sign_digest(decoded.transaction.body)
    items, bad = [], set()
    for witness, key in zip(decoded.transaction.witnesses, known.keys, strict=True):
        verdict = Verdict.UNKNOWN
        if key is not None:
            verdict = Verdict.HOLDS if verify(key, message, witness.signature) else Verdict.FAILS
            if verdict is Verdict.FAILS and known.rotated and not witness.key:
                verdict = Verdict.UNKNOWN  # the account may have another key by now
        bad.add(verdict)
        items.append({
            "signer": encode_address(witness.signer), "scheme": None if key is None else scheme_of(key).name.lower(),
            "key": "in the witness" if witness.key else "on chain", "signature": verdict.value,
        })
    needed = _needed(known)
    if needed is None:
        return Step("signers", Verdict.UNKNOWN, PRUNED, {}, items)
    done = checked("signers", lambda: check_signers(sorted(needed), decoded), {}, items)
    if done.verdict is Verdict.HOLDS and Verdict.FAILS in bad:
        return Step("signers", Verdict.FAILS, f"{Reason.BAD_SIGNATURE.value}: a signature does not hold", {}, items)
    if done.verdict is Verdict.HOLDS and Verdict.UNKNOWN in bad:
        return Step("signers", Verdict.UNKNOWN, "the key of that time is not known any more", {}, items)
    return done


def _needed(known: Gathered) -> set[Address] | None:
    """Return who has to sign, without the sponsor."""
    payload = known.decoded.body.payload
    if isinstance(payload, Call):
        return {payload.sender}
    if isinstance(payload, Anonymous):
        return set()
    spent = _outputs(known)
    if spent is None:
        return None
    return needed_signers(payload, spent) if isinstance(payload, Script) else {output.owner for output in spent}


def _outputs(known: Gathered) -> tuple[Output, ...] | None:
    outputs = tuple(one.output for one in known.found if one.output is not None)
    return outputs if len(outputs) == len(known.found) else None


def _spend(payload: Spend, known: Gathered) -> list[Step]:
    decoded, spent = known.decoded, _outputs(known)
    inputs = [
        {**_described(f"{one.outpoint.txid.hex()}:{one.outpoint.index}", one.output), "found in": one.source}
        for one in known.found
    ]
    added = _added(decoded)
    if spent is None:
        names = ["inputs removed", "sums", *(["program"] if isinstance(payload, Script) else []), "gas"]
        unknown = [
            Step(name, Verdict.UNKNOWN, PRUNED, {}, inputs if name == "inputs removed" else ()) for name in names
        ]
        return [*unknown, *(step for step in (_range(known),) if step.facts), added]

    def guarded() -> None:
        allowed = {NO_SCRIPT, script_of(payload)} if isinstance(payload, Script) else {NO_SCRIPT}
        for output in spent:
            if guard_of(output) not in allowed:
                raise Refused(Reason.WRONG_SCRIPT, f"an input is guarded by {guard_of(output).hex()}")

    steps = [checked("inputs removed", guarded, {}, inputs)]
    sums, moved = _sums(payload, decoded, spent)
    steps.append(sums)
    ran: Ran | None = None
    if isinstance(payload, Script):
        program, ran = _program(payload, decoded, spent)
        steps.append(program)
    steps.append(_gas(known, ran))
    steps += _proofs(known, moved, ran)
    return [*steps, added]


def _added(decoded: Decoded) -> Step:
    outputs = [
        _described(f"{decoded.txid.hex()}:{index}", output)
        for index, output in enumerate(made_by(decoded.body.payload))
    ]
    return Step("outputs added", Verdict.DONE, "", {}, outputs)


def _described(outpoint: str, output: Output | None) -> dict[str, Any]:
    if output is None:
        return {"output": outpoint, "type": "pruned"}
    told: dict[str, Any] = {
        "output": outpoint, "type": type(output).__name__.lower(), "owner": encode_address(output.owner),
        "asset": asset_text(output.asset),
    }
    if isinstance(output, Coin):
        return {**told, "amount": str(output.amount)}
    told["commitment"] = "nothing" if output.commitment == NOTHING else output.commitment.hex()
    if isinstance(output, State):
        told["nonce"] = str(output.nonce)
    if guard_of(output) != NO_SCRIPT:
        told["script"] = guard_of(output).hex()
    return told


def _sums(payload: Spend, decoded: Decoded, spent: tuple[Output, ...]) -> tuple[Step, Movement | None]:
    items = []
    made = payload.outputs
    for asset in sorted({output.asset for output in (*spent, *made)} | {NATIVE}):
        coins = [
            sum(output.amount for output in side if isinstance(output, Coin) and output.asset == asset)
            for side in (spent, made)
        ]
        hidden = [sum(one.asset == asset for one in held_by(side)) for side in (spent, made)]
        fee = 0 if asset else decoded.body.fee
        items.append({
            "asset": asset_text(asset), "clear spent": str(coins[0]), "clear made": str(coins[1]), "fee": str(fee),
            "hidden spent": hidden[0], "hidden made": hidden[1], "turnstile": f"{coins[0] - coins[1] - fee:+d}",
        })
    moved: list[Movement] = []

    def check() -> None:
        moved.append(movement(payload, decoded, spent, _AnyPool()))
        check_states(spent, made)

    step = checked("sums", check, {}, items)
    return step, moved[0] if moved else None


def _program(script: Script, decoded: Decoded, spent: tuple[Output, ...]) -> tuple[Step, Ran | None]:
    facts: dict[str, Any] = {
        "program": f"{script.call.index + 1} of {script.call.size}", "bytes": len(script.program),
        "arguments": len(script.data), "heights": f"{script.not_before} to {decoded.body.expiry}",
    }
    ran: list[Ran] = []

    def check() -> None:
        facts["script"] = script_of(script).hex()
        facts["instructions"] = len(decode_program(script.program))
        sight = sight_of(script, spent, decoded.body.expiry, needed_signers(script, spent))
        one = run_program(script.program, sight)
        facts.update({
            "multipliers": one.system.multipliers, "constraints": len(one.system.constraints),
            "commitments": len(one.system.commitments), "work": one.work, "gas": str(program_gas(one)),
        })
        ran.append(one)

    step = checked("program", check, facts)
    return step, ran[0] if ran else None


def _gas(known: Gathered, ran: Ran | None) -> Step:
    decoded = known.decoded
    payload = decoded.body.payload
    keys = [key for key in known.keys if key is not None]
    if len(keys) != len(known.keys):
        return Step("gas", Verdict.UNKNOWN, "a signer's key is not known")
    intrinsic = intrinsic_gas(payload, len(decoded.raw), keys, decoded.excesses)
    program = 0 if ran is None else program_gas(ran)
    wanted = gas_wanted(payload, intrinsic)

    def check() -> None:
        if wanted < intrinsic + program:
            raise Refused(Reason.OUT_OF_GAS, f"{wanted} gas wanted, {intrinsic + program} used before any message")

    return checked("gas", check, {"intrinsic": str(intrinsic), "program": str(program), "wanted": str(wanted)})


def _proofs(known: Gathered, moved: Movement | None, ran: Ran | None) -> list[Step]:
    decoded = known.decoded
    seed = digest(Label.BATCH_WEIGHTS, decoded.wtxid)
    context = sign_digest(decoded.transaction.body)
    claim = None if moved is None else moved.claim
    pairs = () if claim is None else tuple(zip(claim.balances, claim.excesses, strict=True))
    steps = [_excess(balance, Claim(context, (), b"", (balance,), (excess,)), seed) for balance, excess in pairs]
    steps.append(_range(known))
    if ran is not None:
        shown = b"" if decoded.shown is None else decoded.shown.program
        steps.append(_program_proof(ProgramClaim(context, ran.system, shown), ran, seed))
    return [step for step in steps if step.facts]


def _excess(balance: Balance, claim: Claim, seed: bytes) -> Step:
    facts = {
        "asset": asset_text(AssetId(balance.asset)), "hidden spent": len(balance.spent),
        "hidden made": len(balance.made),
    }
    return checked("proof of excess", lambda: default_proofs().verify(claim, seed), facts)


def _range(known: Gathered) -> Step:
    decoded = known.decoded
    made = tuple(one.commitment for one in held_by(made_by(decoded.body.payload)))
    shown = b"" if decoded.shown is None else decoded.shown.ranges
    if not made and not shown:
        return Step("proof of range", Verdict.DONE, "nothing to prove")
    seed = digest(Label.BATCH_WEIGHTS, decoded.wtxid)
    context = sign_digest(decoded.transaction.body)
    return checked(
        "proof of range", lambda: default_proofs().verify_ranges(context, made, shown, seed),
        {"commitments": len(made), "bytes": len(shown)},
    )


def _program_proof(claim: ProgramClaim, ran: Ran, seed: bytes) -> Step:
    def check() -> None:
        check_proof_size(claim.system, claim.proof, needed=ran.needs_proof)
        for fault in program_faults([claim], seed) if ran.needs_proof else ():
            raise fault.refused

    facts = {
        "multipliers": ran.system.multipliers, "constraints": len(ran.system.constraints), "bytes": len(claim.proof),
        "needed": ran.needs_proof,
    }
    return checked("proof of program", check, facts)


def _nonce(call: Call) -> Step:
    return Step("nonce", Verdict.DONE, "", {"sender": encode_address(call.sender), "nonce": str(call.nonce)})


def _messages(call: Call) -> Step:
    items = []
    for message in call.messages:
        kind = MESSAGES.get(message.name)
        try:
            gas = None if kind is None else str(kind.gas(kind.codec.decode(message.value)))
        except Refused:
            gas = None
        items.append({"message": message.name, "gas": gas, "value": readable(message)["value"]})
    return Step("messages", Verdict.DONE, "", {}, items)


def _receipt(known: Gathered) -> Step:
    receipt = known.receipt
    name = "receipt foreseen" if known.simulated else "receipt"
    if known.refusal is not None:
        return Step(name, Verdict.FAILS, f"{known.refusal.reason.value}: {known.refusal.detail}")
    if receipt is None:
        return Step(name, Verdict.UNKNOWN, "the node has none")
    facts = {
        "height": str(int(receipt.height)), "index": receipt.index, "fee": str(int(receipt.fee)),
        "gas wanted": str(int(receipt.gas_wanted)), "gas used": str(int(receipt.gas_used)),
    }
    events = [{"event": one.name, **dict(one.attributes)} for one in receipt.events]
    verdict, detail = Verdict.DONE, ""
    if receipt.reason:
        verdict, detail = Verdict.FAILS, f"{receipt.reason}: {receipt.detail}"
    return Step(name, verdict, detail, facts, events)
