"""A chain that begins from the state of another one: the same money, and nothing signed for one holds on the other."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as replaced

from apps.staking.messages import Delegate
from apps.staking.records import CANDIDATES, COMMISSION, POOL
from apps.supply import supply_differences
from apps.token.messages import Deposit, Lock, NewCoin, Transfer
from consensus.types import Vote
from crypto.errors import Reason, Refused
from node.export import export_genesis
from node.passing import message_frame
from node.wallet import ChainPoint, call, message
from p2p.wire import EvidenceMessage
from state import ledger
from state.encoding import encode
from state.genesis import Genesis, genesis_hash
from state.records import decode_lock
from state.types import NATIVE, UNXS_PER_NXS, Address, Amount, BlockId, Height
from tests.node import test_evidence_pool as evidence
from tests.node.test_core import BOB, lab, settled, world
from tests.node.world import Machine, World

LOCKED_UNTIL = 90


def lived() -> tuple[World, list[bytes]]:
    """A network that made payments, coins and a lock; and the transactions that did it."""
    made = world()
    chain_id = genesis_hash(lab().genesis)
    point = ChainPoint(chain_id, BlockId(chain_id), Height(0))
    coins = (NewCoin(BOB, Amount(7)), NewCoin(lab().account(0).address, Amount(8)))
    raws = []
    for nonce, one in enumerate((
        message("token/transfer", Transfer(NATIVE, BOB, Amount(100))),
        message("token/deposit", Deposit(NATIVE, coins)),
        message("token/lock", Lock(NATIVE, Amount(5), Height(LOCKED_UNTIL))),
    )):
        account = replace(lab().account(0), registered=bool(nonce))
        raws.append(call(point, account, lab().wallet_keys[0], nonce, [one]).raw)
        made.submit(made.machines[1], [raws[-1]])
        made.run(lambda height=2 * nonce + 2: settled(made, height))  # type: ignore[misc]
    return made, raws


def money(machine: Machine) -> dict[bytes, bytes]:
    """Everything that is somebody's, stake included."""
    store = machine.core.chain.store
    return {
        key: value for key, value in store.records_at(store.height)
        if key.startswith((b"token/", b"utxo/", b"auth/", POOL, COMMISSION, CANDIDATES))
    }


def begun(genesis: Genesis) -> World:
    made = World(genesis, [key.public_key for key in lab().consensus_keys])
    for machine in made.machines:
        made.start(machine)
    return made


def test_the_new_chain_has_the_same_money_and_goes_on() -> None:
    old, _ = lived()
    machine = old.machines[0]
    height = machine.core.chain.height
    genesis = export_genesis(machine.core.chain.store, lab().genesis, height)
    new = begun(genesis)
    before, after = money(machine), money(new.machines[0])
    assert any(key.startswith(POOL) for key in before)
    (lock,) = [key for key in before if key.startswith(b"token/lock/")]
    assert decode_lock(after.pop(lock)).release_height == LOCKED_UNTIL - height
    del before[lock]
    assert before == after
    store = new.machines[0].core.chain.store
    assert supply_differences(dict(store.records_at(Height(0)))) == {}
    assert [(one.public_key, one.power, one.operator) for one in genesis.validators] == [
        (one.public_key, one.power, one.operator) for one in machine.core.chain.tip.validators.validators
    ]
    chain_id = genesis_hash(genesis)
    point = ChainPoint(chain_id, BlockId(chain_id), Height(0))
    account = replace(lab().account(0), registered=True)
    pay = message("token/transfer", Transfer(NATIVE, BOB, Amount(1)))
    signed = call(point, account, lab().wallet_keys[0], 3, [pay])
    assert new.submit(new.machines[1], [signed.raw]) == (signed.txid,)
    new.run(lambda: settled(new, 2))
    assert ledger.balance(store, BOB, NATIVE) == 101
    assert store.outputs_of(BOB, 9) == machine.core.chain.store.outputs_of(BOB, 9) != []


def test_what_was_signed_for_the_old_chain_is_refused() -> None:
    old, raws = lived()
    machine = old.machines[0]
    new = begun(export_genesis(machine.core.chain.store, lab().genesis, machine.core.chain.height))
    target = new.machines[0]
    results = new.submit(target, raws)
    assert [result.reason for result in results if isinstance(result, Refused)] == [Reason.WRONG_CHAIN] * 3
    votes = [vote for _, vote in old.sent if isinstance(vote, Vote) and vote.height == 1]
    assert votes
    for vote in votes:
        target.core.consensus_frame(new.machines[1].name, message_frame(vote), new.now)
    assert target.core.agreement.counters.misbehaviour[Reason.BAD_SIGNATURE] == len(votes)


def test_an_earlier_height_gives_the_state_of_then() -> None:
    old, _ = lived()
    store = old.machines[0].core.chain.store
    early = export_genesis(store, lab().genesis, Height(2))
    assert early == export_genesis(old.machines[1].core.chain.store, lab().genesis, Height(2))
    new = begun(early)
    records = money(new.machines[0])
    assert not any(key.startswith(b"token/lock/") for key in records)
    assert ledger.balance(new.machines[0].core.chain.store, BOB, NATIVE) == 100
    assert ledger.nonce(new.machines[0].core.chain.store, Address(lab().account(0).address)) == 1


def test_the_validators_are_those_of_the_stake_that_goes_over() -> None:
    """In the midst of an epoch the set that votes does not know of stake that came since, nor of a new key."""
    old, raws = lived()
    machine, operator = old.machines[0], lab().genesis.validators[0].operator
    chain_id = genesis_hash(lab().genesis)
    point = ChainPoint(chain_id, BlockId(chain_id), Height(0))
    account = replace(lab().account(0), registered=True)
    bond = message("staking/delegate", Delegate(operator, Amount(5 * UNXS_PER_NXS)))
    height = machine.core.chain.height
    old.submit(old.machines[1], [call(point, account, lab().wallet_keys[0], len(raws), [bond]).raw])
    old.run(lambda: settled(old, height + 2))
    powers = {one.operator: one.power for one in machine.core.chain.tip.next_validators.validators}
    genesis = export_genesis(machine.core.chain.store, lab().genesis, machine.core.chain.height)
    assert {one.operator: one.power for one in genesis.validators} == powers | {operator: powers[operator] + 5}
    begun(genesis)


def accusing(*places: int) -> World:
    """A network whose second block accuses these validators."""
    made = World(evidence.lab().genesis, [key.public_key for key in evidence.lab().consensus_keys])
    for machine in made.machines:
        made.start(machine)
    for place in places:
        made.tell(made.machines[0], encode(EvidenceMessage(evidence.double_vote(1, place=place))))
    made.run(lambda: made.machines[0].core.chain.height >= 2)
    assert len(made.machines[0].core.chain.block(Height(2)).block.evidence) == len(places)
    return made


def test_who_signed_twice_is_none_of_them() -> None:
    store = accusing(2).machines[0].core.chain.store
    genesis = export_genesis(store, evidence.lab().genesis, Height(2))
    keys = [key.public_key for key in evidence.lab().consensus_keys]
    assert {one.public_key for one in genesis.validators} == {keys[0], keys[1], keys[3]}


def test_a_chain_whose_validators_all_signed_twice_is_not_exported() -> None:
    store = accusing(0, 1, 2, 3).machines[0].core.chain.store
    with pytest.raises(Refused) as caught:
        export_genesis(store, evidence.lab().genesis, Height(2))
    assert caught.value.reason is Reason.NOT_AVAILABLE
    assert len(export_genesis(store, evidence.lab().genesis, Height(1)).validators) == 4


def test_the_first_state_of_an_exported_chain_needs_another_name() -> None:
    old, _ = lived()
    first = export_genesis(old.machines[0].core.chain.store, lab().genesis, Height(4), "second")
    new = begun(first)
    store = new.machines[0].core.chain.store
    with pytest.raises(Refused) as caught:
        export_genesis(store, first, Height(0), "second")
    assert caught.value.reason is Reason.BAD_ARGUMENT
    again = export_genesis(store, first, Height(0))
    assert replaced(again, name="second") == first


def test_heights_that_are_not_kept_and_bad_names() -> None:
    old, _ = lived()
    store = old.machines[0].core.chain.store
    for height, name, reason in (
        (store.height + 1, "", Reason.NOT_AVAILABLE), (store.height, "n" * 65, Reason.BAD_ARGUMENT),
    ):
        with pytest.raises(Refused) as caught:
            export_genesis(store, lab().genesis, Height(height), name)
        assert caught.value.reason is reason
