"""Stake on its way: out of the chain (unbonding) or from one operator to another (redelegation).

Stake that is taken from an operator in epoch e backs votes until the set that is chosen at the end of e takes over, two
blocks into e + 1: so what leaves one operator in one epoch is one *cohort*, it stays slashable for faults below that
height, and it matures when `unbonding_blocks` and `unbonding` ms have passed since. A cohort is a pool: a slash costs
the same whoever and however many its owners are.

A cohort that leaves holds unxs. One that moves holds shares of the target's pool, whose part it is like any other
owner: it votes and earns there, and is slashed with it; besides, it is slashed for faults of the source. Until it has
matured its owners can neither unbond nor redelegate it again: it would have to answer for three.

    key                                             value
    staking/leaving/ operator epoch(8)              Pool of unxs
    staking/moving/ source target epoch(8)          Moving
    staking/cohorts/ source                         epochs in which stake left it that has not matured, concatenated
    staking/targets/ source epoch(8)                operators that it moved to then, concatenated
    staking/queue                                   Queue: numbers of the first waiting entry and of the next new one
    staking/entry/ number(8)                        Entry: an owner's part of a cohort; in the order of epochs
    staking/entries/ owner                          numbers of the owner's entries, concatenated
"""

from typing import Annotated, Final, NamedTuple

from msgspec import Meta
from msgspec.structs import replace

from apps.staking.pool import Pool, Position, deposit, pay, reward, slash, withdraw, worth
from apps.staking.records import pool_of, position_of, read_list, set_pool, set_position, write_list
from crypto.errors import Reason, Refused
from state.changes import Overlay, Reader
from state.encoding import Codec, Record, encode
from state.types import Address, AddressField, Amount, Unsigned

LEAVING: Final = b"staking/leaving/"
MOVING: Final = b"staking/moving/"
COHORTS: Final = b"staking/cohorts/"
TARGETS: Final = b"staking/targets/"
QUEUE: Final = b"staking/queue"
ENTRY: Final = b"staking/entry/"
ENTRIES: Final = b"staking/entries/"

MAX_ENTRIES: Final = 32
"""Parts of cohorts that one account may have at a time."""
MATURED_PER_BLOCK: Final = 256
"""Entries that one block pays out at most; the rest waits for the next."""
CARRIED_SHIFT: Final = 40
"""Numbers of epochs from 2**40 on are of stake that set out on the chain that this one was started from."""
NUMBER_SIZE: Final = 8
"""Bytes of an epoch or an entry's number in a key, big-endian."""


class Moving(Record, frozen=True):
    """A cohort that moves: a pool of shares of its target's pool, and that pool's index when the cohort was paid."""

    pool: Pool
    index: Annotated[bytes, Meta(min_length=24, max_length=24)]


class Entry(Record, frozen=True):
    """An owner's part of a cohort. `target` is empty for stake that leaves."""

    owner: AddressField
    source: AddressField
    target: Annotated[bytes, Meta(max_length=32)]
    epoch: Unsigned
    position: Position


class Queue(Record, frozen=True):
    """Entries `first` .. `end` - 1 wait."""

    first: Unsigned
    end: Unsigned


_pool_codec: Final = Codec(Pool)
_moving_codec: Final = Codec(Moving)
_entry_codec: Final = Codec(Entry)
_queue_codec: Final = Codec(Queue)


def number_bytes(number: int) -> bytes:
    """Return an epoch or an entry's number as it stands in keys."""
    return number.to_bytes(NUMBER_SIZE, "big")


def last_vote(epoch: int, epoch_length: int) -> int:
    """Return the last height that stake votes on that was taken away in this epoch; 0 for what never voted here."""
    return 0 if epoch >> CARRIED_SHIFT else (epoch + 1) * epoch_length + 1


def counted_from(epoch: int) -> int:
    """Return the epoch with whose end the wait of stake begins that was taken away in this one."""
    return 0 if epoch >> CARRIED_SHIFT else epoch


# ---- reading


def leaving_pool(reader: Reader, operator: bytes, epoch: int) -> Pool:
    """Return the cohort that left an operator in an epoch."""
    value = reader.get(LEAVING + operator + number_bytes(epoch))
    return Pool() if value is None else _pool_codec.decode(value)


def moving_cohort(reader: Reader, source: bytes, target: bytes, epoch: int) -> Moving:
    """Return the cohort that moved between two operators in an epoch."""
    value = reader.get(MOVING + source + target + number_bytes(epoch))
    return Moving(Pool(), Pool().index) if value is None else _moving_codec.decode(value)


def cohort_epochs(reader: Reader, source: bytes) -> list[int]:
    """Return the epochs in which stake left an operator that has not matured."""
    return [int.from_bytes(raw, "big") for raw in read_list(reader, COHORTS + source, NUMBER_SIZE)]


def targets_of(reader: Reader, source: bytes, epoch: int) -> list[Address]:
    """Return the operators to which stake moved in an epoch."""
    return read_list(reader, TARGETS + source + number_bytes(epoch))


def queue(reader: Reader) -> Queue:
    """Return which entries wait."""
    value = reader.get(QUEUE)
    return Queue(0, 0) if value is None else _queue_codec.decode(value)


def entry(reader: Reader, number: int) -> Entry | None:
    """Return one entry, or None once it has matured."""
    value = reader.get(ENTRY + number_bytes(number))
    return None if value is None else _entry_codec.decode(value)


def entries_of(reader: Reader, owner: bytes) -> list[tuple[int, Entry]]:
    """Return an owner's entries with their numbers, oldest first."""
    numbers = [int.from_bytes(raw, "big") for raw in read_list(reader, ENTRIES + owner, NUMBER_SIZE)]
    found = [(number, entry(reader, number)) for number in numbers]
    return [(number, one) for number, one in found if one is not None]


def entry_pool(reader: Reader, one: Entry) -> Pool:
    """Return the cohort that an entry is a part of."""
    if one.target:
        return moving_cohort(reader, one.source, one.target, one.epoch).pool
    return leaving_pool(reader, one.source, one.epoch)


def entry_amount(reader: Reader, one: Entry) -> Amount:
    """Return the unxs that an entry is worth now."""
    units = worth(entry_pool(reader, one), one.position.shares)
    return worth(pool_of(reader, one.target), units) if one.target else units


# ---- stake sets out


def leave(state: Overlay, owner: Address, source: Address, epoch: int, amount: int) -> None:
    """Put unxs that were bonded with an operator among those that leave it. Raises Refused(TOO_MANY_DELEGATIONS)."""
    cohort, shares = deposit(leaving_pool(state, source, epoch), amount)
    _open(state, source, epoch)
    state.put(LEAVING + source + number_bytes(epoch), encode(cohort))
    _add_entry(state, Entry(owner, source, b"", epoch, Position(shares, cohort.index)))


def move(state: Overlay, owner: Address, source: Address, target: Address, epoch: int, amount: int) -> Amount:
    """Bond unxs that were bonded with `source` with `target`, as a cohort; return what the owner is paid in rewards.

    Raises:
        Refused: TOO_MANY_DELEGATIONS, BANKRUPT, AMOUNT_OUT_OF_RANGE.
    """
    _collect(state, source, target, epoch)
    bonded, held = deposit(pool_of(state, target), amount)
    set_pool(state, target, bonded)
    cohort = moving_cohort(state, source, target, epoch)
    pool, shares = deposit(cohort.pool, held)
    _open(state, source, epoch)
    known = targets_of(state, source, epoch)
    if target not in known:
        write_list(state, TARGETS + source + number_bytes(epoch), [*known, target])
    _write_moving(state, source, target, epoch, Moving(pool, bonded.index))
    return _add_entry(state, Entry(owner, source, target, epoch, Position(shares, pool.index)))


def _open(state: Overlay, source: Address, epoch: int) -> None:
    """List the epoch among those with stake that left."""
    known = read_list(state, COHORTS + source, NUMBER_SIZE)
    if number_bytes(epoch) not in known:
        write_list(state, COHORTS + source, [*known, Address(number_bytes(epoch))])


def _add_entry(state: Overlay, new: Entry) -> Amount:
    """Add an entry, or add to the one of the same cohort; return the rewards that the owner is paid of the latter."""
    mine = entries_of(state, new.owner)
    for number, old in mine:
        if (old.source, old.target, old.epoch) == (new.source, new.target, new.epoch):
            paid = _pay_entry(state, old)
            shares = Amount(old.position.shares + new.position.shares)
            state.put(
                ENTRY + number_bytes(number), encode(replace(old, position=Position(shares, new.position.index)))
            )
            return paid
    if len(mine) >= MAX_ENTRIES:
        raise Refused(Reason.TOO_MANY_DELEGATIONS, f"at most {MAX_ENTRIES} amounts of one account may be on their way")
    waiting = queue(state)
    state.put(ENTRY + number_bytes(waiting.end), encode(new))
    state.put(QUEUE, encode(Queue(waiting.first, waiting.end + 1)))
    numbers = read_list(state, ENTRIES + new.owner, NUMBER_SIZE)
    write_list(state, ENTRIES + new.owner, [*numbers, Address(number_bytes(waiting.end))])
    return Amount(0)


# ---- rewards of stake that moves


def _collect(state: Overlay, source: Address, target: Address, epoch: int) -> None:
    """Take what a moving cohort has earned in its target's pool into its own."""
    cohort, bonded = moving_cohort(state, source, target, epoch), pool_of(state, target)
    if cohort.index == bonded.index or not cohort.pool.shares:
        return
    bonded, earned = pay(bonded, Position(cohort.pool.amount, cohort.index))
    pool = cohort.pool
    if earned and pool.price and pool.amount:
        pool = reward(pool, earned)
        set_pool(state, target, bonded)
    _write_moving(state, source, target, epoch, Moving(pool, bonded.index))


def _pay_entry(state: Overlay, one: Entry) -> Amount:
    """Take out what an entry has earned; the caller writes the entry's new index, and collected before."""
    if not one.target:
        return Amount(0)
    cohort = moving_cohort(state, one.source, Address(one.target), one.epoch)
    pool, paid = pay(cohort.pool, one.position)
    _write_moving(state, one.source, Address(one.target), one.epoch, replace(cohort, pool=pool))
    return paid


def claim_moving(state: Overlay, owner: Address, target: bytes) -> Amount:
    """Take out what an owner's stake on its way to an operator has earned there; return how much."""
    total = 0
    for number, one in entries_of(state, owner):
        if one.target and one.target == target:
            _collect(state, one.source, Address(one.target), one.epoch)
            total += _pay_entry(state, one)
            index = moving_cohort(state, one.source, one.target, one.epoch).pool.index
            state.put(
                ENTRY + number_bytes(number), encode(replace(one, position=Position(one.position.shares, index)))
            )
    return Amount(total)


def moving_due(reader: Reader, owner: bytes, target: bytes) -> Amount:
    """Return what `claim_moving` would take out."""
    return claim_moving(Overlay(reader), Address(owner), target)


def _write_moving(state: Overlay, source: Address, target: Address, epoch: int, new: Moving) -> None:
    state.put(MOVING + source + target + number_bytes(epoch), encode(new))


# ---- slashing


def slash_cohorts(state: Overlay, source: Address, fault: int, share: int, epoch_length: int) -> Amount:
    """Slash what left an operator after a fault at height `fault`; return the unxs that are gone."""
    lost = 0
    for epoch in cohort_epochs(state, source):
        if last_vote(epoch, epoch_length) < fault:
            continue
        cohort = leaving_pool(state, source, epoch)
        if cohort.shares:
            cut, gone = slash(cohort, share)
            state.put(LEAVING + source + number_bytes(epoch), encode(cut))
            lost += gone
        for target in targets_of(state, source, epoch):
            lost += _slash_moving(state, source, target, epoch, share)
    return Amount(lost)


def _slash_moving(state: Overlay, source: Address, target: Address, epoch: int, share: int) -> Amount:
    """Burn a share of a cohort that moved: the target's pool shrinks, the price of its shares stays."""
    _collect(state, source, target, epoch)
    cohort, bonded = moving_cohort(state, source, target, epoch), pool_of(state, target)
    pool, shares = slash(cohort.pool, share)
    gone = worth(bonded, shares)
    set_pool(state, target, withdraw(bonded, shares, gone))
    _write_moving(state, source, target, epoch, replace(cohort, pool=pool))
    return gone


# ---- stake arrives


class Arrived(NamedTuple):
    """An entry that has matured: what its owner is paid into its balance, and what stays behind as dust, in unxs."""

    entry: Entry
    paid: Amount
    dust: Amount


def arrive(state: Overlay, number: int, one: Entry) -> Arrived:
    """Take a matured entry out of its cohort.

    Stake that left is paid out. Stake that moved becomes the owner's plain delegation to the target, and its rewards
    are paid out. The caller credits the balance and keeps the dust.
    """
    state.delete(ENTRY + number_bytes(number))
    numbers = [raw for raw in read_list(state, ENTRIES + one.owner, NUMBER_SIZE) if raw != number_bytes(number)]
    write_list(state, ENTRIES + one.owner, numbers)
    if one.target:
        return _arrive_there(state, one, Address(one.target))
    cohort = leaving_pool(state, one.source, one.epoch)
    paid = worth(cohort, one.position.shares)
    left = withdraw(cohort, one.position.shares, paid)
    key = LEAVING + one.source + number_bytes(one.epoch)
    if left.shares:
        state.put(key, encode(left))
        return Arrived(one, paid, Amount(0))
    state.delete(key)
    _close(state, one.source, one.epoch)
    return Arrived(one, paid, left.amount)


def _arrive_there(state: Overlay, one: Entry, target: Address) -> Arrived:
    _collect(state, one.source, target, one.epoch)
    earned = _pay_entry(state, one)
    cohort = moving_cohort(state, one.source, target, one.epoch)
    shares = worth(cohort.pool, one.position.shares)
    left = withdraw(cohort.pool, one.position.shares, shares)
    bonded, mine = pool_of(state, target), position_of(state, one.owner, target)
    bonded, more = pay(bonded, mine)
    dust = 0
    if not left.shares:
        # shares of the target's pool that nobody owns any more: what they stand for stays in that pool as dust
        bonded = withdraw(bonded, left.amount, 0)
        dust = left.unpaid
        state.delete(MOVING + one.source + target + number_bytes(one.epoch))
        others = [other for other in targets_of(state, one.source, one.epoch) if other != target]
        write_list(state, TARGETS + one.source + number_bytes(one.epoch), others)
        _close(state, one.source, one.epoch)
    else:
        _write_moving(state, one.source, target, one.epoch, replace(cohort, pool=left))
    set_pool(state, target, bonded)
    set_position(state, one.owner, target, Position(Amount(mine.shares + shares), bonded.index))
    return Arrived(one, Amount(earned + more), Amount(dust))


def _close(state: Overlay, source: Address, epoch: int) -> None:
    """Take an epoch off the list once nothing of it is left."""
    if leaving_pool(state, source, epoch).shares or targets_of(state, source, epoch):
        return
    known = read_list(state, COHORTS + source, NUMBER_SIZE)
    write_list(state, COHORTS + source, [raw for raw in known if raw != number_bytes(epoch)])
