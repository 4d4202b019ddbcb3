"""Replays traces of the Quint specification of Tendermint against the round machine, vote keeper and height machine.

Three shapes of trace exist; files of these shapes are found by listing the folder, whatever their names:

- `state`, `input`, `output`: one validator's round machine;
- `weightedVote`, `bookkeeper`, `lastEmitted`: one vote keeper;
- `system`, `_hist`: a network of whole drivers. Its steps are replayed on three levels: what the round machine was
  told, what the vote keeper counted, and, from the messages alone, what our height machine makes of them.
"""

import json
import os
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from consensus.height_machine import HeightMachine, Offer
from consensus.round_machine import (
    CastVote,
    Decided,
    EnterRound,
    Event,
    GetValue,
    NewRound,
    Output,
    PolkaAny,
    PolkaNil,
    PrecommitAny,
    ProposalAndCommit,
    ProposalAndPolka,
    ProposalAndPreviousPolka,
    ProposalSeen,
    Propose,
    RoundSkip,
    RoundState,
    RoundStep,
    StartTimer,
    TimeoutOver,
    ValueIsValid,
    ValueReady,
    apply,
)
from consensus.types import NIL, Validator, ValidatorSet, Vote, VoteKind
from consensus.vote_keeper import Crossed, Threshold, VoteKeeper
from state.types import Address, BlockId, Height, Round
from tests.consensus.itf import Variant, load_trace

VECTORS = Path(os.environ.get("NEXUS_VECTORS", Path(__file__).resolve().parents[2].parent / "shared" / "vectors"))
FOLDER = VECTORS / "tendermint_itf"
STEPS = {
    "NoStep": RoundStep.UNSTARTED,
    "UnstartedStep": RoundStep.UNSTARTED,
    "ProposeStep": RoundStep.PROPOSE,
    "PrevoteStep": RoundStep.PREVOTE,
    "PrecommitStep": RoundStep.PRECOMMIT,
    "CommitStep": RoundStep.COMMIT,
}
TIMERS = {
    "ProposeTimeout": RoundStep.PROPOSE,
    "PrevoteTimeout": RoundStep.PREVOTE,
    "PrecommitTimeout": RoundStep.PRECOMMIT,
}
KINDS = {"Prevote": VoteKind.PREVOTE, "Precommit": VoteKind.PRECOMMIT}
INVALID = "invalid"
"""The specification's only invalid value."""


# ---- from the specification's values to ours


def value_of(value: Any) -> BlockId:
    if isinstance(value, Variant):
        return NIL if value.tag == "Nil" else value_of(value.value)
    return BlockId(value.encode())


def state_of(cs: dict[str, Any]) -> RoundState:
    return RoundState(
        height=Height(cs["height"]),
        round=Round(cs["round"]),
        step=STEPS[cs["step"].tag],
        locked_value=value_of(cs["lockedValue"]),
        locked_round=Round(cs["lockedRound"]),
        valid_value=value_of(cs["validValue"]),
        valid_round=Round(cs["validRound"]),
    )


def event_of(item: Variant, pol_round: int) -> Event:
    tag, value = item.tag, item.value
    timeouts = {
        "TimeoutProposeCInput": RoundStep.PROPOSE,
        "TimeoutPrevoteCInput": RoundStep.PREVOTE,
        "TimeoutPrecommitCInput": RoundStep.PRECOMMIT,
    }
    if tag in timeouts:
        return TimeoutOver(Round(value[1]), timeouts[tag])
    match tag:
        case "NewRoundCInput" | "NewRoundProposerCInput":
            return NewRound(Round(value), tag == "NewRoundProposerCInput")
        case "ProposeValueCInput":
            return ValueReady(value_of(value))
        case "ProposalCInput":
            return ProposalSeen(value_of(value[1]), True)
        case "ProposalInvalidCInput":
            return ProposalSeen(NIL, False)
        case "ProposalAndPolkaPreviousAndValidCInput":
            return ProposalAndPreviousPolka(value_of(value[0]), Round(value[1]), True)
        case "ProposalAndPolkaAndInvalidCInput":
            return ProposalAndPreviousPolka(value_of(value), Round(pol_round), False)
        case "ProposalAndPolkaAndValidCInput":
            return ProposalAndPolka(value_of(value))
        case "ProposalAndCommitAndValidCInput":
            return ProposalAndCommit(Round(value[0]), value_of(value[1]))
        case "PolkaAnyCInput":
            return PolkaAny()
        case "PolkaNilCInput":
            return PolkaNil()
        case "PrecommitAnyCInput":
            return PrecommitAny()
        case "RoundSkipCInput":
            return RoundSkip(Round(value))
        case _:
            raise AssertionError(f"unknown input {tag}")


def outputs_of(item: Variant) -> list[Output]:
    tag, value = item.tag, item.value
    match tag:
        case "NoConsensusOutput" | "SkipRoundOutput":
            return []
        case "TimeoutOutput":
            return [StartTimer(Round(value[0]), TIMERS[value[1].tag])]
        case "GetValueAndScheduleTimeoutOutput":
            return [GetValue(Round(value[1])), StartTimer(Round(value[1]), TIMERS[value[2].tag])]
        case "ProposalOutput":
            return [Propose(Round(value["round"]), value_of(value["proposal"]), Round(value["validRound"]))]
        case "VoteOutput":
            return [CastVote(KINDS[value["voteType"].tag], Round(value["round"]), value_of(value["valueId"]))]
        case "DecidedOutput":
            return [Decided(Round(value[0]), value_of(value[1]))]
        case _:
            raise AssertionError(f"unknown output {tag}")


def visible(outputs: Iterable[Output]) -> list[Output]:
    """Leave out what the specification does not show: it keeps no blocks, and answers EnterRound itself."""
    return [output for output in outputs if not isinstance(output, EnterRound | ValueIsValid)]


def crossed_of(item: Variant) -> Crossed | None:
    if item.tag == "NoVKOutput":
        return None
    threshold = {
        "PolkaAnyVKOutput": Threshold.POLKA_ANY,
        "PolkaNilVKOutput": Threshold.POLKA_NIL,
        "PolkaValueVKOutput": Threshold.POLKA_VALUE,
        "PrecommitAnyVKOutput": Threshold.PRECOMMIT_ANY,
        "PrecommitValueVKOutput": Threshold.PRECOMMIT_VALUE,
        "SkipVKOutput": Threshold.SKIP_ROUND,
    }[item.tag]
    if isinstance(item.value, tuple):
        return Crossed(threshold, Round(item.value[0]), value_of(item.value[1]))
    return Crossed(threshold, Round(item.value))


def validators_of(weights: dict[str, int]) -> tuple[ValidatorSet, list[str]]:
    names = sorted(weights)
    validators = tuple(
        Validator(Address(name.encode()), b"key of " + name.encode(), weights[name], Address(name.encode()))
        for name in names
    )
    return ValidatorSet(validators), names


def vote_of(vote: dict[str, Any], names: list[str]) -> Vote:
    return Vote(
        KINDS[vote["voteType"].tag], Height(vote["height"]), Round(vote["round"]), value_of(vote["valueId"]),
        names.index(vote["srcAddress"]), b"",
    )


def assert_same_tallies(keeper: VoteKeeper, bookkeeper: dict[str, Any], names: list[str]) -> None:
    assert set(keeper.rounds) == set(bookkeeper["rounds"])
    for round, expected in bookkeeper["rounds"].items():
        tally = keeper.tally(round)
        assert tally.told == {crossed_of(item) for item in expected["emittedOutputs"]}
        assert tally.power == sum(expected["votesAddressesWeights"].values())
        for kind, name in ((VoteKind.PREVOTE, "prevotes"), (VoteKind.PRECOMMIT, "precommits")):
            votes, counted = tally.kinds[kind], expected[name]
            assert votes.power_of == {value_of(value): power for value, power in counted["valuesWeights"].items()}
            assert {names[index] for index in votes.held} == set(counted["votesAddresses"])
            assert sorted(votes.votes(), key=repr) == sorted(
                (vote_of(vote, names) for vote in counted["receivedVotes"]), key=repr
            )


# ---- the three shapes


def replay_round_machine(states: list[dict[str, Any]]) -> int:
    state = state_of(states[0]["state"])
    for step in states[1:]:
        state, outputs = apply(state, event_of(step["input"], state.round - 1))
        assert state == state_of(step["state"])
        assert visible(outputs) == outputs_of(step["output"])
    return len(states) - 1


def replay_vote_keeper(states: list[dict[str, Any]]) -> int:
    validators, names = validators_of(states[0]["bookkeeper"]["validatorSet"])
    keeper = VoteKeeper(validators)
    for step in states[1:]:
        vote, weight, current_round = step["weightedVote"].value
        assert weight == validators.validators[names.index(vote["srcAddress"])].power
        added = keeper.add(vote_of(vote, names), current_round)
        assert added.crossed == crossed_of(step["lastEmitted"])
        assert_same_tallies(keeper, step["bookkeeper"], names)
    return len(states) - 1


class DriverReplay:
    """One validator of a driver trace, on three levels."""

    def __init__(self, name: str, node: dict[str, Any], turns: set[int]) -> None:
        self.name = name
        driver = node["es"]
        validators, self.names = validators_of(driver["valset"])
        self.round_state = state_of(driver["cs"])
        self.executed = len(driver["executedInputs"])
        self.keeper = VoteKeeper(validators)
        self.machine = HeightMachine(self.round_state.height, validators, lambda round: round in turns)
        self.ours: list[Output] = []
        self.theirs: list[Output] = []

    def step(self, item: Variant, output: Variant, before: dict[str, Any], after: dict[str, Any]) -> None:
        driver = after["es"]
        pol_round = item.value["validRound"] if item.tag == "ProposalDInput" else self.round_state.round - 1
        outputs: list[Output] = []
        for executed in driver["executedInputs"][self.executed :]:
            self.round_state, more = apply(self.round_state, event_of(executed[0], pol_round))
            outputs += more
        self.executed = len(driver["executedInputs"])
        assert self.round_state == state_of(driver["cs"])
        assert visible(outputs) == outputs_of(output)

        if item.tag == "VoteDInput":
            added = self.keeper.add(vote_of(item.value, self.names), before["es"]["cs"]["round"])
            assert added.crossed == crossed_of(driver["voteKeeperOutput"])
            assert_same_tallies(self.keeper, driver["bk"], self.names)

        self.theirs += outputs_of(output)
        self.ours += visible(self.feed(item))
        if not driver["pendingInputs"] and driver["pendingStepChange"].tag == "NoStep":
            # The specification's driver works off one consequence a step; ours all at once. Here both are at rest.
            assert self.machine.state == self.round_state
            assert self.ours == self.theirs

    def feed(self, item: Variant) -> list[Output]:
        value = item.value
        match item.tag:
            case "StartDInput":
                return self.machine.start(Round(0))
            case "ProposeValueDInput":
                self.machine.judge(value_of(value), True)
                return self.machine.value_ready(value_of(value))
            case "ProposalDInput":
                outputs = self.machine.judge(value_of(value["proposal"]), value["proposal"] != INVALID)
                offer = Offer(value_of(value["proposal"]), Round(value["validRound"]), True)
                return outputs + self.machine.add_offer(Round(value["round"]), offer)
            case "VoteDInput":
                return self.machine.add_vote(vote_of(value, self.names))[1]
            case "TimeoutDInput":
                return self.machine.timeout(self.machine.state.round, TIMERS[value.tag])
            case "StepChangeDInput" | "PendingDInput" | "NoDInput":
                return []
            case _:
                raise AssertionError(f"unknown input {item.tag}")


def history(state: dict[str, Any]) -> tuple[str, Variant, Variant]:
    hist = state["_hist"]
    if isinstance(hist, dict):
        return hist["validator"], hist["input"], hist["output"]
    return hist[0], hist[1], hist[2]


def is_step(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether the validator did something: a delivery only adds to what is incoming."""
    sets = ("incomingProposals", "incomingVotes", "incomingCertificates", "timeouts")
    return bool(before["es"] != after["es"]) or any(len(after[name]) < len(before[name]) for name in sets)


def replay_drivers(states: list[dict[str, Any]]) -> int:
    turns: dict[str, set[int]] = {}
    for state in states:
        for name, node in state["system"].items():
            inputs = (executed[0] for executed in node["es"]["executedInputs"])
            turns.setdefault(name, set()).update(
                item.value for item in inputs if item.tag == "NewRoundProposerCInput"
            )
    replays = {name: DriverReplay(name, node, turns[name]) for name, node in states[0]["system"].items()}
    compared = 0
    for before, after in pairwise(states):
        name, item, output = history(after)
        if name in replays and is_step(before["system"][name], after["system"][name]):
            replays[name].step(item, output, before["system"][name], after["system"][name])
            compared += 1
    for replay in replays.values():
        assert replay.ours[: len(replay.theirs)] == replay.theirs
    return compared


SHAPES = {
    frozenset({"state", "input", "output"}): replay_round_machine,
    frozenset({"weightedVote", "bookkeeper", "lastEmitted"}): replay_vote_keeper,
    frozenset({"system", "_hist"}): replay_drivers,
}


def replay_folder(folder: Path) -> tuple[dict[str, int], list[str]]:
    """Replay every trace of a folder; return how many steps of each were compared, and which files hold no inputs."""
    compared: dict[str, int] = {}
    without_inputs = []
    for path in sorted(folder.glob("*.json")):
        states = load_trace(path)
        if not states:
            without_inputs.append(path.name)
            continue
        replay = next((replay for shape, replay in SHAPES.items() if shape <= states[0].keys()), None)
        assert replay is not None, f"{path.name}: a trace of an unknown shape"
        compared[path.name] = replay(states)
        assert compared[path.name] > 0, f"{path.name}: no step was compared"
    assert compared, f"{folder}: no step was compared"
    return compared, without_inputs


def traces() -> Path:
    if not FOLDER.is_dir():
        pytest.skip(f"no traces at {FOLDER}")
    return FOLDER


@pytest.mark.vectors
def test_every_trace_with_inputs_is_followed_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    compared, without_inputs = replay_folder(traces())
    with capsys.disabled():
        print()  # noqa: T201
        for name, steps in compared.items():
            print(f"tendermint_itf: {steps:4} steps  {name}")  # noqa: T201
        line = f"{len(compared)} traces, {sum(compared.values())} steps compared"
        print(f"tendermint_itf: {line}, {len(without_inputs)} files without inputs")  # noqa: T201


@pytest.mark.vectors
def test_other_files_of_the_same_shapes_are_taken(tmp_path: Path) -> None:
    """Whatever a file and the module in it are called."""
    expected, _ = replay_folder(traces())
    for number, name in enumerate(expected):
        text = (FOLDER / name).read_text()
        for prefix in re.findall(r'"((?:\w+::)+)(?:system|state|bookkeeper)"', text):
            text = text.replace(prefix, "another::module::")
        (tmp_path / f"{number:02}.json").write_text(text)
    found, _ = replay_folder(tmp_path)
    assert list(found.values()) == list(expected.values())


@pytest.mark.vectors
@pytest.mark.parametrize(("shape", "variable", "tag", "other"), [
    ("state", "output", "VoteOutput", "SkipRoundOutput"),
    ("state", "state", "PrevoteStep", "ProposeStep"),
    ("bookkeeper", "lastEmitted", "SkipVKOutput", "NoVKOutput"),
    ("bookkeeper", "lastEmitted", "NoVKOutput", "PrecommitAnyVKOutput"),
    ("system", "_hist", "VoteOutput", "SkipRoundOutput"),
    ("system", "system", "PolkaAnyVKOutput", "PrecommitAnyVKOutput"),
])
def test_a_changed_trace_is_noticed(tmp_path: Path, shape: str, variable: str, tag: str, other: str) -> None:
    """One tag of one state or output is replaced by another, in the first trace of the shape that holds it."""
    for path in sorted(traces().glob("*.json")):
        trace = json.loads(path.read_text())
        variables = {name.split("::")[-1]: name for name in trace["states"][-1]}
        if shape not in variables:
            continue
        for state in trace["states"][1:]:
            text = json.dumps(state[variables[variable]])
            if f'"{tag}"' not in text:
                continue
            state[variables[variable]] = json.loads(text.replace(f'"{tag}"', f'"{other}"'))
            (tmp_path / "changed.json").write_text(json.dumps(trace))
            with pytest.raises((AssertionError, TypeError, IndexError)):
                replay_folder(tmp_path)
            return
    pytest.fail(f"no trace of this shape has a {tag}")


def test_a_folder_without_steps_fails(tmp_path: Path) -> None:
    (tmp_path / "empty.itf.json").write_text('{"states": [{"#meta": {"index": 0}}]}')
    with pytest.raises(AssertionError):
        replay_folder(tmp_path)
    (tmp_path / "other.itf.json").write_text('{"states": [{"#meta": {}, "weather": "fine"}]}')
    with pytest.raises(AssertionError):
        replay_folder(tmp_path)
