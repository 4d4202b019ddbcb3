"""Anonymous accounts through the cores of four validators: proofs verified once by each, decoys that collide."""

from dataclasses import replace

import msgspec
import pytest

from apps.anonymous.records import held
from apps.prooftask import ProofTask
from crypto.batch import Fault
from crypto.errors import Reason, Refused
from crypto.quisquis import PaymentClaim, Quisquis
from node import signatures
from node.actions import Action, Disconnect
from node.wallet import Account
from p2p.network import Channel
from state.encoding import encode
from state.transaction import SET_SIZE, AccountProof, assemble, decode_transaction
from tests.node.people import BALANCE, FEE, People, accounts
from tests.node.test_core import lab, settled, world
from tests.node.world import Machine, World


@pytest.fixture
def made() -> World:
    return world()


def account() -> Account:
    return replace(lab().account(0), registered=True)


@pytest.fixture
def people(made: World) -> People:
    found = People()
    made.submit(made.machines[0], [found.open(made.point(), lab().account(0), lab().wallet_keys[0]).raw])
    made.run(lambda: settled(made, 1) and all(in_accounts(one) for one in made.machines))
    return found


def in_accounts(machine: Machine) -> int:
    return held(machine.core.chain.store)


def pay(made: World, people: People, owner: int) -> bytes:
    return people.pay(made.point(), owner, accounts(made.machines[0].core.chain.store))


def test_payments_are_proven_once_at_each_node(made: World, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[bytes] = []
    real = signatures.faults_of

    def count(tasks: list[ProofTask]) -> tuple[Fault, ...]:
        verified.extend(task.wtxid for task in tasks)
        return real(tasks)

    monkeypatch.setattr(signatures, "faults_of", count)
    raw = pay(made, people, 2)
    decoded = decode_transaction(raw)
    assert made.submit(made.machines[1], [raw]) == (decoded.txid,)
    made.run(lambda: all(in_accounts(one) == SET_SIZE * BALANCE - FEE for one in made.machines))
    assert verified == [decoded.wtxid] * len(made.machines)


def test_proofs_of_an_unseen_block_are_one_batch(made: World, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    made.drops = {Channel.TRANSACTIONS}
    batches: list[int] = []
    real = Quisquis.faults

    def count(self: Quisquis, claims: list[PaymentClaim], entropy: bytes) -> tuple[Fault, ...]:
        batches.append(len(claims))
        return real(self, claims, entropy)

    monkeypatch.setattr(Quisquis, "faults", count)
    made.submit(made.machines[1], [pay(made, people, 2)])
    made.run(lambda: all(in_accounts(one) == SET_SIZE * BALANCE - FEE for one in made.machines))
    assert batches == [1] * len(made.machines)


def test_of_two_payments_with_a_common_decoy_one_is_in_the_chain(made: World, people: People) -> None:
    """Each enters at another node before it can hear of the other: the one that a block takes evicts the other."""
    made.drops = {Channel.TRANSACTIONS}
    first, second = pay(made, people, 0), pay(made, people, 1)
    for machine, raw in zip(made.machines, (first, second), strict=False):
        assert made.submit(machine, [raw]) == (decode_transaction(raw).txid,)
    [refused] = made.submit(made.machines[0], [second])
    assert isinstance(refused, Refused) and refused.reason is Reason.CONFLICT
    made.run(lambda: all(in_accounts(one) < SET_SIZE * BALANCE for one in made.machines))
    assert {in_accounts(one) for one in made.machines} == {SET_SIZE * BALANCE - FEE}
    store = made.machines[0].core.chain.store
    stored = [raw for raw in (first, second) if store.receipt(decode_transaction(raw).txid) is not None]
    assert len(stored) == 1
    [lost] = [raw for raw in (first, second) if raw not in stored]
    assert all(len(machine.core.mempool) == 0 for machine in made.machines)
    [refused] = made.submit(made.machines[2], [lost])
    assert isinstance(refused, Refused) and refused.reason is Reason.ACCOUNT_NOT_FOUND
    loser = 1 if lost == second else 0  # proves it again, among the accounts that there are now
    made.drops = set()
    now = [one for one in accounts(store) if one.kept.height]
    own = people.own(loser, now)
    again = people.pay(made.point(), loser, [own, *[one for one in now if one != own][: SET_SIZE - 1]])
    assert made.submit(made.machines[2], [again]) == (decode_transaction(again).txid,)
    made.run(lambda: all(in_accounts(one) == SET_SIZE * BALANCE - 2 * FEE for one in made.machines))


@pytest.mark.parametrize("part", ["first", "movement"])
def test_a_peer_that_passes_a_bad_proof_on_is_let_go(made: World, people: People, part: str) -> None:
    good = decode_transaction(pay(made, people, 0))
    [proof] = good.transaction.proofs
    [other] = decode_transaction(pay(made, people, 1)).transaction.proofs
    assert isinstance(proof, AccountProof)
    raw = assemble(good.body, (), (msgspec.structs.replace(proof, **{part: getattr(other, part)}),))
    gone: list[Reason] = []

    def listen(machine: Machine, action: Action) -> bool:
        if isinstance(action, Disconnect) and machine is made.machines[0]:
            gone.append(action.reason)
        return False

    made.on_action = listen
    made.receive(made.machines[0], made.machines[1], [raw])
    assert gone == [Reason.BAD_MOVEMENT]
    [refused] = made.submit(made.machines[0], [raw])  # remembered: not verified again
    assert isinstance(refused, Refused) and refused.reason is Reason.BAD_MOVEMENT
    assert made.submit(made.machines[0], [good.raw]) == (good.txid,)  # the good one is not blocked


def test_a_call_that_may_not_close_an_account_does_not_wait(made: World, people: People) -> None:
    machine = made.machines[0]
    there, key = accounts(machine.core.chain.store), lab().wallet_keys[0]
    wrong = people.close(made.point(), 3, there, account(), key, 1, amount=BALANCE + 1)
    [refused] = made.submit(machine, [wrong.raw])
    assert isinstance(refused, Refused) and refused.reason is Reason.UNPROVEN
    good = people.close(made.point(), 3, there, account(), key, 1)
    made.drops = {Channel.TRANSACTIONS}
    assert made.submit(machine, [good.raw]) == (good.txid,)
    hiding = pay(made, people, 5)  # among the account that is about to be closed
    [refused] = made.submit(machine, [hiding])
    assert isinstance(refused, Refused) and refused.reason is Reason.CONFLICT
    made.run(lambda: all(in_accounts(one) == (SET_SIZE - 1) * BALANCE for one in made.machines))
    [refused] = made.submit(machine, [hiding])
    assert isinstance(refused, Refused) and refused.reason is Reason.ACCOUNT_NOT_FOUND
    assert encode(accounts(machine.core.chain.store)[3].kept) != encode(there[3].kept)  # the last one is there now
