"""The laboratory on real processes: two small manifests, and a network that has to fail."""

from pathlib import Path

import pytest

from testnet.lab.laboratory import run_manifest
from testnet.lab.manifest import LabManifest
from testnet.lab.reading import parse_manifest
from testnet.lab.report import LabReport

pytestmark = pytest.mark.network

FAULTS = parse_manifest("""
name = "faults"
until = 24
[classes.near]
delay = 5
loss = 0.01
[[links]]
between = ["here", "here"]
class = "near"
[nodes.alpha]
[nodes.beta]
core = "aioquic"
[nodes.gamma]
[nodes.delta]
[nodes.light]
role = "light"
start_at = 6
witnesses = ["beta"]
[[steps]]
do = "kill"
nodes = ["alpha"]
at = 6
lasts = 1.0
[[steps]]
do = "disconnect"
nodes = ["beta"]
at = 14
lasts = 2.0
""")
NO_QUORUM = parse_manifest("""
name = "no-quorum"
until = 16
[chain]
epoch_length = 4
[nodes.guide]
role = "seed"
[nodes.alpha]
snapshot_every = 5
[nodes.beta]
snapshot_every = 5
[nodes.late]
role = "full"
start_at = 12
sync = "snapshot"
seeds = ["guide"]
[[steps]]
do = "kill"
nodes = ["beta"]
at = 4
back = false
[[steps]]
do = "standstill"
lasts = 2.0
[[steps]]
do = "start"
nodes = ["beta"]
[[steps]]
do = "progress"
blocks = 2
""")


def run(manifest: LabManifest, root: Path) -> LabReport:
    return run_manifest(manifest, root, lambda _: None)


def test_faults_under_load_are_survived(tmp_path: Path) -> None:
    report = run(FAULTS, tmp_path / "net")
    assert [verdict for verdict in report.verdicts if not verdict.holds] == []
    assert report.passed and report.figures.committed > 10 and report.figures.datagrams > 0
    assert {"light agrees", "nobody signed two things"} <= {verdict.what for verdict in report.verdicts}


def test_without_a_quorum_nothing_is_decided_and_a_late_node_joins_by_a_snapshot(tmp_path: Path) -> None:
    report = run(NO_QUORUM, tmp_path / "net")
    assert [verdict for verdict in report.verdicts if not verdict.holds] == []
    names = {verdict.what for verdict in report.verdicts}
    assert {
        "without a quorum no block is decided", "the chain goes on", "late joined by a snapshot",
        "validators have the power that they bonded",
    } <= names  # fmt: skip


def test_a_node_that_dies_by_itself_fails_the_run(tmp_path: Path) -> None:
    manifest = parse_manifest('name = "dies"\nuntil = 5\n[nodes.alpha]\n')
    root = tmp_path / "net"

    def damage(_: object) -> None:
        (root / "alpha" / "genesis.json").write_text("{}")

    report = run_manifest(manifest, root, damage)
    assert not report.passed
    (what,) = [verdict for verdict in report.verdicts if verdict.what == "the run comes to its end"]
    assert "alpha ended" in what.detail
