"""How a node is made to lie, and what is read back from one that does."""

from pathlib import Path

import pytest

from consensus.signing import KeySigner
from crypto.errors import Reason, Refused
from node.chain import open_chain
from state.memory import MemoryStore
from testnet.byzantine.__main__ import main
from testnet.byzantine.behaviours import BEHAVIOURS, lying
from testnet.byzantine.confession import Lie, first_lie
from testnet.cli import liar
from tests.node.lab import Lab
from tests.node.world import World


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3=double_prevote", ("3", ["double_prevote"])),
        ("node2=equivocating_proposal,double_prevote", ("node2", ["equivocating_proposal", "double_prevote"])),
    ],
)
def test_a_liar_is_named_with_what_it_does(text: str, expected: tuple[str, list[str]]) -> None:
    assert liar(text) == expected


@pytest.mark.parametrize("text", ["3", "3=", "3=honest", "3=silent,honest"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        liar(text)
    assert refused.value.reason is Reason.USAGE


def test_the_process_says_how_it_is_used(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for arguments, code in (([str(tmp_path)], 2), (["--help"], 0)):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == code
    told = capsys.readouterr().out
    assert all(name in told for name in BEHAVIOURS)


def test_wrappers_stand_around_each_other_and_share_a_seat() -> None:
    lab = Lab(Path("/nonexistent"), size=1)
    world = World(lab.genesis, [lab.consensus_keys[0].public_key])
    world.start(world.machines[0])
    chain = open_chain(MemoryStore(), lab.genesis)
    made = lying("silent", "delayed")(world.machines[0].core, KeySigner(lab.consensus_keys[0]), chain)
    made.peer_connected(world.machines[0].name, world.now)
    assert type(made).__name__ == "Delayed"
    assert made.inner.seat is made.seat  # type: ignore[attr-defined]
    assert made.seat.peers == [world.machines[0].name]  # type: ignore[attr-defined]


def test_the_first_lie_is_read_from_a_log() -> None:
    log = (
        "2026-01-01T00:00:00.000000Z [info     ] committed                      category=block height=4\n"
        "2026-01-01T00:00:01.500000Z [warning  ] lie                            category=consensus height=5 round=0 "
        "what=double_prevote\n"
        "2026-01-01T00:00:02.000000Z [warning  ] lie                            category=consensus height=6 round=0 "
        "what=double_prevote\n"
    )
    assert first_lie(log) == Lie(1767225601.5, "double_prevote", 5)
    assert first_lie(log.splitlines()[0]) is None
