"""The four proofs on chain: real plots, hashcash, delay function; what they change, and who sends them for free."""

from collections.abc import Callable, Sequence

import pytest
import trio
from msgspec.structs import replace

from apps.admission import check_for_admission
from apps.chain import records as chain
from apps.chain.rules import genesis_validators
from apps.exempt import FREE_GAS
from apps.proofs import records
from apps.proofs.identity import credited, validator_of
from apps.proofs.messages import CHALLENGES, NEEDED, Proof, Space, Time, Work
from apps.proofs.rules import weak_beacon, work_prefix
from apps.registry import answer_query
from apps.staking import records as staking
from apps.token.messages import Transfer as Pay
from apps.validity import view_after
from consensus.types import make_validator_set
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.space import plot_id
from crypto.vdf import beacon_of, time_challenge
from crypto.work import leading_zero_bits
from node.proving.plots import Plot, answer_challenges, make_plot
from node.proving.tasks import run_job
from node.proving.worker import TimeJob, WorkJob
from state.changes import Overlay
from state.encoding import Record, encode
from state.ledger import nonce
from state.params import ChainParams, ProofParams
from state.records import public_key_key
from state.transaction import Call, Decoded, Message
from state.types import NATIVE, Address, Amount, BlockId, Height
from tests.apps.world import CHAIN, World, address, fake_key, make_genesis, message_name

LENGTH = 5
"""Blocks of an epoch."""
ALL = ProofParams(space_k=18, work_bits=6, vdf_iterations=500, vdf_bits=256)
OPERATOR = address("op1")


@pytest.fixture(scope="session")
def plots(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Address], Plot]:
    """Make plots of k = 18, each account's once in the run."""
    folder = tmp_path_factory.mktemp("plots")

    def plot(owner: Address) -> Plot:
        found = plot_id(CHAIN, owner, 0)
        made = Plot(folder / f"plot-k18-0-{found.hex()[:16]}.plot", 0, 18, found)
        trio.run(make_plot, made)
        return made

    return plot


def world_with(proofs: ProofParams, params: ChainParams | None = None, epoch_length: int = LENGTH) -> World:
    world = World(params=params or ChainParams(), proofs=proofs, epoch_length=epoch_length)
    world.records[public_key_key(OPERATOR)] = fake_key("op1")
    return world


def answer(world: World, plot: Plot) -> Space:
    result = trio.run(answer_challenges, plot, chain.beacon(world.records), CHALLENGES, NEEDED)
    proofs = tuple(Proof(number, proof) for number, proof in result.proofs)
    return Space(records.epoch(world.records).number, plot.index, plot.k, proofs)


def work(world: World, operator: Address, bits: int = ALL.work_bits) -> Work:
    prefix = work_prefix(chain.beacon(world.records), operator)
    return Work(records.epoch(world.records).number, trio.run(run_job, WorkJob("WORK", prefix, bits)).nonce)


def time(world: World, proofs: ProofParams = ALL) -> Time:
    now = records.epoch(world.records)
    challenge = time_challenge(CHAIN, now.number, now.seed or world.tip)
    result = trio.run(run_job, TimeJob(challenge, proofs.vdf_bits, proofs.vdf_iterations))
    return Time(now.number, result.output, result.proof)


def free(world: World, sender: str, *messages: Record, gas: int = FREE_GAS, ahead: int = 0) -> Decoded:
    return world.call(sender, *messages, gas=gas, fee=0, ahead=ahead)


def finish_epoch(world: World) -> None:
    world.block()
    while world.height % LENGTH:
        world.block()


def pay() -> Pay:
    return Pay(NATIVE, address("bob"), Amount(1))


# ---- epochs and beacons


def test_a_chain_that_asks_for_nothing_gives_full_power_and_weak_beacons() -> None:
    world = world_with(ProofParams())
    assert chain.beacon(world.records) != weak_beacon(bytes(32), world.tip)  # of its own chain id
    first = chain.beacon(world.records)
    for _ in range(LENGTH - 1):
        world.block()
    before = world.tip
    assert chain.beacon(world.records) == first
    result = world.block()
    assert chain.beacon(world.records) == weak_beacon(first, before)
    assert result.events[-1].name == "proofs/epoch" and dict(result.events[-1].attributes)["weak"] == "true"
    assert records.halves(world.records, address("stranger")) == records.FULL
    for message in (Work(1, 0), Time(1, bytes(100), bytes(100))):
        assert world.fails("alice", message) is Reason.NOT_ASKED


def test_the_delay_function_makes_the_next_beacon_once_and_from_its_output_alone() -> None:
    world = world_with(ALL)
    world.block()
    seed = records.epoch(world.records).seed
    assert seed == bytes(CHAIN)
    proof = time(world)
    assert world.fails("alice", replace(proof, epoch=1)) is Reason.WRONG_EPOCH
    assert world.fails("alice", replace(proof, proof=proof.output)) is Reason.BAD_TIME_PROOF
    assert world.does("alice", proof).events[0].name == "proofs/time"
    assert world.fails("bob", proof) is Reason.ALREADY_GIVEN
    while world.height < LENGTH:
        world.block()
    now = records.epoch(world.records)
    assert (now.number, now.weak, now.seed, now.beacon) == (1, False, b"", b"")
    assert chain.beacon(world.records) == beacon_of(proof.output)
    finish_epoch(world)
    assert records.epoch(world.records).weak


def test_a_proof_of_time_in_the_epochs_last_block_counts() -> None:
    world = world_with(ALL)
    for _ in range(LENGTH - 1):
        world.block()
    proof = time(world)
    world.does("alice", proof)
    assert world.height == LENGTH and chain.beacon(world.records) == beacon_of(proof.output)


# ---- space and work


def test_a_real_plot_answers_and_its_owner_has_a_space_record(plots: Callable[[Address], Plot]) -> None:
    world = world_with(ALL)
    alice = address("alice")
    message = answer(world, plots(alice))
    assert len(message.proofs) == NEEDED
    receipt = world.does("alice", message)
    assert receipt.events[0].attributes == (("account", alice.hex()), ("epoch", "0"), ("k", "18"))
    assert records.space_record(world.records, alice) == records.SpaceRecord(0, 0, 18)
    assert world.fails("alice", message) is Reason.ALREADY_GIVEN
    assert world.fails("bob", message) is Reason.BAD_SPACE  # alice's plot
    shown = answer_query(world.records, "proofs/space", {"account": encode_address(alice)})
    assert shown == {"record": {"epoch": 0, "index": 0, "k": 18}, "valid": True}
    for epoch in (1, 2):
        finish_epoch(world)
        assert records.has_space(world.records, alice, epoch) is (epoch < records.SPACE_EPOCHS)
    assert world.fails("alice", message) is Reason.WRONG_EPOCH
    assert world.fails("alice", replace(message, epoch=2)) is Reason.BAD_SPACE  # another beacon


def test_wrong_answers_are_named(plots: Callable[[Address], Plot]) -> None:
    world = world_with(ALL, epoch_length=50)
    message = answer(world, plots(address("alice")))
    one, two = message.proofs[:2]
    assert world.fails("alice", replace(message, proofs=(two, one, *message.proofs[2:]))) is Reason.BAD_ARGUMENT
    assert world.fails("alice", replace(message, proofs=(one, one, *message.proofs[2:]))) is Reason.BAD_ARGUMENT
    assert world.fails("alice", replace(message, proofs=message.proofs[1:])) is Reason.MALFORMED
    assert world.fails("alice", replace(message, k=19)) is Reason.BAD_SPACE
    assert world.fails("alice", replace(message, index=1)) is Reason.BAD_SPACE
    swapped = (Proof(one.number, two.proof), Proof(two.number, one.proof), *message.proofs[2:])
    assert world.fails("alice", replace(message, proofs=swapped)) is Reason.BAD_SPACE
    larger = world_with(replace(ALL, space_k=19))
    assert larger.fails("alice", message) is Reason.BAD_SPACE


def test_work_is_bound_to_its_operator_and_epoch() -> None:
    world = world_with(replace(ALL, work_bits=10))
    message = work(world, address("alice"), 10)
    assert world.fails("bob", message) is Reason.BAD_WORK
    world.does("alice", message)
    assert world.fails("alice", message) is Reason.ALREADY_GIVEN
    finish_epoch(world)
    assert world.fails("alice", replace(message, epoch=1)) is Reason.BAD_WORK


def test_power_falls_by_the_proofs_that_two_complete_epochs_lack(plots: Callable[[Address], Plot]) -> None:
    world = world_with(ALL)
    plot = plots(OPERATOR)

    def halves() -> int:
        return records.halves(world.records, OPERATOR)

    assert records.halves(world.records, address("stranger")) == 0
    finish_epoch(world)
    assert halves() == 2  # one missed
    finish_epoch(world)
    assert halves() == 0  # both proofs, two epochs
    world.block(free(world, "op1", work(world, OPERATOR)))
    assert halves() == 1
    world.block(free(world, "op1", answer(world, plot)))
    assert halves() == 2
    finish_epoch(world)
    finish_epoch(world)
    assert halves() == 2
    world.block(free(world, "op1", work(world, OPERATOR)))
    finish_epoch(world)
    assert halves() == 1  # space lapsed, work did not
    shown = answer_query(world.records, "proofs/validator", {"operator": encode_address(OPERATOR)})
    assert (shown["space_epoch"], shown["work_epoch"], shown["halves"]) == (2, 4, 1)


@pytest.mark.parametrize("asked", [{"space_k": 18}, {"work_bits": 6}])
def test_one_asked_proof_is_all_of_the_power(asked: dict[str, int]) -> None:
    world = world_with(ProofParams(**asked))
    finish_epoch(world)
    assert records.halves(world.records, OPERATOR) == 2
    finish_epoch(world)
    assert records.halves(world.records, OPERATOR) == 0


def test_a_consensus_keys_account_proves_for_its_operator() -> None:
    world = world_with(ALL)
    validator = next(one for one in genesis_validators(make_genesis((), ChainParams())).validators if one.power == 1)
    message = work(world, OPERATOR)
    payload = Call(validator.address, 0, FREE_GAS, (Message(message_name(message), encode(message)),))
    decoded = world.sign(payload, ["op1"], fee=0)
    witness = replace(decoded.transaction.witnesses[0], signer=validator.address, key=validator.public_key)
    signed = replace(decoded, transaction=replace(decoded.transaction, witnesses=(witness,)))
    receipt = world.block(signed).receipts[0]
    assert receipt.reason == "" and records.given(world.records, OPERATOR) == records.Given(0, 1)


# ---- free messages


def test_a_validators_message_is_free_once_in_an_epoch_even_if_it_fails() -> None:
    world = world_with(ALL, ChainParams(difficulty=64))
    good = work(world, OPERATOR)
    wrong = Work(9, 0)
    result = world.block(free(world, "op1", wrong))
    assert result.receipts[0].reason == Reason.WRONG_EPOCH and result.receipts[0].fee == 0
    assert world.refuses(free(world, "op1", good)) is Reason.INSUFFICIENT_WORK
    finish_epoch(world)
    good = work(world, OPERATOR)
    assert world.block(free(world, "op1", good)).receipts[0].reason == ""


@pytest.mark.parametrize(("sender", "messages", "gas"), [
    ("alice", 1, FREE_GAS), ("op1", 2, FREE_GAS), ("op1", 1, FREE_GAS + 1),
])  # fmt: skip
def test_what_is_not_exempt_pays(sender: str, messages: int, gas: int) -> None:
    world = world_with(ALL)
    call = free(world, sender, *([Work(0, 0)] * messages), gas=gas)
    assert world.refuses(call) is Reason.FEE_TOO_LOW
    with pytest.raises(Refused) as caught:
        check_for_admission(call, view_after(world.records, world.params, CHAIN, Height(world.height), world.tip))
    assert caught.value.reason is Reason.FEE_TOO_LOW


def test_admission_names_validator_and_message_of_a_free_call() -> None:
    world = world_with(ALL)
    view = view_after(world.records, world.params, CHAIN, Height(world.height), world.tip)
    admitted = check_for_admission(free(world, "op1", Work(0, 0), ahead=3), view)
    assert admitted.free == OPERATOR + b"proofs/work"
    assert check_for_admission(world.call("alice", pay()), view).free == b""


# ---- transactions


def test_where_asks_for_a_space_record_of_payer_or_sponsor(plots: Callable[[Address], Plot]) -> None:
    world = world_with(replace(ALL, where=1))

    def sponsored(sender: str, sponsor: str, signers: Sequence[str] = ()) -> Decoded:
        payload = Call(
            address(sender), nonce(world.records, address(sender)), 100_000, (Message("token/transfer", encode(pay())),)
        )
        return world.sign(
            payload, sorted(signers or {sender, sponsor}, key=address), sponsor=address(sponsor)
        )

    assert world.refuses(world.call("alice", pay())) is Reason.MISSING_WHERE
    both = world.call("alice", answer(world, plots(address("alice"))), pay())
    assert world.refuses(both) is Reason.MISSING_WHERE
    world.does("alice", answer(world, plots(address("alice"))))
    world.does("alice", pay())
    assert world.refuses(world.call("bob", pay())) is Reason.MISSING_WHERE
    assert world.refuses(sponsored("bob", "carol")) is Reason.MISSING_WHERE
    assert world.refuses(sponsored("bob", "alice", ["bob"])) is Reason.MISSING_SIGNATURE
    assert world.refuses(sponsored("bob", "alice", ["bob", "alice", "carol"])) is Reason.SURPLUS_SIGNATURE
    assert world.one(sponsored("bob", "alice")).reason == ""
    assert world.one(sponsored("alice", "alice")).reason == ""
    view = view_after(world.records, world.params, CHAIN, Height(world.height), world.tip)
    check_for_admission(sponsored("bob", "alice"), view)
    with pytest.raises(Refused) as caught:
        check_for_admission(world.call("bob", pay()), view)
    assert caught.value.reason is Reason.MISSING_WHERE
    finish_epoch(world)
    world.does("alice", pay())
    finish_epoch(world)
    assert world.refuses(world.call("alice", pay())) is Reason.MISSING_WHERE  # after two epochs


def test_a_sponsor_is_an_address() -> None:
    world = world_with(ALL)
    call = world.call("alice", pay(), sponsor=b"\x01")
    assert world.refuses(call) is Reason.BAD_ADDRESS


def mined(world: World, bits: int, anchor: BlockId | None = None) -> Decoded:
    """A payment by alice whose hashcash has that many leading zero bits and no more."""
    for number in range(1 << 16):
        call = world.call("alice", pay(), work=number, anchor=anchor or world.tip)
        if leading_zero_bits(digest(Label.TX_WORK, call.transaction.body)) == bits:
            return call
    raise AssertionError("no hashcash found")


def test_difficulty_follows_the_load_and_stays_with_the_anchor() -> None:
    world = world_with(ProofParams(target_gas=10_000, max_difficulty=3), ChainParams(difficulty=1))
    seen = [chain.load(world.records).difficulty]
    early = world.tip
    while seen[-1] < 3 and world.height < 40:
        world.block(mined(world, 3))
        seen.append(chain.load(world.records).difficulty)
    assert seen == sorted(seen) and set(seen) == {1, 2, 3}
    world.block(mined(world, 3))
    assert world.refuses(mined(world, 2)) is Reason.INSUFFICIENT_WORK
    assert world.one(mined(world, 1, early)).reason == ""  # as its anchor asks
    while chain.load(world.records).difficulty > 1 and world.height < 200:
        world.block()
    assert chain.load(world.records).difficulty == 1
    assert answer_query(world.records, "proofs/epoch", {})["difficulty"] == 1


# ---- whose duty it is


def test_only_stake_like_a_voters_has_duties_and_old_keys_and_tombstones_have_none() -> None:
    world = world_with(ALL)
    state = Overlay(world.records)
    height = Height(1)
    consensus = {one.power: one for one in chain.validators_at(state, 1).validators}
    assert validator_of(state, height, OPERATOR) == OPERATOR == validator_of(state, height, consensus[1].address)
    assert validator_of(state, height, address("alice")) is None
    found = staking.get_operator(state, OPERATOR)
    chain.set_validators(state, 1, make_validator_set([consensus[2], consensus[3]]))
    assert validator_of(state, height, OPERATOR) is None  # 1 of stake, the weakest voter has 2
    chain.set_validators(state, 1, make_validator_set([consensus[1], consensus[3]]))
    assert validator_of(state, height, address("op2")) == address("op2")  # in jail, say
    staking.set_operator(state, OPERATOR, replace(found, public_key=consensus[2].public_key))
    assert validator_of(state, height, consensus[1].address) is None
    assert credited(state, consensus[1].address) == consensus[1].address
    staking.set_operator(state, OPERATOR, replace(found, tombstoned=True))
    assert validator_of(state, height, OPERATOR) is None
