"""The plan of catching up, without peers: blocks are stand-ins that only have a height."""

from consensus.types import EMPTY_COMMIT, Block, Header
from node.sync import PARALLEL, RUN, WINDOW, CatchUp
from p2p.network import PeerId
from p2p.wire import GetBlocks, block_frames
from state.types import Address, BlockId, ChainId, Height

A, B, C = (PeerId(bytes([number]) * 32) for number in (1, 2, 3))
ZERO = bytes(32)


def header(height: int) -> Header:
    return Header(
        1, ChainId(ZERO), Height(height), height, Address(ZERO), BlockId(ZERO), ZERO, ZERO, ZERO, ZERO, ZERO, ZERO,
        ZERO, ZERO,
    )


def frames(height: int) -> list[bytes]:
    return list(block_frames(Block(header(height), (), EMPTY_COMMIT, ()), EMPTY_COMMIT))


def ask(plan: CatchUp, tip: int, first_ticket: int = 1) -> dict[int, tuple[PeerId, GetBlocks]]:
    asked = {}
    for ticket, (peer_id, request) in enumerate(plan.next_requests(Height(tip)), first_ticket):
        plan.started(ticket, peer_id, request)
        asked[ticket] = (peer_id, request)
    return asked


def answer(plan: CatchUp, ticket: int, first: int, last: int) -> None:
    for height in range(first, last + 1):
        for frame in frames(height):
            plan.frame(ticket, frame)
    plan.over(ticket)


def heights(plan: CatchUp, tip: int) -> list[int]:
    taken: list[int] = []
    while (found := plan.take(Height(tip))) is not None:
        tip += 1
        taken.append(found[0].block.header.height)
    return taken


def test_nothing_is_asked_without_anybody_ahead() -> None:
    plan = CatchUp()
    plan.note(A, Height(5))
    assert ask(plan, 5) == {} and not plan.active


def test_peers_are_asked_for_different_runs() -> None:
    plan = CatchUp()
    plan.note(A, Height(100))
    plan.note(B, Height(100))
    asked = ask(plan, 10)
    runs = [(request.first, request.last) for _, request in asked.values()]
    assert runs == [(11, 10 + RUN), (11 + RUN, 10 + 2 * RUN)]
    assert {peer_id for peer_id, _ in asked.values()} == {A, B}


def test_requests_and_window_are_bounded() -> None:
    plan = CatchUp()
    for number in range(20):
        plan.note(PeerId(bytes([number]) * 32), Height(1000))
    asked = ask(plan, 0)
    assert len(asked) == PARALLEL
    for ticket, (_, request) in asked.items():
        answer(plan, ticket, request.first, request.last)
    more = ask(plan, 0, 100)
    assert all(request.last <= WINDOW for _, request in more.values())


def test_blocks_come_out_in_order_whoever_was_first() -> None:
    plan = CatchUp()
    plan.note(A, Height(2 * RUN))
    plan.note(B, Height(2 * RUN))
    asked = ask(plan, 0)
    for ticket in reversed(list(asked)):
        _, request = asked[ticket]
        answer(plan, ticket, request.first, request.last)
    assert heights(plan, 0) == list(range(1, 2 * RUN + 1))
    assert not plan.active


def test_what_an_answer_lacks_is_asked_of_another() -> None:
    plan = CatchUp()
    plan.note(A, Height(4))
    ((ticket, (peer_id, _)),) = ask(plan, 0).items()
    assert peer_id == A
    plan.note(B, Height(4))
    answer(plan, ticket, 1, 2)
    ((_, (peer_id, request)),) = ask(plan, 0, 50).items()
    assert (peer_id, request.first, request.last) == (B, 3, 4)


def test_a_peer_that_breaks_its_word_is_believed_again_when_it_speaks() -> None:
    plan = CatchUp()
    plan.note(A, Height(4))
    (ticket,) = ask(plan, 0)
    plan.over(ticket)
    assert plan.best == 0 and ask(plan, 0) == {}
    plan.note(A, Height(4))
    assert len(ask(plan, 0, 9)) == 1


def test_blocks_of_a_forgotten_peer_are_dropped_and_asked_again() -> None:
    plan = CatchUp()
    plan.note(A, Height(2))
    (ticket,) = ask(plan, 0)
    answer(plan, ticket, 1, 2)
    plan.forget(A)
    assert not plan.active
    plan.note(C, Height(2))
    assert [peer_id for peer_id, _ in ask(plan, 0, 9).values()] == [C]


def test_heights_that_were_not_asked_for_are_ignored() -> None:
    plan = CatchUp()
    plan.note(A, Height(2))
    (ticket,) = ask(plan, 0)
    for height in (7, 2, 1):
        for frame in frames(height):
            plan.frame(ticket, frame)
    assert heights(plan, 0) == []


def test_blocks_that_the_chain_has_meanwhile_are_dropped() -> None:
    plan = CatchUp()
    plan.note(A, Height(2))
    (ticket,) = ask(plan, 0)
    answer(plan, ticket, 1, 2)
    assert heights(plan, 2) == [] and not plan.active


def test_the_time_left_follows_the_pace() -> None:
    plan = CatchUp()
    plan.note(A, Height(100))
    plan.advanced(Height(10), 1_000)
    assert plan.seconds_left == 0
    plan.advanced(Height(20), 2_000)
    assert plan.seconds_left == 8
    plan.advanced(Height(100), 9_000)
    assert plan.seconds_left == 0


def test_who_deleted_the_block_that_is_needed_is_no_hope_however_often_it_tells_its_height() -> None:
    plan = CatchUp()
    for peer_id in (A, B):
        plan.note(peer_id, Height(40))
    asked = ask(plan, 3)
    for ticket in asked:
        plan.over(ticket, deleted=True)
    for peer_id in (A, B):  # they say where they stand twice a second
        plan.note(peer_id, Height(41))
    assert (plan.best, plan.served, plan.unserved) == (41, 0, 40) and plan.has_deleted(A)
    plan.note(C, Height(30))
    assert plan.served == 30
    for ticket, (peer_id, request) in ask(plan, 3, 10).items():
        if peer_id == A:
            answer(plan, ticket, request.first, request.last)
    assert plan.served == 41 and not plan.has_deleted(A) and plan.has_deleted(B)
