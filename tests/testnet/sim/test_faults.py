"""Plans depend on the seed alone; partitions cut what their names say."""

from itertools import combinations, islice
from random import Random

import pytest

from crypto.errors import Reason, Refused
from testnet.sim.cli import kinds_of
from testnet.sim.faults import GROUPS, Fault, Kind, cut_paths, plan
from testnet.sim.liars import draw_liars


def fault(kind: Kind, order: tuple[int, ...], size: int = 0) -> Fault:
    return Fault(kind, 0, 0, order, size)


def both_ways(pairs: set[tuple[int, int]]) -> set[tuple[int, int]]:
    return pairs | {(other, one) for one, other in pairs}


def test_a_plan_is_the_same_again() -> None:
    one, other = (list(islice(plan(Random("7/faults"), 4, tuple(Kind)), 50)) for _ in range(2))
    assert one == other
    assert one != list(islice(plan(Random("8/faults"), 4, tuple(Kind)), 50))


def test_a_plan_holds_only_wanted_kinds_and_a_run_draws_some_of_them() -> None:
    drawn = [
        frozenset(fault.kind for fault in islice(plan(Random(seed), 4, GROUPS["links"]), 40)) for seed in range(30)
    ]
    assert all(kinds <= set(GROUPS["links"]) for kinds in drawn)
    assert len(set(drawn)) > 3


def test_without_kinds_there_is_no_plan() -> None:
    assert list(plan(Random(1), 4, ())) == []


def test_one_machine_is_not_divided() -> None:
    assert list(islice(plan(Random(1), 1, GROUPS["partitions"]), 5)) == []


def test_one_way_cuts_one_path() -> None:
    assert cut_paths(fault(Kind.ONE_WAY, (2, 0, 1, 3))) == {(2, 0)}


@pytest.mark.parametrize("size", range(5))
def test_halves_do_not_hear_each_other(size: int) -> None:
    cut = cut_paths(fault(Kind.HALF, (3, 1, 0, 2), size))
    part = (3, 1, 0, 2)[: 1 + size % 3]
    rest = {0, 1, 2, 3}.difference(part)
    assert cut == both_ways({(one, other) for one in part for other in rest})


def test_a_ring_leaves_two_neighbours() -> None:
    order = (4, 2, 0, 3, 1)
    cut = cut_paths(fault(Kind.RING, order))
    left = both_ways(set(combinations(range(5), 2))) - cut
    assert left == both_ways({(4, 2), (2, 0), (0, 3), (3, 1), (1, 4)})


def test_a_bridge_is_heard_by_both_parts() -> None:
    cut = cut_paths(fault(Kind.BRIDGE, (1, 0, 2, 3), 1))
    assert cut == both_ways({(0, 3), (2, 3)})


def test_names_of_faults() -> None:
    assert kinds_of("all") == tuple(Kind)
    assert kinds_of("none") == ()
    assert kinds_of("crashes,power,loss") == (*GROUPS["crashes"], Kind.LOSS)
    with pytest.raises(Refused) as caught:
        kinds_of("lightning")
    assert caught.value.reason is Reason.USAGE


def test_liars_are_as_many_as_a_network_bears() -> None:
    assert [len(draw_liars(3, nodes, "any")) for nodes in (1, 3, 4, 7, 10)] == [0, 0, 1, 2, 3]
    assert draw_liars(3, 7, "any") == draw_liars(3, 7, "any")
    assert draw_liars(3, 7, "") == ()


def test_liars_by_name() -> None:
    liars = draw_liars(1, 7, "double-prevote=2,amnesia")
    assert sorted(names for _, names in liars) == [("amnesia",), ("double_prevote",), ("double_prevote",)]
    assert len({machine for machine, _ in liars}) == 3
    for wrong in ("double_prevote=x", "no_such=1", "silent=5"):
        with pytest.raises(Refused) as caught:
            draw_liars(1, 4, wrong)
        assert caught.value.reason is Reason.USAGE
