"""The genesis document: two forms of one value, and each rule by name of the field."""

import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from consensus.types import ConsensusParams
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from state.encoding import encode
from state.genesis import (
    Genesis,
    GenesisAsset,
    GenesisBalance,
    GenesisOutput,
    GenesisValidator,
    check_genesis,
    decode_genesis,
    genesis_hash,
)
from state.genesis_json import genesis_from_json, genesis_to_json, read_genesis_json
from state.params import ChainParams, ProofParams, SecurityParams, Timing
from state.records import asset_id
from state.types import MAX_AMOUNT, NATIVE, Address, Amount
from tests.state.chains import KEY, OWNERS

ALICE, BOB, CAROL = OWNERS[:3]
GENESIS = Genesis(
    1, "test chain", 1_700_000_000_000, Timing(), ChainParams(), SecurityParams(),
    (GenesisValidator(KEY, 10, ALICE, "first", "ID@[::1]:4000"),
     GenesisValidator(KEY[:-1] + b"\1", 20, BOB, "second")),
    (GenesisAsset(CAROL, "gold", 2, True, False, True),),
    (GenesisBalance(ALICE, "nxs", Amount(5)), GenesisBalance(ALICE, "gold", Amount(MAX_AMOUNT))),
    (GenesisOutput(BOB, "nxs", Amount(7)), GenesisOutput(BOB, "nxs", Amount(7))),
)
Document = dict[str, Any]


def document() -> Document:
    loaded: Document = json.loads(genesis_to_json(GENESIS))
    return loaded


def test_both_forms() -> None:
    assert genesis_from_json(genesis_to_json(GENESIS)) == GENESIS
    assert decode_genesis(encode(GENESIS)) == GENESIS
    assert genesis_hash(GENESIS) == digest(Label.GENESIS, encode(GENESIS))
    assert GENESIS.symbols == {"nxs": NATIVE, "gold": asset_id(CAROL, "gold")}


def test_the_document_is_for_people() -> None:
    form = document()
    assert form["balances"][0] == {"owner": encode_address(ALICE), "symbol": "nxs", "amount": "5"}
    assert form["validators"][1]["power"] == "20"
    assert form["security"]["trust_period"] == 14 * 86_400_000


def test_what_is_left_out_takes_its_default() -> None:
    form = document()
    form["timing"], form["security"] = {}, {"epoch_length": 5}
    for name in ("assets", "balances", "outputs"):
        del form[name]
    genesis = genesis_from_json(json.dumps(form).encode())
    assert genesis.timing == Timing()
    assert genesis.security == SecurityParams(epoch_length=5)


def test_timing_has_the_fields_of_the_engine() -> None:
    assert msgspec.structs.asdict(Timing()) == msgspec.structs.asdict(ConsensusParams())


def put(*path: str | int, value: object) -> Callable[[Document], None]:
    def change(form: Document) -> None:
        place: Any = form
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (put("version", value=2), "version"),
        (put("name", value=""), "name"),
        (put("time", value=-1), "time"),
        (put("time", value=2**60), "time"),
        (put("timing", "timeout_prevote", value=0), "timing.timeout_prevote"),
        (put("timing", "timeout_propose", value=20_000), "timing.timeout_propose"),
        (put("timing", "timeout_typo", value=1), "timing.timeout_typo"),
        (put("chain", "difficulty", value=65), "chain.difficulty"),
        (put("chain", "expiry_window", value=1), "chain.expiry_window"),
        (put("chain", "max_block_gas", value=2**70), "chain.max_block_gas"),
        (put("security", "unbonding", value=10**12), "security.unbonding"),
        (put("security", "trust_period", value=21 * 86_400_000), "security.trust_period"),
        (put("security", "trust_period", value=0), "security.trust_period"),
        (put("security", "epoch_length", value=0), "security.epoch_length"),
        (put("proofs", "space_k", value=17), "proofs.space_k"),
        (put("proofs", "space_k", value=51), "proofs.space_k"),
        (put("proofs", "where", value=1), "proofs.where"),
        (put("proofs", "vdf_bits", value=1028), "proofs.vdf_bits"),
        (put("proofs", "vdf_bits", value=1001), "proofs.vdf_bits"),
        (put("proofs", "vdf_iterations", value=11_999_999), "proofs.vdf_iterations"),
        (put("validators", value=[]), "validators"),
        (put("validators", 1, "public_key", value="xx"), "validators[1].public_key"),
        (put("validators", 1, "public_key", value="00" * 1794), "validators[1].public_key"),
        (put("validators", 1, "public_key", value=KEY.hex()), "validators[1].public_key"),
        (put("validators", 1, "public_key", value=KEY.hex().upper()), "validators[1].public_key"),
        (put("validators", 1, "power", value="0"), "validators[1].power"),
        (put("validators", 1, "operator", value="nx1qqq"), "validators[1].operator"),
        (put("validators", 0, "moniker", value="m" * 65), "validators[0].moniker"),
        (put("assets", 0, "symbol", value="nxs"), "assets[0].symbol"),
        (put("assets", 0, "symbol", value="Gold"), "assets[0].symbol"),
        (put("assets", 0, "decimals", value=19), "assets[0].decimals"),
        (put("balances", 1, "symbol", value="silver"), "balances[1].symbol"),
        (put("balances", 1, "symbol", value="nxs"), "balances[1].owner"),
        (put("balances", 0, "amount", value="0"), "balances[0].amount"),
        (put("balances", 0, "amount", value=str(2**63)), "balances[0].amount"),
        (put("outputs", 1, "amount", value=str(MAX_AMOUNT)), "outputs[1].amount"),
        (put("outputs", 0, "owner", value=encode_address(BOB)[:-1] + "q"), "outputs[0].owner"),
        (put("validators", 0, "commission", value=10_001), "validators[0].commission"),
        (put("validators", 0, "commission", value="5"), "validators[0].commission"),
        (put("validators", value={}), "validators"),
        (put("timing", value=[]), "timing"),
        (put("timing", "timeout_max", value=1.5), "timing.timeout_max"),
        (put("timing", "timeout_max", value=True), "timing.timeout_max"),
        (put("assets", 0, "mintable", value=1), "assets[0].mintable"),
        (put("outputs", 0, "amount", value="-1"), "outputs[0].amount"),
        (put("outputs", 0, "amount", value="01"), "outputs[0].amount"),
        (put("outputs", 0, "amount", value=1), "outputs[0].amount"),
        (put("outputs", 0, "colour", value="red"), "outputs[0].colour"),
        (put("outputs", 0, value=[]), "outputs[0]"),
        (put("colour", value="red"), "colour"),
    ],
)
def test_wrong_fields_are_named(change: Callable[[Document], None], field: str) -> None:
    form = document()
    change(form)
    with pytest.raises(Refused) as refused:
        genesis_from_json(json.dumps(form).encode())
    assert refused.value.reason is Reason.BAD_GENESIS
    assert refused.value.detail.split(":")[0] == field


def test_all_wrong_fields_are_named_at_once() -> None:
    form = document()
    for change in (
        put("timing", "timeout_propsoe", value=1), put("chain", "difficulty", value=65), put("name", value=7),
        put("validators", 0, "power", value="0"), put("validators", 1, "operator", value="nx1qqq"),
        put("assets", 0, "decimals", value="2"), put("balances", 1, "symbol", value="silver"),
        put("security", "trust_period", value=0), put("outputs", 0, "amount", value=5),
    ):
        change(form)
    del form["version"]
    genesis, faults = read_genesis_json(json.dumps(form).encode())
    assert genesis is not None
    assert [fault.split(":")[0] for fault in faults] == [
        "version", "name", "timing.timeout_propsoe", "validators[1].operator", "assets[0].decimals",
        "outputs[0].amount", "chain.difficulty", "validators[0].power",
    ]
    form = document()
    for change in (
        put("timing", "timeout_prevote", value=1), put("security", "trust_period", value=0),
        put("balances", 1, "symbol", value="silver"), put("validators", 1, "public_key", value=KEY.hex()),
        put("chain", "expiry_window", value=1),
    ):
        change(form)
    _, faults = read_genesis_json(json.dumps(form).encode())
    assert [fault.split(":")[0] for fault in faults] == [
        "timing.timeout_prevote", "chain.expiry_window", "security.trust_period", "validators[1].public_key",
        "balances[1].symbol",
    ]


def test_the_limits_hold_exactly() -> None:
    security = SecurityParams(evidence_age=10, unbonding=10, trust_period=9)
    check_genesis(msgspec.structs.replace(GENESIS, security=security))
    with pytest.raises(Refused):
        check_genesis(msgspec.structs.replace(GENESIS, security=msgspec.structs.replace(security, unbonding=11)))
    with pytest.raises(Refused):
        check_genesis(msgspec.structs.replace(GENESIS, security=msgspec.structs.replace(security, trust_period=10)))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000])
def test_no_document(raw: bytes) -> None:
    for decode in (genesis_from_json, decode_genesis):
        with pytest.raises(Refused) as refused:
            decode(raw)
        assert refused.value.reason is Reason.BAD_GENESIS


@given(st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_changed_documents(rng: random.Random) -> None:
    """A document with one changed byte is refused by name, or is another chain, or says the same in other words."""
    raw = bytearray(genesis_to_json(GENESIS))
    raw[rng.randrange(len(raw))] = rng.randrange(256)
    try:
        genesis = genesis_from_json(bytes(raw))
    except Refused as refused:
        assert refused.reason is Reason.BAD_GENESIS
    else:
        assert (genesis == GENESIS) == (genesis_hash(genesis) == genesis_hash(GENESIS))
        assert genesis_from_json(genesis_to_json(genesis)) == genesis


@given(st.randoms(use_true_random=False))
def test_changed_bytes(rng: random.Random) -> None:
    raw = bytearray(encode(GENESIS))
    raw[rng.randrange(len(raw))] ^= rng.randrange(1, 256)
    try:
        assert decode_genesis(bytes(raw)) != GENESIS
    except Refused as refused:
        assert refused.reason is Reason.BAD_GENESIS


def test_many_outputs() -> None:
    rng = random.Random(1)
    owners = [Address(rng.randbytes(32)) for _ in range(500)]
    outputs = tuple(GenesisOutput(rng.choice(owners), "nxs", Amount(rng.randrange(1, 10**9))) for _ in range(30_000))
    genesis = msgspec.structs.replace(GENESIS, outputs=outputs)
    assert genesis_from_json(genesis_to_json(genesis)) == genesis


def test_what_proofs_may_ask_for_is_checked_together() -> None:
    genesis = GENESIS
    fine = (
        ProofParams(vdf_iterations=12_000_000), ProofParams(vdf_iterations=1, vdf_bits=512),
        ProofParams(space_k=18, where=1), ProofParams(target_gas=1, max_difficulty=7),
    )
    for proofs in fine:
        check_genesis(replace(genesis, proofs=proofs, chain=replace(genesis.chain, difficulty=7)))
    with pytest.raises(Refused) as caught:
        check_genesis(replace(
            genesis, proofs=ProofParams(target_gas=1, max_difficulty=6), chain=replace(genesis.chain, difficulty=7)
        ))
    assert caught.value.reason is Reason.BAD_GENESIS
