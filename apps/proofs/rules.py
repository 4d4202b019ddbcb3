"""What proofs do: each is checked against the epoch's challenge and recorded; its end settles the next beacon."""

from itertools import pairwise

from msgspec.structs import replace

from apps.chain.records import beacon, security, set_beacon
from apps.module import BlockDraft, Context
from apps.proofs.identity import credited
from apps.proofs.messages import Space, Time, Work
from apps.proofs.records import (
    Epoch,
    Given,
    SpaceRecord,
    epoch,
    given,
    proof_params,
    set_epoch,
    set_given,
    set_proof_params,
    set_space_record,
    space_record,
)
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.space import check_space, plot_id, space_challenge
from crypto.vdf import beacon_of, check_time, time_challenge
from crypto.work import meets
from state.changes import Overlay
from state.genesis import Genesis
from state.receipt import Event
from state.types import Address, ChainId

_NEVER = Given(0, 0)


# ---- messages


def give_space(context: Context, message: Space) -> None:
    """Accept a plot's answer: a space record for the account, and for a validator the epoch's proof of space.

    Raises:
        Refused: NOT_ASKED, WRONG_EPOCH, ALREADY_GIVEN, BAD_ARGUMENT, BAD_SPACE.
    """
    state = context.state
    least = proof_params(state).space_k
    _asked(least, "space")
    now = _current(context, message.epoch)
    account = credited(state, context.sender)
    last = space_record(state, account)
    if last is not None and last.epoch == now.number:
        raise Refused(Reason.ALREADY_GIVEN, f"the account has a space record of epoch {now.number}")
    if message.k < least:
        raise Refused(Reason.BAD_SPACE, f"the chain asks for plots of k = {least} at least, not {message.k}")
    numbers = [one.number for one in message.proofs]
    if any(one >= other for one, other in pairwise(numbers)):
        raise Refused(Reason.BAD_ARGUMENT, "the proofs are not in rising order of their challenges")
    plot = plot_id(context.block.chain_id, account, message.index)
    challenge = beacon(state)
    for one in message.proofs:
        check_space(plot, message.k, space_challenge(challenge, plot, one.number), one.proof)
    set_space_record(state, account, SpaceRecord(now.number, message.index, message.k))
    known = given(state, account) or _NEVER
    set_given(state, account, replace(known, space=now.number + 1))
    context.touched.add(account)
    context.emit("proofs/space", account=account.hex(), epoch=str(now.number), k=str(message.k))


def give_work(context: Context, message: Work) -> None:
    """Accept a validator's hashcash. Raises Refused(NOT_ASKED | WRONG_EPOCH | ALREADY_GIVEN | BAD_WORK)."""
    state = context.state
    bits = proof_params(state).work_bits
    _asked(bits, "work")
    now = _current(context, message.epoch)
    account = credited(state, context.sender)
    known = given(state, account) or _NEVER
    if known.work == now.number + 1:
        raise Refused(Reason.ALREADY_GIVEN, f"work was given in epoch {now.number}")
    if not meets(digest(Label.WORK, work_prefix(beacon(state), account) + message.nonce.to_bytes(8, "big")), bits):
        raise Refused(Reason.BAD_WORK, f"the hashcash needs {bits} leading zero bits")
    set_given(state, account, replace(known, work=now.number + 1))
    context.touched.add(account)
    context.emit("proofs/work", account=account.hex(), epoch=str(now.number))


def give_time(context: Context, message: Time) -> None:
    """Accept the delay function's output: it makes the next epoch's beacon. Anybody may show it, once in an epoch.

    Raises:
        Refused: NOT_ASKED, WRONG_EPOCH, ALREADY_GIVEN, BAD_TIME_PROOF.
    """
    state = context.state
    rules = proof_params(state)
    _asked(rules.vdf_iterations, "time")
    now = _current(context, message.epoch)
    if now.beacon:
        raise Refused(Reason.ALREADY_GIVEN, f"the beacon after epoch {now.number} is known")
    challenge = time_challenge(context.block.chain_id, now.number, now.seed)
    check_time(challenge, rules.vdf_bits, rules.vdf_iterations, message.output, message.proof)
    set_epoch(state, replace(now, beacon=beacon_of(message.output)))
    context.emit("proofs/time", epoch=str(now.number), beacon=beacon_of(message.output).hex())


def work_prefix(challenge: bytes, operator: Address) -> bytes:
    """Return what a validator's hashcash hashes before its nonce of 8 bytes: beacon || operator."""
    return challenge + operator


def _asked(parameter: int, what: str) -> None:
    if not parameter:
        raise Refused(Reason.NOT_ASKED, f"the chain asks for no proof of {what}")


def _current(context: Context, number: int) -> Epoch:
    now = epoch(context.state)
    if number != now.number:
        raise Refused(Reason.WRONG_EPOCH, f"the proof is for epoch {number}, this is {now.number}")
    return now


# ---- blocks


def write_genesis(state: Overlay, genesis: Genesis, chain_id: ChainId) -> None:
    """Write parameters, the first epoch and its beacon; the first validators have until the end of epoch 1."""
    set_proof_params(state, genesis.proofs)
    set_epoch(state, Epoch(0, True, b"", b""))
    set_beacon(state, weak_beacon(bytes(32), chain_id))
    for validator in genesis.validators:
        set_given(state, validator.operator, _NEVER)


def begin_block(state: Overlay, block: BlockDraft, events: list[Event]) -> None:
    """At an epoch's first block, note the id of the block before: the delay function begins there."""
    now = epoch(state)
    if not now.seed:
        set_epoch(state, replace(now, seed=block.previous))


def end_block(state: Overlay, block: BlockDraft, events: list[Event]) -> None:
    """At an epoch's last block, begin the next epoch with its beacon."""
    if block.height % security(state).epoch_length:
        return
    now = epoch(state)
    new = now.beacon or weak_beacon(beacon(state), block.previous)
    set_beacon(state, new)
    set_epoch(state, Epoch(now.number + 1, not now.beacon, b"", b""))
    attributes = (("number", str(now.number + 1)), ("beacon", new.hex()), ("weak", str(not now.beacon).lower()))
    events.append(Event("proofs/epoch", attributes))


def weak_beacon(previous: bytes, block_id: bytes) -> bytes:
    """Return the beacon of an epoch before which nobody showed the delay function's output.

    H("weak-beacon", previous beacon || id of the block before the epoch's deadline): its proposers could choose among
    as many beacons as they tried blocks.
    """
    return digest(Label.WEAK_BEACON, previous + block_id)
