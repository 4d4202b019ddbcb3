"""Links and connections by themselves."""

from random import Random

from testnet.sim.agenda import MS, SECOND, Agenda
from testnet.sim.network import BANNED, IDLE, Network


class End:
    def __init__(self) -> None:
        self.alive = True
        self.peers: dict[int, int] = {}
        self.seen: list[str] = []

    def connected(self, other: int, connection: int) -> None:
        self.peers[other] = connection
        self.seen.append(f"+{other}")

    def disconnected(self, other: int) -> None:
        del self.peers[other]
        self.seen.append(f"-{other}")

    def connection_with(self, other: int) -> int:
        return self.peers.get(other, 0)


def pair() -> tuple[Agenda, Network, list[End]]:
    agenda = Agenda()
    network, ends = Network(agenda, Random(1)), [End(), End()]
    network.begin(ends)
    return agenda, network, ends


def run_until(agenda: Agenda, time: int) -> None:
    while agenda.now < time:
        agenda.step()


def test_a_calm_link_keeps_the_order() -> None:
    agenda, network, _ = pair()
    arrived: list[int] = []
    for number in range(200):
        network.send(0, 1, lambda number=number: arrived.append(number))  # type: ignore[misc]
    run_until(agenda, SECOND)
    assert arrived == list(range(200))


def test_loss_repetition_and_reordering() -> None:
    agenda, network, _ = pair()
    network.weather.loss, network.weather.reordered, network.weather.repeated = 30, 50, 50
    network.weather.delay = (1 * MS, 500 * MS)
    arrived: list[int] = []
    for number in range(200):
        network.send(0, 1, lambda number=number: arrived.append(number))  # type: ignore[misc]
    run_until(agenda, SECOND)
    assert 100 < len(set(arrived)) < 180
    assert len(arrived) > len(set(arrived))
    assert arrived != sorted(arrived)


def test_answers_arrive_once_and_in_order_or_not_at_all() -> None:
    agenda, network, _ = pair()
    network.weather.reordered = network.weather.repeated = 100
    arrived: list[int] = []
    for number in range(50):
        assert network.stream(0, 1, lambda number=number: arrived.append(number))  # type: ignore[misc]
    run_until(agenda, SECOND)
    assert arrived == list(range(50))
    network.cut.add((0, 1))
    assert not network.stream(0, 1, lambda: arrived.append(0))


def test_a_cut_path_costs_the_connection_after_a_while_and_a_new_one_is_made() -> None:
    agenda, network, (one, other) = pair()
    assert one.seen == ["+1"] and other.seen == ["+0"]
    network.cut.add((0, 1))
    run_until(agenda, IDLE[0] - SECOND)
    assert one.peers
    run_until(agenda, IDLE[1] + SECOND)
    assert not one.peers and not other.peers
    network.cut.clear()
    run_until(agenda, IDLE[1] + 2 * SECOND)
    assert one.seen == ["+1", "-1", "+1"] and other.seen == ["+0", "-0", "+0"]


def test_who_starts_again_replaces_the_connection() -> None:
    agenda, _, (one, other) = pair()
    one.peers.clear()
    run_until(agenda, SECOND)
    assert other.seen == ["+0", "-0", "+0"]
    assert one.peers[1] == other.peers[0] == 2


def test_who_was_let_go_has_to_wait() -> None:
    agenda, network, (one, other) = pair()
    network.let_go(0, 1)
    assert not one.peers and not other.peers
    run_until(agenda, BANNED - SECOND)
    assert not one.peers
    run_until(agenda, BANNED + SECOND)
    assert one.peers
