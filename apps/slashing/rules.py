"""Who is punished: for signing twice by evidence, for absence by the commits that blocks hold. And the way back."""

from msgspec.structs import replace

from apps.chain.records import epoch_of, security, validators_at
from apps.module import BlockDraft, Context
from apps.slashing.messages import Unjail
from apps.slashing.records import jailed_power, missed_at, set_jailed_power, set_uptime, uptime, with_miss
from apps.slashing.reputation import after_jail, rate_validators
from apps.staking.pool import worth
from apps.staking.punishment import slash_operator
from apps.staking.records import (
    candidates,
    find_operator,
    get_operator,
    operator_of_key,
    pool_of,
    position_of,
    set_candidates,
    set_operator,
    staking_params,
)
from apps.staking.sets import enlist, expel
from consensus.evidence import height_of
from consensus.types import Evidence, Validator
from crypto.errors import Reason, Refused
from state.changes import Overlay, Reader
from state.params import BASIS
from state.receipt import Event
from state.types import Address, Height


def begin_block(state: Overlay, block: BlockDraft, events: list[Event]) -> None:
    """Punish whom the block's evidence accuses, then look who is missing in the last commit.

    Raises:
        Refused: BAD_EVIDENCE against who is out for ever, also by what comes before it in the same block;
            UNKNOWN_VALIDATOR against a key that is no operator's.
    """
    for evidence in block.evidence:
        _tombstone(state, block, check_accused(state, evidence), height_of(evidence), events)
    absent = _absent(state, block)
    if absent:
        _judge(state, block, absent, events)


def check_accused(reader: Reader, evidence: Evidence) -> Address:
    """Return the operator that evidence accuses, if a block on this state may accuse it.

    The first accusation puts an operator out for ever, whichever of its keys signed twice. More of them would change
    nothing and fill the state: a block that holds one is invalid.

    Raises:
        Refused: BAD_EVIDENCE against who is tombstoned, UNKNOWN_VALIDATOR against a key that is no operator's.
    """
    operator = operator_of_key(reader, evidence.validator)
    if operator is None:
        raise Refused(Reason.UNKNOWN_VALIDATOR, "the accused key is no operator's")
    if get_operator(reader, operator).tombstoned:
        raise Refused(Reason.BAD_EVIDENCE, "the accused is out for ever already")
    return operator


def is_punished(reader: Reader, validator: Address) -> bool:
    """Tell whether the operator of a consensus key is tombstoned: no block may accuse it again."""
    operator = operator_of_key(reader, validator)
    return operator is not None and get_operator(reader, operator).tombstoned


def _tombstone(state: Overlay, block: BlockDraft, operator: Address, fault: int, events: list[Event]) -> None:
    """Slash an equivocator and put it out of the set for ever."""
    found = get_operator(state, operator)
    slash_operator(state, operator, fault, staking_params(state).slash_double_sign, events)
    set_operator(state, operator, replace(found, tombstoned=True, jailed_until=block.height, score=0))
    set_candidates(state, [one for one in candidates(state) if one != operator])
    expel(state, block.height, operator)
    set_uptime(state, operator, None)
    events.append(Event("slashing/tombstone", (("operator", operator.hex()), ("fault", str(fault)))))


def end_block(state: Overlay, block: BlockDraft, events: list[Event]) -> None:
    """At the end of an epoch, move the reputations on."""
    if block.height % security(state).epoch_length == 0:
        rate_validators(state, block)


# ---- downtime


def _absent(state: Overlay, block: BlockDraft) -> list[Validator]:
    """Return who had a vote on the block before and is not in its commit."""
    commit = block.last_commit
    if not commit.signatures:
        return []
    validators = validators_at(state, commit.height).validators
    signed = {signature.validator for signature in commit.signatures}
    return [one for index, one in enumerate(validators) if index not in signed]


def _judge(state: Overlay, block: BlockDraft, absent: list[Validator], events: list[Event]) -> None:
    """Note who is absent, and jail those who were too often; the worst first."""
    rules, height = staking_params(state), block.last_commit.height
    epoch = epoch_of(block.height, security(state).epoch_length)
    guilty = []
    for validator in absent:
        found = find_operator(state, validator.operator)
        if found is None or found.jailed:
            continue
        known = with_miss(uptime(state, validator.operator), height, rules.downtime_window, epoch)
        set_uptime(state, validator.operator, known)
        missed = missed_at(known, height, rules.downtime_window)
        if (rules.downtime_window - missed) * BASIS < rules.downtime_window * rules.min_signed:
            guilty.append((-missed, validator.operator))
    for _missed, operator in sorted(guilty):
        if _may_jail(state, block, operator, epoch):
            _jail(state, block, operator, events)


def _may_jail(state: Overlay, block: BlockDraft, operator: Address, epoch: int) -> bool:
    """Tell whether one more may go: downtime takes away at most a third of the power in an epoch.

    More absentees than that are an outage of the network rather than of validators. To jail them all would leave the
    chain to the few that see each other, and tear the overlap of sets that light clients rely on.
    """
    validators = validators_at(state, block.height + 2)
    own = sum(one.power for one in validators.validators if one.operator == operator)
    gone = jailed_power(state, epoch)
    if own == validators.total_power or 3 * (gone + own) > validators.total_power + gone:
        return False
    set_jailed_power(state, epoch, gone + own)
    return True


def _jail(state: Overlay, block: BlockDraft, operator: Address, events: list[Event]) -> None:
    rules = staking_params(state)
    slash_operator(state, operator, block.last_commit.height, rules.slash_downtime, events)
    found = get_operator(state, operator)
    until = Height(block.height + rules.jail_blocks)
    set_operator(state, operator, replace(found, jailed_until=until, score=after_jail(found.score)))
    set_uptime(state, operator, None)
    expel(state, block.height, operator)
    events.append(Event("slashing/jail", (("operator", operator.hex()), ("until", str(until)))))


def unjail(context: Context, message: Unjail) -> None:
    """Take the sender's validator out of jail.

    Raises:
        Refused: UNKNOWN_VALIDATOR, NOT_JAILED, TOMBSTONED, JAILED before its time, INSUFFICIENT_STAKE.
    """
    state, operator = context.state, context.sender
    found = get_operator(state, operator)
    if found.tombstoned:
        raise Refused(Reason.TOMBSTONED, "a validator that signed twice never votes again")
    if not found.jailed:
        raise Refused(Reason.NOT_JAILED, "the validator is not in jail")
    if context.block.height < found.jailed_until:
        raise Refused(
            Reason.JAILED, f"in jail until height {found.jailed_until}, this is {context.block.height}"
        )
    own, least = worth(pool_of(state, operator), position_of(state, operator, operator).shares), _least(state)
    if own < least:
        raise Refused(Reason.INSUFFICIENT_STAKE, f"the operator's own stake is {own} unxs, at least {least} votes")
    set_operator(state, operator, replace(found, jailed_until=Height(0)))
    enlist(state, operator)
    context.emit("slashing/unjail", operator=operator.hex())


def _least(state: Overlay) -> int:
    return staking_params(state).min_self_stake
