"""Collecting validators' parts: the result depends on their set alone, and each wrong one is refused by its name."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from apps.ceremony import collect, part_faults, warnings
from apps.genesis import init_genesis
from apps.staking.gentx import SignedGentx, check_gentx, gentx_from_json, gentx_to_json, make_gentx, terms_of
from apps.staking.records import find_operator
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from crypto.schemes import Scheme
from state.changes import Overlay
from state.genesis import Genesis, GenesisBalance, check_genesis, genesis_hash
from state.genesis_json import draft_from_json, genesis_from_json, genesis_to_json
from state.ledger import supply
from state.params import ChainParams, SecurityParams, StakingParams, Timing
from state.types import NATIVE, UNXS_PER_NXS, Address, Amount

NAMES = ("alice", "bob", "carol")
OPERATORS = [SecretKey.from_seed(Scheme.FALCON, bytes([number]) * 32) for number in range(1, 4)]
CONSENSUS = [SecretKey.from_seed(Scheme.FALCON, bytes([number]) * 32) for number in range(4, 7)]
HELD = 1000 * UNXS_PER_NXS


def make_draft(**changes: Any) -> Genesis:
    balances = tuple(GenesisBalance(Address(key.address), "nxs", Amount(HELD)) for key in OPERATORS)
    draft = Genesis(1, "together", 1_000, Timing(), ChainParams(), SecurityParams(), (), balances=balances)
    return replace(draft, **changes)


DRAFT = make_draft()


def part(number: int, draft: Genesis = DRAFT, **changes: Any) -> SignedGentx:
    given = {"moniker": NAMES[number], "power": 100 + number, "commission": 100 * number, **changes}
    return make_gentx(draft, OPERATORS[number], CONSENSUS[number], **given)


PARTS = {name: part(number) for number, name in enumerate(NAMES)}


class _Nothing:
    def get(self, key: bytes) -> bytes | None:
        return None


def reasons(draft: Genesis, parts: dict[str, SignedGentx]) -> list[tuple[str, Reason]]:
    return [(fault.name, fault.reason) for fault in part_faults(draft, parts)]


def test_any_order_gives_the_same_bytes_and_the_supply_of_the_draft() -> None:
    documents = {
        genesis_to_json(collect(DRAFT, {str(place): PARTS[name] for place, name in enumerate(order)}))
        for order in itertools.permutations(NAMES)
    }
    assert len(documents) == 1
    genesis = genesis_from_json(documents.pop())
    assert {(one.moniker, one.power, one.commission) for one in genesis.validators} == {
        ("alice", 100, 0), ("bob", 101, 100), ("carol", 102, 200)
    }
    assert [one.amount for one in genesis.balances] == [HELD - power * UNXS_PER_NXS for power in (100, 101, 102)]
    state = Overlay(_Nothing())
    for key, (_, value) in init_genesis(genesis).entries.items():
        assert value is not None
        state.put(key, value)
    assert supply(state, NATIVE) == 3 * HELD
    operator = find_operator(state, Address(OPERATORS[1].address))
    assert operator is not None and (operator.moniker, operator.commission) == ("bob", 100)


def test_a_balance_that_is_bonded_whole_is_no_balance() -> None:
    document = collect(DRAFT, {**PARTS, "alice": part(0, power=1000)})
    assert Address(OPERATORS[0].address) not in {one.owner for one in document.balances}
    assert sum("alice" in warning for warning in warnings(document)) == 2


def test_accounts_and_time_may_change_after_signing_and_rules_may_not() -> None:
    later = replace(DRAFT, time=5_000, balances=(*DRAFT.balances, GenesisBalance(Address(bytes(32)), "nxs", Amount(1))))
    assert terms_of(later) == terms_of(DRAFT)
    assert collect(later, PARTS).time == 5_000
    for changed in (
        replace(DRAFT, name="other"), replace(DRAFT, timing=Timing(block_interval=1)),
        replace(DRAFT, chain=ChainParams(difficulty=1)), replace(DRAFT, security=SecurityParams(epoch_length=2)),
        replace(DRAFT, staking=StakingParams(inflation=1)),
    ):
        assert reasons(changed, PARTS) == [(name, Reason.BAD_GENTX) for name in NAMES]


def test_what_cannot_go_together_is_refused_by_name() -> None:
    with pytest.raises(Refused) as caught:
        collect(DRAFT, {})
    assert caught.value.reason is Reason.BAD_GENTX
    assert reasons(DRAFT, {**PARTS, "zoe": PARTS["bob"]}) == [
        ("zoe", Reason.VALIDATOR_EXISTS), ("zoe", Reason.KEY_IN_USE)
    ]
    shared = make_gentx(DRAFT, OPERATORS[1], CONSENSUS[0], moniker="bob", power=5)
    assert reasons(DRAFT, {**PARTS, "bob": shared}) == [("bob", Reason.KEY_IN_USE)]
    assert reasons(DRAFT, {"alice": part(0, power=1001)}) == [("alice", Reason.INSUFFICIENT_FUNDS)]
    assert reasons(make_draft(balances=()), PARTS) == [(name, Reason.INSUFFICIENT_FUNDS) for name in NAMES]
    strict = make_draft(staking=StakingParams(min_self_stake=101 * UNXS_PER_NXS, max_validators=2))
    parts = {name: part(number, strict) for number, name in enumerate(NAMES)}
    assert reasons(strict, parts) == [("parts", Reason.BAD_GENTX), ("alice", Reason.INSUFFICIENT_STAKE)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda gentx: replace(gentx, power=999), Reason.BAD_SIGNATURE),
        (lambda gentx: replace(gentx, moniker="mallory"), Reason.BAD_SIGNATURE),
        (lambda gentx: replace(gentx, moniker=" alice"), Reason.BAD_GENTX),
        (lambda gentx: replace(gentx, moniker=""), Reason.BAD_GENTX),
        (lambda gentx: replace(gentx, power=0), Reason.BAD_GENTX),
        (lambda gentx: replace(gentx, commission=10_001), Reason.BAD_GENTX),
        (lambda gentx: replace(gentx, public_key=CONSENSUS[1].public_key), Reason.BAD_SIGNATURE),
        (lambda gentx: replace(gentx, operator_key=OPERATORS[1].public_key), Reason.BAD_SIGNATURE),
        (lambda gentx: replace(gentx, operator_key=CONSENSUS[0].public_key), Reason.BAD_KEY),
        (lambda gentx: replace(gentx, public_key=b"\x09" * 100), Reason.BAD_KEY),
        (lambda gentx: replace(gentx, proof=bytes(1281)), Reason.BAD_SIGNATURE),
        (lambda gentx: replace(gentx, terms=bytes(32)), Reason.BAD_SIGNATURE),
    ],
)
def test_changed_parts(change: Callable[[Any], Any], reason: Reason) -> None:
    changed = replace(PARTS["alice"], gentx=change(PARTS["alice"].gentx))
    with pytest.raises(Refused) as caught:
        check_gentx(changed)
    assert caught.value.reason is reason


def test_a_stolen_consensus_key_needs_its_own_proof() -> None:
    """Bob signs Alice's consensus key, with the proof that she published for herself."""
    stolen = replace(PARTS["bob"].gentx, public_key=CONSENSUS[0].public_key, proof=PARTS["alice"].gentx.proof)
    signed = SignedGentx(stolen, OPERATORS[1].sign(b"whatever"))
    assert reasons(DRAFT, {"bob": signed}) == [("bob", Reason.BAD_SIGNATURE)]


def test_the_file() -> None:
    raw = gentx_to_json(PARTS["carol"])
    assert gentx_from_json(raw) == PARTS["carol"]
    form = json.loads(raw)
    assert (form["power"], form["moniker"], form["commission"]) == ("102", "carol", 200)
    changes: list[dict[str, Any]] = [
        {"power": 102}, {"power": "-1"}, {"moniker": 5}, {"terms": "xy"}, {"colour": "red"}, {"proof": "AA"}
    ]
    for change in changes:
        with pytest.raises(Refused) as caught:
            gentx_from_json(json.dumps({**form, **change}).encode())
        assert caught.value.reason is Reason.BAD_GENTX
        assert caught.value.detail.startswith(f"{next(iter(change))}:")
    for wrong in (b"", b"[]", b"\xff", b"{}", b"[" * 100_000, b"1" * (1 << 20)):
        with pytest.raises(Refused) as caught:
            gentx_from_json(wrong)
        assert caught.value.reason is Reason.BAD_GENTX


def test_a_draft_is_no_document_and_a_document_no_draft() -> None:
    assert draft_from_json(genesis_to_json(DRAFT)) == DRAFT
    document = collect(DRAFT, PARTS)
    assert genesis_hash(document) != genesis_hash(DRAFT)
    for check in (lambda: check_genesis(DRAFT), lambda: draft_from_json(genesis_to_json(document))):
        with pytest.raises(Refused) as caught:
            check()
        assert caught.value.reason is Reason.BAD_GENESIS


def test_keys_of_both_kinds_are_needed() -> None:
    key = SecretKey.generate()
    with pytest.raises(Refused) as caught:
        make_gentx(DRAFT, key, key, moniker="one", power=1)
    assert caught.value.reason is Reason.BAD_KEY
