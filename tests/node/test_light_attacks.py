"""Light clients among liars: forged headers, wrong proofs, forks, broken witnesses, old trust, damaged homes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from consensus.evidence import verify_evidence
from consensus.signing import KeySigner, SchemeVerifier
from consensus.types import (
    DuplicateVote,
    Evidence,
    LightClientAttack,
    Validator,
    ValidatorSet,
    make_validator_set,
)
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.api import methods
from node.chain import Chain, open_chain
from node.light import witness as witnesses
from node.light.answer import RememberingVerifier, verify_answer
from node.light.answering import ProvenAnswers
from node.light.client import Surroundings
from node.light.opening import Place, open_light
from node.light.roots import GenesisRoot, HeaderRoot, Root
from node.light.store import KEPT, open_store
from state.encoding import Codec
from state.genesis import Genesis, GenesisBalance, GenesisValidator, genesis_hash
from state.memory import MemoryStore
from state.params import ChainParams, SecurityParams, Timing
from state.types import Address, Amount, Height
from testnet.headers import Forge, ForgedChain, ForgedNode

START = 1_700_000_000_000
PERIOD = SecurityParams().trust_period
KEYS = [SecretKey.from_seed(scheme=SecretKey.generate().scheme, seed=bytes([index]) * 32) for index in range(8)]
SIGNERS = {Address(key.address): KeySigner(key) for key in KEYS}
ALICE = Address(b"\x07" * 32)
BALANCE = methods.GetBalance(address=encode_address(ALICE))
VERIFIER = RememberingVerifier(SchemeVerifier())
evidence_codec: Codec[Evidence] = Codec(Evidence)  # type: ignore[arg-type]


def a_set(*keys: SecretKey) -> ValidatorSet:
    return make_validator_set([
        Validator(Address(key.address), key.public_key, 10, Address(key.address)) for key in keys
    ])


def genesis_of(amount: int = 500) -> Genesis:
    return Genesis(
        version=1, name="light", time=START, timing=Timing(), chain=ChainParams(), security=SecurityParams(),
        validators=tuple(
            GenesisValidator(key.public_key, 10, Address(key.address), f"v{index}")
            for index, key in enumerate(KEYS[:4])
        ),
        balances=(GenesisBalance(ALICE, "nxs", Amount(amount)),),
    )


GENESIS = genesis_of()
FORGE = Forge(GENESIS, SIGNERS)
CHAIN = FORGE.chain(60)
ROOT = GenesisRoot(genesis_hash(GENESIS))
RICHER = open_chain(MemoryStore(), genesis_of(900))
"""A state in which alice has more."""


class Clock:
    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class Client:
    """A light client, its nodes, its clock, and what it tells."""

    def __init__(self, primary: ForgedNode, others: Sequence[ForgedNode] = ()) -> None:
        self.primary = primary
        self.others = others
        self.clock = Clock(primary.chain.headers[-1].time + 500)
        self.told: list[str] = []

    async def open(self, root: Root | None = ROOT, folder: Path | None = None) -> ProvenAnswers:
        around = Surroundings(self.primary, self.others, self.clock, VERIFIER, self.told.append)
        return await open_light(Place(folder or Path("none"), root, folder is not None), around)

    async def balance(self, root: Root | None = ROOT, folder: Path | None = None) -> int:
        answers = await self.open(root, folder)
        return int((await answers.answer(BALANCE)).outcome.unwrap().amount)

    async def refused(self, root: Root | None = ROOT, folder: Path | None = None) -> Reason:
        with pytest.raises(Refused) as caught:
            await self.balance(root, folder)
        return caught.value.reason


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witnesses, "PAUSE", 0.01)


def node(chain: ForgedChain = CHAIN, url: str = "primary") -> ForgedNode:
    return ForgedNode(url, chain)


def bent(kind: type[Any], change: Callable[[Any], Any]) -> ForgedNode:
    """A node that lies in one kind of answer."""
    liar = node()
    liar.bend = lambda ask, answer: change(answer) if isinstance(ask, kind) else answer
    return liar


async def test_an_honest_node_is_believed_with_witnesses_and_without() -> None:
    assert await Client(node()).balance() == 500
    client = Client(node(), [node(url="one"), node(url="two")])
    assert await client.balance() == 500 and all(other.asked >= 2 for other in client.others)


# ---- a lying primary


async def test_a_wrong_value_and_a_wrong_proof_are_refused() -> None:
    liar = node()
    lying = ForgedChain(FORGE, RICHER, CHAIN.headers, CHAIN.sets)
    liar.bend = lambda ask, answer: lying_node._answer(ask) if isinstance(ask, methods.GetProof) else answer
    lying_node = node(lying)
    assert await Client(liar).refused() is Reason.BAD_PROOF
    garbage = bent(methods.GetProof, lambda answer: replace(answer, proof=b"\x93"))
    assert await Client(garbage).refused() is Reason.MALFORMED


async def test_forged_headers_are_refused() -> None:
    few = Forge(GENESIS, SIGNERS, signing=lambda _height, _set: (0, 1))
    weak = few.fork(CHAIN, 30, 60, state=RICHER)  # half of the power signs it
    assert await Client(node(weak)).refused() is Reason.BAD_COMMIT
    strangers = Forge(GENESIS, SIGNERS).fork(CHAIN, 30, 60, state=RICHER, validators=a_set(*KEYS[4:]))
    assert await Client(node(strangers)).refused() is Reason.BAD_HEADER
    wrong_keys = {address: SIGNERS[Address(KEYS[7].address)] for address in SIGNERS}
    forged = Forge(GENESIS, wrong_keys).fork(CHAIN, 30, 60, state=RICHER)
    assert await Client(node(forged)).refused() is Reason.BAD_SIGNATURE
    other = Forge(genesis_of(1), SIGNERS).chain(60)
    assert await Client(node(other)).refused() is Reason.WRONG_CHAIN


async def test_a_header_from_the_future_is_refused() -> None:
    client = Client(node())
    client.clock.now = CHAIN.headers[-1].time - 20_000
    assert await client.refused() is Reason.BAD_TIME
    client.clock.now = CHAIN.headers[-1].time - 9_000  # within the drift
    assert await client.balance() == 500


async def test_expired_trust_is_refused_and_a_newer_root_helps(tmp_path: Path) -> None:
    client = Client(node())
    assert await client.balance(ROOT, tmp_path / "light") == 500
    client.clock.now = CHAIN.headers[-1].time + PERIOD
    assert await client.refused() is Reason.TRUST_EXPIRED
    assert await client.refused(None, tmp_path / "light") is Reason.TRUST_EXPIRED
    assert await client.refused(HeaderRoot(Height(60), CHAIN.headers[59].block_id)) is Reason.TRUST_EXPIRED
    later = Forge(GENESIS, SIGNERS, interval=PERIOD // 40).chain(60)
    client = Client(node(later))
    assert await client.refused() is Reason.TRUST_EXPIRED
    recent = HeaderRoot(Height(40), later.headers[39].block_id)
    assert await client.balance(recent) == 500
    assert await client.balance(GenesisRoot(ROOT.chain_id, every_header=True)) == 500


async def test_a_wrong_hash_and_a_wrong_height_are_refused() -> None:
    assert await Client(node()).refused(HeaderRoot(Height(9), CHAIN.headers[9].block_id)) is Reason.BAD_HEADER
    assert await Client(node()).refused(HeaderRoot(Height(99), CHAIN.headers[9].block_id)) is Reason.NOT_AVAILABLE
    liar = bent(methods.GetLightBlock, lambda answer: node()._answer(methods.GetLightBlock(height="7")))
    assert await Client(liar).refused() is Reason.WRONG_HEIGHT


# ---- changes of the validator set


async def test_a_set_that_changes_wholly_is_followed_by_bisection() -> None:
    changes = {10: a_set(*KEYS[1:5]), 20: a_set(*KEYS[3:7]), 30: a_set(KEYS[0], *KEYS[5:8]), 45: a_set(*KEYS[4:])}
    chain = Forge(GENESIS, SIGNERS, changes).chain(60)
    primary = node(chain)
    answers = await Client(primary, [node(chain, "witness")]).open()
    answered = await answers.answer(BALANCE)
    recorded = await answers.record(answered)
    assert answered.outcome.unwrap().amount == 500 and 2 < len(recorded.blocks) < 12
    assert verify_answer(ROOT, recorded, chain.headers[-1].time, VERIFIER).header == chain.headers[-1]
    every = GenesisRoot(ROOT.chain_id, every_header=True)
    assert await Client(primary).balance(every) == 500


async def test_ten_thousand_headers_take_few_questions() -> None:
    rotating = {
        start: a_set(*(KEYS[(start // 600 + place) % 8] for place in range(4))) for start in range(601, 10_000, 600)
    }
    chain = Forge(GENESIS, SIGNERS, rotating).chain(10_000)
    primary = node(chain)
    client = Client(primary)
    assert await client.balance() == 500 and primary.asked < 40
    every = node(chain)
    assert await Client(every).balance(GenesisRoot(ROOT.chain_id, every_header=True)) == 500 and every.asked < 60


async def test_a_change_of_the_set_that_nobody_signed_is_refused_on_the_way_through_every_header() -> None:
    chain = Forge(GENESIS, SIGNERS).fork(CHAIN, 30, 60, validators=a_set(*KEYS[4:]))
    every = GenesisRoot(ROOT.chain_id, every_header=True)
    assert await Client(node(chain)).refused(every) is Reason.BAD_HEADER


# ---- forks


def accused_by(one: ForgedNode, kind: type[Evidence]) -> set[Address]:
    """Check the evidence that a node was handed; return who is accused by evidence of that kind."""
    found = [evidence_codec.decode(raw) for raw in one.reports]
    for evidence in found:
        verify_evidence(ROOT.chain_id, CHAIN.sets[0], evidence, VERIFIER)
    return {evidence.validator for evidence in found if isinstance(evidence, kind)}


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(("state", "kind"), [(None, DuplicateVote), (RICHER, LightClientAttack)])
async def test_a_fork_stops_the_client_whichever_side_the_primary_is_on(
    tmp_path: Path, side: int, state: Chain | None, kind: type[Evidence]
) -> None:
    """All sign two chains: neither is believed, and every node is handed proof against each who did."""
    other = FORGE.fork(CHAIN, 30, 60, state=state)
    nodes = [node(), node(other, "fork")]
    client = Client(nodes[side], [nodes[1 - side], node(url="third")])
    folder = tmp_path / "light"
    assert await client.refused(ROOT, folder) is Reason.FORKED
    for one in (client.primary, *client.others):
        assert accused_by(one, kind) == {validator.address for validator in CHAIN.sets[0].validators}
    # it stays stopped, also after a restart and with honest nodes alone; what was trusted before is still there
    assert await Client(node()).refused(None, folder) is Reason.FORKED
    assert await Client(node()).refused(ROOT, folder) is Reason.FORKED


async def test_a_fork_by_a_third_that_invents_a_set_is_found(tmp_path: Path) -> None:
    """Two of four validators sign a header whose set is they alone: skipping takes it, the witness does not."""
    lunatic = FORGE.fork(CHAIN, 30, 60, state=RICHER, validators=a_set(*KEYS[:2]))
    assert await Client(node(lunatic)).balance() == 900  # more than a third is faulty: without witnesses nothing helps
    honest = node(url="honest")
    assert await Client(node(lunatic), [honest]).refused() is Reason.FORKED
    assert accused_by(honest, LightClientAttack) >= {Address(key.address) for key in KEYS[:2]}
    assert await Client(node(), [node(lunatic, "liar")]).refused() is Reason.FORKED


async def test_a_primary_that_runs_ahead_of_time_is_found() -> None:
    """The forged chain has more blocks, none of them later than what an honest witness has."""
    crowd = Forge(GENESIS, SIGNERS, interval=400).fork(CHAIN, 30, 80, validators=a_set(*KEYS[:2]))
    assert crowd.headers[-1].time < CHAIN.headers[-1].time
    client = Client(node(crowd), [node(url="honest")])
    client.clock.now = CHAIN.headers[-1].time
    assert await client.refused() is Reason.FORKED


async def test_a_primary_that_changes_its_mind_is_found(tmp_path: Path) -> None:
    primary = node()
    answers = await Client(primary).open()
    await answers.client.update()
    primary.chain = FORGE.fork(CHAIN, 30, 60, state=RICHER)
    with pytest.raises(Refused) as caught:
        await answers.client.update()
    assert caught.value.reason is Reason.FORKED
    for question in (BALANCE, methods.GetHeader(height="60"), methods.GetCommit(height="60")):
        with pytest.raises(Refused) as caught:
            await answers.answer(question)
        assert caught.value.reason is Reason.FORKED


async def test_an_answer_from_below_what_is_still_trusted_is_proven_by_ids(tmp_path: Path) -> None:
    """The first trusted blocks have expired, a later one has not: the file begins with that one."""
    slow = Forge(GENESIS, SIGNERS, interval=PERIOD // 50).chain(80)
    client = Client(node(slow.until(40)))
    folder = tmp_path / "light"
    await (await client.open(ROOT, folder)).client.update()
    client.primary.chain = slow
    client.clock.now = slow.headers[-1].time
    answers = await client.open(None, folder)
    question = methods.GetHeader(height="20")
    answered = await answers.answer(question)
    recorded = await answers.record(answered)
    first = recorded.blocks[0].header
    assert answered.header == slow.headers[19] and first.height == 40 and len(recorded.earlier) == 20
    root = HeaderRoot(first.height, first.block_id)
    assert verify_answer(root, recorded, client.clock.now, VERIFIER).header == answered.header


# ---- witnesses


async def test_a_witness_that_cannot_prove_its_contradiction_is_dropped() -> None:
    weak = Forge(GENESIS, SIGNERS, signing=lambda _height, _set: (0,)).fork(CHAIN, 30, 60)
    client = Client(node(), [node(weak, "liar"), node(url="honest")])
    assert await client.balance() == 500
    assert any("liar" in told for told in client.told)
    assert await Client(node(), [node(weak, "liar")]).refused() is Reason.NO_WITNESS


async def test_a_witness_that_lags_is_waited_for_and_one_on_another_chain_is_named() -> None:
    short = CHAIN.until(40)
    late = node(short, "late")
    assert await Client(node(), [late]).refused() is Reason.NO_WITNESS

    async def catch_up() -> None:
        await trio.sleep(0.015)
        late.chain = CHAIN

    async with trio.open_nursery() as nursery:
        nursery.start_soon(catch_up)
        assert await Client(node(), [late]).balance() == 500
    other = Forge(genesis_of(1), SIGNERS).chain(60)
    assert await Client(node(), [node(other, "elsewhere")]).refused() is Reason.BAD_WITNESS


async def test_an_unreachable_witness_is_not_enough() -> None:
    gone = node(url="gone")

    def fail(_ask: Any, _answer: Any) -> Any:
        raise Refused(Reason.UNREACHABLE, "no node answers at gone")

    gone.bend = fail
    assert await Client(node(), [gone]).refused() is Reason.NO_WITNESS
    assert await Client(node(), [gone, node(url="honest")]).balance() == 500


async def test_a_witness_takes_the_place_of_a_primary_that_is_gone() -> None:
    primary, others = node(), [node(url="one"), node(url="two")]
    client = Client(primary, others)
    answers = await client.open()

    def fail(_ask: Any, _answer: Any) -> Any:
        raise Refused(Reason.UNREACHABLE, "no node answers at primary")

    primary.bend = fail
    assert (await answers.answer(BALANCE)).outcome.unwrap().amount == 500
    assert answers.client.primary is others[0]
    for other in others:
        other.bend = fail
    with pytest.raises(Refused) as caught:
        await answers.answer(BALANCE)
    assert caught.value.reason is Reason.UNREACHABLE


# ---- what is kept


async def test_what_was_verified_is_kept_and_gone_on_from(tmp_path: Path) -> None:
    folder = tmp_path / "light"
    primary = node(CHAIN.until(20))
    client = Client(primary)
    answers = await client.open(ROOT, folder)
    for length in range(21, 60):
        primary.chain = CHAIN.until(length)
        client.clock.now = primary.chain.headers[-1].time
        await answers.client.update()
    store = open_store(folder)
    assert store is not None and len(store.blocks()) == KEPT
    assert next(iter(store.blocks())) == 1 and tuple(store.blocks())[-1] == 59
    assert len(list(folder.iterdir())) == KEPT + 2
    primary.asked = 0
    assert await client.balance(None, folder) == 500 and primary.asked <= 3
    assert await client.balance(ROOT, folder) == 500  # the same root again goes on, too
    other = Forge(genesis_of(1), SIGNERS).chain(20)
    elsewhere = Client(node(other))
    assert await elsewhere.refused(GenesisRoot(genesis_hash(genesis_of(1))), folder) is Reason.WRONG_CHAIN


async def test_a_damaged_store_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "light"
    assert await Client(node()).balance(ROOT, folder) == 500
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for content in (whole[:-1], whole[:40], b"", bytes([whole[0] ^ 1]) + whole[1:]):
            path.write_bytes(content)
            assert await Client(node()).refused(None, folder) is Reason.CORRUPT_DATABASE
        path.write_bytes(whole)
    assert await Client(node()).balance(None, folder) == 500
    assert await Client(node()).refused(None, tmp_path / "none") is Reason.HOME_MISSING


async def test_a_trust_that_grows_old_is_announced(tmp_path: Path) -> None:
    folder = tmp_path / "light"
    client = Client(node())
    await client.open(ROOT, folder)
    answers = await client.open(None, folder)
    assert answers.client.warning == "" and not any("warning" in told for told in client.told)
    client.clock.now = START + PERIOD * 3 // 4
    answers = await client.open(None, folder)
    assert answers.client.warning and any("warning" in told for told in client.told)
