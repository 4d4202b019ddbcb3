"""Gossip under attack, in memory: the scenarios of the vectors and ours, and the loader of such files."""

import json
import os
import sys
from pathlib import Path

import pytest

from crypto.errors import Reason, Refused
from testnet.attacks.cli import OWN_SCENARIOS, play_files
from testnet.attacks.scenario import delays, load_scenario, seconds

VECTORS = Path(os.environ.get("NEXUS_VECTORS", Path(__file__).parents[4] / "shared" / "vectors")) / "gossip_attacks"
SMALL = ("--honest", "12", "--attackers", "4")


def files() -> list[Path]:
    return sorted(VECTORS.glob("*.json"))


needs_files = pytest.mark.skipif(not files(), reason=f"no scenarios in {VECTORS}")


@pytest.mark.vectors
@needs_files
def test_every_file_is_read_and_tells_its_scale(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{len(files())} scenarios of gossip attacks\n")
    assert len(files()) >= 6
    for path in files():
        scenario = load_scenario(path)
        assert (scenario.honest, scenario.attackers) in ((50, 12), (50, 0))
        assert len(scenario.scale) == 6 and len(scenario.connect_at) == scenario.attackers
        assert scenario.honest_dials == 10 and scenario.publishers == 5 and scenario.message_size == 2048


@pytest.mark.vectors
@needs_files
def test_the_ratios_of_the_files_are_kept() -> None:
    censor, boot, colocation, degrade, eclipse = (
        load_scenario(VECTORS / f"1k-attack-{name}.json")
        for name in ("censor-single", "cold-boot", "colocation", "degrade-0.5", "eclipse-single")
    )
    assert (censor.behaviour.censors, censor.behaviour.drop, censor.attack_dials) == (True, 0.0, 50)
    assert (boot.behaviour.drop, boot.attack_dials, boot.connect_at) == (1.0, 11, (0.0,) * 12)
    assert (colocation.per_prefix, boot.per_prefix) == (12, 1)
    assert (degrade.behaviour.drop, degrade.connect_at) == (0.5, (20.0,) * 12)
    assert eclipse.behaviour.one_victim and eclipse.victim_links == 2  # 12 to 2 are the file's 250 to 40


@pytest.mark.vectors
@pytest.mark.parametrize("name", [path.stem for path in files()] + [path.stem for path in OWN_SCENARIOS.glob("*.json")])
def test_a_small_network_holds(name: str) -> None:
    pytest.importorskip("libp2p", reason="the extra libp2p needs libgmp-dev to be built")
    (path,) = [path for path in (VECTORS / f"{name}.json", OWN_SCENARIOS / f"{name}.json") if path.exists()]
    ((row, held),) = play_files([path], *SMALL)
    assert held, row
    assert row.delivered >= 0.99 and row.p99 < 6 and row.messages == 60


@pytest.mark.vectors
@pytest.mark.parametrize(
    "name", [pytest.param(path.stem, marks=[] if "boot" in path.stem else pytest.mark.slow) for path in files()]
)
def test_the_network_holds_at_full_scale(name: str) -> None:
    pytest.importorskip("libp2p", reason="the extra libp2p needs libgmp-dev to be built")
    ((row, held),) = play_files([VECTORS / f"{name}.json"])
    assert held, row
    assert row.delivered >= 0.99 and row.p99 < 6 and row.dropped == 0


def test_the_same_seed_plays_the_same_game() -> None:
    pytest.importorskip("libp2p", reason="the extra libp2p needs libgmp-dev to be built")
    path = OWN_SCENARIOS / "sleepers-at-publishers.json"
    options = ("--honest", "8", "--attackers", "2", "--seed")
    ((one, _),) = play_files([path], *options, "5")
    ((again, _),) = play_files([path], *options, "5")
    ((other, _),) = play_files([path], *options, "6")
    assert (one.p50, one.p99, one.held) == (again.p50, again.p99, again.held)
    assert one.p99 != other.p99


def test_go_durations_and_delays() -> None:
    assert (seconds("1m30s"), seconds("100ms"), seconds("0s")) == (90.0, 0.1, 0.0)
    assert delays("2@10s,1@1m", 4) == [10.0, 10.0, 60.0, 60.0]
    assert delays("2000@1m", 3) == [60.0] * 3
    for bad in ("", "5", "1x", "1m garbage"):
        with pytest.raises(ValueError, match="duration"):
            seconds(bad)


@pytest.mark.parametrize("change", [
    lambda tree: tree.pop("topic"), lambda tree: tree["main"].update(network=7),
    lambda tree: tree["main"]["time"].update(run={"value": "soon"}),
    lambda tree: tree["main"]["node_counts"].update(publisher={"value": "many"}),
], ids=["no topic", "no network", "no time", "no number"])
def test_what_is_no_scenario_is_refused(change: object, tmp_path: Path) -> None:
    tree = json.loads((OWN_SCENARIOS / "graft-spam.json").read_text())
    change(tree)  # type: ignore[operator]
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(Refused) as refused:
        load_scenario(path)
    assert refused.value.reason is Reason.MALFORMED


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        load_scenario(tmp_path / "nothing.json")
    assert refused.value.reason is Reason.CANNOT_OPEN
