"""Replays the model-based cases of Tendermint's light client: their abstract validator sets over our verifier.

A case starts with a trusted header and the validators after it, and gives blocks with the verdict that a verifier
must reach. Headers, sets and signers are taken over; hashes of sets become ours where the case's own hash names that
set, and stay foreign where it does not; who signed in the case signs here with a keyed hash.
"""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from consensus.commit import make_commit
from consensus.light import LightBlock, TrustParams, verify_from
from consensus.types import Header, Validator, ValidatorSet, Vote, VoteKind, vote_sign_bytes
from crypto.errors import Reason, Refused
from state.types import Address, BlockId, ChainId, Height, Round
from tests.consensus.parts import KeyedHash, hash32, signature

VECTORS = Path(os.environ.get("NEXUS_VECTORS", Path(__file__).resolve().parents[2].parent / "shared" / "vectors"))
FOLDER = VECTORS / "light_client_mbt"
CHAIN = ChainId(hash32("test-chain"))
VERIFIER = KeyedHash()


def time_of(text: str) -> int:
    return int(datetime.fromisoformat(text[:19] + "+00:00").timestamp() * 1000)


def address_of(text: str) -> Address:
    return Address(bytes.fromhex(text).ljust(32, b"\0"))


def set_of(document: dict[str, Any]) -> ValidatorSet:
    validators = []
    for item in document["validators"] or ():
        address = address_of(item["address"])
        validators.append(Validator(address, item["address"].encode(), int(item["voting_power"]), address))
    return ValidatorSet(tuple(sorted(validators, key=lambda validator: validator.address)))


class Case:
    """One file: the names that its headers give to validator sets, and the header trusted so far."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.hashes: dict[str, bytes] = {}
        initial = document["initial"]
        first = initial["signed_header"]["header"]
        self.validators = set_of(initial["next_validator_set"])
        self.hashes[first["next_validators_hash"]] = self.validators.hash
        for item in document["input"]:
            header, block = item["block"]["signed_header"]["header"], item["block"]
            self.hashes[header["validators_hash"]] = set_of(block["validator_set"]).hash
            self.hashes[header["next_validators_hash"]] = set_of(block["next_validator_set"]).hash
        self.period = int(initial["trusting_period"]) // 1_000_000
        self.trusted = self.header(first, BlockId(bytes(32)))

    def verdict(self, block: dict[str, Any], now: int) -> str:
        header = self.header(block["signed_header"]["header"], self.trusted.block_id)
        new = light_block(header, block)
        params = TrustParams(CHAIN, trust_period=self.period, clock_drift=1_000)
        try:
            verify_from(self.trusted, self.validators, new, now, params, VERIFIER)
        except Refused as error:
            return "NOT_ENOUGH_TRUST" if error.reason is Reason.UNTRUSTED else "INVALID"
        self.trusted, self.validators = header, set_of(block["next_validator_set"])
        return "SUCCESS"

    def header(self, document: dict[str, Any], previous: BlockId) -> Header:
        def named(field: str) -> bytes:
            return self.hashes.get(document[field], hash32(document[field]))

        nothing = bytes(32)
        return Header(
            version=1, chain_id=CHAIN, height=Height(int(document["height"])), time=time_of(document["time"]),
            proposer=address_of(document["proposer_address"]), previous=previous, last_commit_hash=nothing,
            transactions_root=nothing, state_root=nothing, receipts_root=nothing,
            validators_hash=named("validators_hash"), next_validators_hash=named("next_validators_hash"),
            evidence_root=nothing, beacon=nothing,
        )


def light_block(header: Header, document: dict[str, Any]) -> LightBlock:
    validators = set_of(document["validator_set"])
    commit = document["signed_header"]["commit"]
    height, round = Height(int(commit["height"])), Round(int(commit["round"]))
    message = vote_sign_bytes(CHAIN, VoteKind.PRECOMMIT, height, round, header.block_id)
    signers = [
        (address_of(item["validator_address"]), item["validator_address"].encode())
        for item in commit["signatures"] or ()
        if item["block_id_flag"] == 2
    ]
    votes = []
    for stranger, (address, key) in enumerate(signers, start=len(validators)):
        index = validators.index_of(address)
        votes.append(Vote(
            VoteKind.PRECOMMIT, height, round, header.block_id, stranger if index is None else index,
            signature(key, message),
        ))
    return LightBlock(header, make_commit(height, round, header.block_id, votes), validators)


@pytest.mark.vectors
def test_every_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    if not FOLDER.is_dir():
        pytest.skip(f"no cases at {FOLDER}")
    paths = sorted(FOLDER.glob("*.json"))
    compared = 0
    for path in paths:
        document = json.loads(path.read_text())
        case = Case(document)
        for step, item in enumerate(document["input"]):
            assert case.verdict(item["block"], time_of(item["now"])) == item["verdict"], f"{path.name}, step {step}"
            compared += 1
    with capsys.disabled():
        print(f"\nlight_client_mbt: {len(paths)} cases, {compared} verdicts compared")  # noqa: T201
    assert compared > 0
