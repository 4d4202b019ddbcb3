"""What wrong proofs can cost a node: of a peer until it is let go, and of gossip, where there is nobody to let go."""

from collections.abc import Callable, Sequence

import pytest

from apps.admission import Admission as Admitted
from apps.admission import check_for_admission
from apps.prooftask import ProofTask
from apps.validity import View
from crypto.errors import Reason, Refused
from node import admission
from node.actions import Action, Disconnect, Verify
from node.admission import GOSSIP, may_be_costly
from node.core import Core
from node.signatures import Verdict
from node.turns import FORGIVEN_AFTER, MAX_WAITING, MAX_WRONG, OBJECT, PARALLEL, Patience, Turns
from p2p.network import PeerId
from state.transaction import Decoded, decode_transaction
from tests.node.test_core import payment, world
from tests.node.test_mempool_anonymous import closing, spend
from tests.node.test_mempool_anonymous import payment as anonymous

ONE, OTHER = PeerId(b"\x01" * 32), PeerId(b"\x02" * 32)
SLICES = 20
WRONG: Verdict = Refused(Reason.BAD_RANGE_PROOF, "made up")
Push = Callable[[PeerId, int], list[Action]]


@pytest.fixture
def proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every transaction stands on a proof."""

    def check(decoded: Decoded, view: View, pending_fees: int = 0) -> Admitted:
        return check_for_admission(decoded, view, pending_fees)._replace(proofs=ProofTask(decoded.wtxid))

    monkeypatch.setattr(admission, "check_for_admission", check)
    monkeypatch.setattr(admission, "may_be_costly", lambda _decoded: True)


class Node:
    """A core that is told of verdicts when the test says so; counts what it has verified."""

    def __init__(self) -> None:
        self.core: Core = world().machines[0].core
        self.now = 1_000
        self.tickets: list[Verify] = []
        self.verified = 0
        self.gone: list[tuple[PeerId, Reason]] = []

    def connect(self, peer: PeerId) -> None:
        self.note(self.core.peer_connected(peer, self.now))

    def push(self, peer: PeerId, *nonces: int) -> None:
        self.note(self.core.transactions([payment(nonce) for nonce in nonces], peer, 0, self.now))

    def judge(self, verdict: Verdict) -> None:
        """Finish the slice that was begun first: every proof in it is the same."""
        order = self.tickets.pop(0)
        self.verified += len(order.checks)
        self.note(self.core.verified(order.ticket, [verdict] * len(order.checks), self.now))

    def note(self, actions: Sequence[Action]) -> None:
        self.tickets += [action for action in actions if isinstance(action, Verify)]
        self.gone += [(action.peer_id, action.reason) for action in actions if isinstance(action, Disconnect)]

    def refused(self, reason: Reason) -> int:
        return self.core.admission.refusals.get(reason, 0)


@pytest.mark.usefixtures("proven")
def test_a_peer_with_wrong_proofs_costs_two_slices_however_many_it_sends() -> None:
    node = Node()
    node.connect(ONE)
    for nonce in range(SLICES):
        node.push(ONE, nonce)
    assert len(node.tickets) == PARALLEL
    node.judge(WRONG)
    assert node.gone == [(ONE, Reason.BAD_RANGE_PROOF)]
    node.push(ONE, SLICES)  # it was on its way before the peer was gone
    while node.tickets:
        node.judge(WRONG)
    assert node.verified == PARALLEL
    node.note(node.core.peer_disconnected(ONE, node.now))
    node.connect(ONE)
    node.push(ONE, SLICES + 1)
    assert len(node.tickets) == 1


@pytest.mark.usefixtures("proven")
def test_honest_slices_wait_for_their_turn_and_all_come_in() -> None:
    node = Node()
    for peer in (ONE, OTHER):
        node.connect(peer)
    for nonce in range(0, SLICES, 2):
        node.push(ONE, nonce, nonce + 1)
    node.push(OTHER, SLICES)
    assert len(node.tickets) == PARALLEL + 1  # another peer does not wait for this one
    while node.tickets:
        node.judge(True)
    assert (node.verified, len(node.core.mempool), node.gone) == (SLICES + 1, SLICES + 1, [])


@pytest.mark.usefixtures("proven")
def test_gossip_with_too_many_wrong_proofs_is_taken_without_proofs_for_a_while() -> None:
    node = Node()
    for nonce in range(MAX_WRONG + 5):
        node.push(GOSSIP, nonce)
        while node.tickets:
            node.judge(WRONG)
    assert (node.verified, node.refused(Reason.RATE_LIMITED), node.gone) == (MAX_WRONG, 5, [])
    node.connect(ONE)
    node.push(ONE, 100)  # whom one can blame is heard
    node.judge(True)
    node.now += FORGIVEN_AFTER
    for nonce in (101, 102):
        node.push(GOSSIP, nonce)
        while node.tickets:
            node.judge(WRONG)
    assert (node.verified, node.refused(Reason.RATE_LIMITED)) == (MAX_WRONG + 2, 6)


def test_what_may_be_costly_to_refuse() -> None:
    costly = [one for one in (closing(1).decoded, anonymous(0), spend(1)) if may_be_costly(one)]
    assert len(costly) == 3
    assert not may_be_costly(decode_transaction(payment(0)))


def test_without_proofs_nobody_waits() -> None:
    node = Node()
    node.connect(ONE)
    for nonce in range(SLICES):
        node.push(ONE, nonce)
    assert len(node.tickets) == SLICES


def test_what_waits_is_bounded_and_forgotten_with_its_sender() -> None:
    turns = Turns()
    turns.begin(ONE)
    assert turns.is_free(ONE)
    turns.begin(ONE)
    assert not turns.is_free(ONE)
    large = bytes(MAX_WAITING // 2 - OBJECT)
    assert [turns.wait(ONE, [large]), turns.wait(ONE, [large]), turns.wait(ONE, [b"x"])] == [True, True, False]
    assert turns.wait(OTHER, [large])
    assert not turns.next(ONE)
    turns.end(ONE)
    assert turns.next(ONE) == [large]
    assert turns.wait(ONE, [large])
    turns.forget(ONE)
    assert not turns.next(ONE)
    assert turns.wait(ONE, [large, large])
    turns.forget(ONE)
    small = [b"xy"] * (MAX_WAITING // (2 + OBJECT))  # what small ones take is what counts
    assert [turns.wait(ONE, small), turns.wait(ONE, [b"xy"])] == [True, False]


def test_wrong_proofs_are_forgotten_one_by_one_also_while_others_come() -> None:
    patience = Patience()
    patience.charge(MAX_WRONG, 0)
    assert patience.is_over(0)
    patience.charge(1, 10 * FORGIVEN_AFTER)
    assert not patience.is_over(10 * FORGIVEN_AFTER)
    patience.charge(9, 10 * FORGIVEN_AFTER)
    assert patience.is_over(10 * FORGIVEN_AFTER)
