"""Manifests of the laboratory: what is read, what is refused and by what words, what is drawn from seeds."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import Reason, Refused
from testnet.lab.build import peers_of
from testnet.lab.generator import generate
from testnet.lab.manifest import HERE, STEPS, Kill, LabManifest, LinkClass
from testnet.lab.reading import load_manifest, parse_manifest, to_toml
from testnet.lab.router import ways_of
from testnet.lab.sense import contradictions, quorum

FOUR = "[nodes.alpha]\n[nodes.beta]\n[nodes.gamma]\n[nodes.delta]\n"
SHIPPED = sorted((Path(__file__).resolve().parent.parent.parent / "testnet" / "manifests").glob("*.toml"))


def refusal(text: str) -> str:
    with pytest.raises(Refused) as caught:
        parse_manifest(text)
    assert caught.value.reason is Reason.BAD_CONFIG
    assert "\n" not in caught.value.detail
    return caught.value.detail


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_manifest_holds_and_is_called_as_its_file(path: Path) -> None:
    manifest = load_manifest(path)
    assert manifest.name == path.stem and manifest.about
    assert parse_manifest(to_toml(manifest)) == manifest


def test_what_the_shipped_manifests_try() -> None:
    manifests = {path.stem: load_manifest(path) for path in SHIPPED}
    assert len(manifests) >= 8
    steps = {type(step) for manifest in manifests.values() for step in manifest.steps}
    nodes = [node for manifest in manifests.values() for node in manifest.nodes.values()]
    for kind in ("kill", "pause", "disconnect", "restart", "upgrade", "plan", "stake", "unstake"):
        assert STEPS[kind] in steps, kind
    assert {node.role for node in nodes} == {"validator", "guarded", "full", "sentry", "seed", "light"}
    assert {node.sync for node in nodes} == {"auto", "blocks", "snapshot"}
    regions = manifests["three-regions"]
    assert len(regions.full_nodes()) == 10 and len({node.region for node in regions.nodes.values()} - {HERE}) == 3


def test_a_manifest_says_little_where_all_is_usual() -> None:
    manifest = parse_manifest(FOUR + '[[steps]]\ndo = "kill"\nnodes = ["alpha"]\nat = 9\n')
    assert manifest.validators() == ("alpha", "beta", "gamma", "delta")
    assert manifest.steps == (Kill(nodes=("alpha",), at=9),)
    assert not manifest.routed
    assert peers_of(manifest, "beta") == ("alpha", "gamma", "delta")


def test_every_mistake_is_named_at_once() -> None:
    said = refusal(
        'nam = "x"\n[chain]\nepoch_length = 0\n[nodes.alpha]\nrol = "full"\n[nodes.beta]\nrole = "ful"\n'
        '[nodes.gamma]\npower = "much"\n[[steps]]\ndo = "kil"\n[[steps]]\ndo = "kill"\nat = -1\nfor = 3\n'
        '[[steps]]\nat = 1\n[[steps]]\ndo = "stake"\n[[links]]\nclass = "x"\n'
    )
    for word in (
        "'nam'", "'name'", "epoch_length = 0", "'rol'", "'role'", "[nodes.beta]: role = 'ful'", "'full'",
        "power = 'much'", "do = 'kil'", "'kill'", "at = -1", "'for'", "[[steps]] 3 does not say what to do",
        "needs nodes", "needs amount", "needs between",
    ):  # fmt: skip
        assert word in said, word


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["[nodes.alpha]"]),
        ("nodes = 3\n", ["[nodes.NAME]"]),
        ("[nodes.Alpha]\n", ["names begin with a letter"]),
        ('[nodes.alpha]\nrole = "full"\n', ["nobody votes"]),
        ("[nodes.alpha]\n[nodes.beta]\nstart_at = 5\n", ["two thirds"]),
        (FOUR + '[nodes.e]\nrole = "full"\nseeds = ["alpha"]\n', ["'alpha'", "not 'seed'"]),
        (FOUR + '[nodes.e]\nrole = "guarded"\n', ["[nodes.e]", "sentries"]),
        (FOUR + '[nodes.e]\nrole = "full"\npeers = ["zeta"]\n', ["'zeta'", "there are alpha"]),
        (FOUR + '[nodes.e]\nrole = "full"\nsync = "snapshot"\nstart_at = 20\n', ["snapshot_every"]),
        (FOUR + '[nodes.e]\nrole = "light"\npower = 1\n', ["power: a light client", "start_at"]),
        (FOUR + '[nodes.e]\nlies = ["often"]\n', ["'often'", "double_prevote"]),
        (FOUR + '[[links]]\nbetween = ["here", "mars"]\nclass = "x"\n', ["'mars'", "'x'"]),
        (FOUR + '[[steps]]\ndo = "pause"\nnodes = ["zeta"]\n', ["'zeta'", "there are alpha, beta"]),
        (FOUR + '[[steps]]\ndo = "pause"\n', ["either nodes or a region"]),
        (FOUR + '[[steps]]\ndo = "kill"\nregion = "mars"\n', ["'mars'"]),
        (FOUR + '[[steps]]\ndo = "disconnect"\nregion = "here"\n', ["from whom"]),
        (FOUR + '[[steps]]\ndo = "start"\nnodes = ["alpha"]\n', ["not stopped for good"]),
        (FOUR + '[[steps]]\ndo = "upgrade"\nnodes = ["alpha"]\n', ["which release or which core"]),
        (FOUR + '[[steps]]\ndo = "plan"\nversion = 2\nheight = 5\n', ["height at least"]),
        (FOUR + '[[steps]]\ndo = "plan"\nversion = 2\nheight = 20\nnodes = ["alpha"]\n', ["two thirds"]),
        (FOUR + '[[steps]]\ndo = "kill"\nnodes = ["alpha"]\nat = 29\n', ["until", "32"]),
        (
            FOUR + '[[steps]]\ndo = "kill"\nback = false\nnodes = ["alpha", "beta"]\n[[steps]]\ndo = "kill"\n'
            'nodes = ["gamma"]\nat = 9\n',
            ["2 (kill)", "use after", "start them"],
        ),
        (
            FOUR + '[[steps]]\ndo = "kill"\nback = false\nnodes = ["alpha"]\n'
            '[[steps]]\ndo = "pause"\nnodes = ["alpha"]\n',
            ["'alpha' is down"],
        ),
    ],
)
def test_what_contradicts_itself_is_refused(text: str, words: list[str]) -> None:
    said = refusal(text)
    for word in words:
        assert word in said


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        load_manifest(tmp_path / "none.toml")
    assert caught.value.reason is Reason.BAD_CONFIG


def test_ways_have_the_class_of_their_regions() -> None:
    manifest = parse_manifest(
        FOUR + '[nodes.far]\nrole = "full"\nregion = "moon"\n[classes.space]\ndelay = 1300\n'
        '[[links]]\nbetween = ["moon", "here"]\nclass = "space"\n'
    )
    ways = ways_of(manifest)
    assert manifest.routed and len(ways) == 8
    assert ways["far", "alpha"] == ways["delta", "far"] == LinkClass(delay=1300.0)
    assert ("alpha", "beta") not in ways


def test_who_knows_whom_around_sentries() -> None:
    manifest = parse_manifest(
        '[nodes.alpha]\nrole = "guarded"\npeers = ["s", "t"]\n[nodes.s]\nrole = "sentry"\n[nodes.t]\nrole = "sentry"\n'
        '[nodes.beta]\n[nodes.reader]\nrole = "full"\n'
    )
    assert peers_of(manifest, "alpha") == ("s", "t")
    assert peers_of(manifest, "s") == ("alpha", "t")
    assert peers_of(manifest, "reader") == ("beta",)
    assert quorum(manifest, {"alpha", "beta"}) and not quorum(manifest, {"alpha"})


@given(st.integers(0, 2**53))
@settings(max_examples=150)
def test_every_drawn_manifest_holds_and_a_seed_gives_the_same_bytes(seed: int) -> None:
    manifest = generate(seed)
    text = to_toml(manifest)
    assert contradictions(manifest) == []
    assert parse_manifest(text) == manifest
    assert to_toml(generate(seed)) == text
    assert tomllib.loads(text)["name"] == f"seed-{seed}"
    assert 4 <= len(manifest.validators()) <= 7 and manifest.until <= 200


def test_seeds_give_different_networks() -> None:
    drawn = [generate(seed) for seed in range(40)]
    assert len({to_toml(manifest) for manifest in drawn}) == 40
    kinds = {type(step) for manifest in drawn for step in manifest.steps}
    assert kinds >= {STEPS[kind] for kind in ("kill", "restart", "pause", "disconnect", "stake", "plan", "upgrade")}
    with pytest.raises(Refused) as caught:
        generate(-1)
    assert caught.value.reason is Reason.BAD_ARGUMENT


def test_a_manifest_keeps_its_default_values_out_of_its_text() -> None:
    manifest = LabManifest(name="x", nodes=parse_manifest(FOUR).nodes)
    assert tomllib.loads(to_toml(manifest)) == {"name": "x", "nodes": {name: {} for name in manifest.nodes}}
