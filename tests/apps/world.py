"""A chain in a dictionary: blocks are executed for real; signatures are taken for good unless a test asks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from msgspec.structs import replace

from apps.chain.records import validators_at
from apps.execution import execute_block
from apps.genesis import init_genesis
from apps.module import BlockDraft
from apps.prooftask import ProofCheck, proofs_hold
from apps.supply import supply_differences
from apps.token.messages import Deposit, NewCoin
from apps.validity import SignatureCheck
from consensus.types import EMPTY_COMMIT, Commit, CommitSignature
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.keys import SecretKey
from crypto.schemes import Scheme
from state.changes import Changes
from state.encoding import Record, encode
from state.genesis import Genesis, GenesisBalance, GenesisValidator, genesis_hash
from state.ledger import nonce
from state.params import ChainParams, ProofParams, SecurityParams, StakingParams, Timing
from state.receipt import BlockResult, Receipt
from state.records import encode_output, key_owner_key, output_key, public_key_key
from state.transaction import (
    Body,
    Call,
    Decoded,
    Message,
    OutPoint,
    Output,
    Payload,
    Proof,
    Transfer,
    Witness,
    assemble,
    decode_transaction,
)
from state.types import NATIVE, Address, Amount, AssetId, BlockId, Height, Round, TxId

FEE = 1_000_000
GAS = 100_000
START = 10**12
BONDED = 6 * 10**6
"""Stake of the three operators together, in unxs."""


def fake_key(name: str) -> bytes:
    """Bytes of the form of a Falcon key."""
    return b"\x01" + digest(Label.KEY_DERIVE, name.encode()) * 56 + b"\x00"


def address(name: str) -> Address:
    return Address(digest(Label.ADDRESS, fake_key(name)))


@cache
def validator_keys() -> tuple[bytes, ...]:
    """Three real keys: the genesis document is checked."""
    return tuple(SecretKey.from_seed(Scheme.FALCON, bytes([number]) * 32).public_key for number in (1, 2, 3))


NO_PROOFS = ProofParams()


def make_genesis(
    names: Sequence[str],
    params: ChainParams,
    proofs: ProofParams = NO_PROOFS,
    epoch_length: int = 600,
    security: SecurityParams | None = None,
    staking: StakingParams | None = None,
) -> Genesis:
    return Genesis(
        version=1,
        name="test",
        time=1_000,
        timing=Timing(),
        chain=params,
        security=security or SecurityParams(epoch_length=epoch_length),
        validators=tuple(
            GenesisValidator(key, power, address(f"op{power}"), f"v{power}")
            for power, key in enumerate(validator_keys(), start=1)
        ),
        balances=tuple(GenesisBalance(address(name), "nxs", Amount(START)) for name in names),
        staking=staking or StakingParams(unbonding_blocks=min(params.evidence_window, 1000)),
        proofs=proofs,
    )


CHAIN = genesis_hash(make_genesis((), ChainParams()))
"""Any id will do: the documents of single tests differ from this one."""
GENESIS_ID = BlockId(CHAIN)


def always(_decoded: Decoded, _keys: tuple[bytes, ...]) -> bool:
    return True


class Records(dict[bytes, bytes]):
    """A reader over a plain dictionary."""


@dataclass
class World:
    """The committed state, and blocks on top of it."""

    params: ChainParams = field(default_factory=ChainParams)
    security: SecurityParams | None = None
    staking: StakingParams | None = None
    names: tuple[str, ...] = ("alice", "bob", "carol", "issuer")
    """Accounts with START unxs each."""
    more: tuple[Output, ...] = ()  # Memos and States at (CHAIN, index)
    records: Records = field(default_factory=Records)
    height: int = 0
    tip: BlockId = GENESIS_ID
    last_commit: Commit = EMPTY_COMMIT
    undo: list[Changes] = field(default_factory=list)
    proofs: ProofParams = NO_PROOFS
    epoch_length: int = 600

    def __post_init__(self) -> None:
        names = self.names
        self.take(init_genesis(
            make_genesis(names, self.params, self.proofs, self.epoch_length, self.security, self.staking)
        ))
        for index, output in enumerate(self.more):
            self.records[output_key(TxId(CHAIN), index)] = encode_output(output)
        for name in names:
            self.records[public_key_key(address(name))] = fake_key(name)
            self.records[key_owner_key(address(name))] = address(name)

    def take(self, changes: Changes) -> None:
        for key, (before, after) in changes.entries.items():
            assert self.records.get(key) == before != after
            if after is None:
                del self.records[key]
            else:
                self.records[key] = after

    # ---- making transactions

    def sign(self, payload: Payload, signers: Sequence[str], **changes: Any) -> Decoded:
        fields: dict[str, Any] = {
            "version": 1, "chain_id": CHAIN, "anchor": self.tip, "expiry": Height(self.height + 100), "work": 0,
            "fee": FEE, "payload": payload,
        } | changes  # fmt: skip
        witnesses = tuple(Witness(address(name), b"", b"") for name in signers)
        return decode_transaction(assemble(Body(**fields), witnesses))

    def call(
        self, sender: str, *messages: Record, ahead: int = 0, gas: int = GAS, fee: int = FEE, **changes: Any
    ) -> Decoded:
        named = tuple(Message(message_name(message), encode(message)) for message in messages)
        payload = Call(address(sender), nonce(self.records, address(sender)) + ahead, gas, named)
        return self.sign(payload, [sender], fee=fee, **changes)

    def transfer(
        self, owners: Sequence[str], inputs: Sequence[OutPoint], outputs: Sequence[Output], **changes: Any
    ) -> Decoded:
        payload = Transfer(tuple(inputs), tuple(outputs))
        return self.sign(payload, sorted(set(owners), key=address), **changes)

    # ---- executing them

    def draft(self, **changes: Any) -> BlockDraft:
        fields: dict[str, Any] = {
            "chain_id": CHAIN, "height": Height(self.height + 1), "time": 1000 * (self.height + 1),
            "proposer": address("validator 1"), "previous": self.tip, "last_commit": self.last_commit, "evidence": (),
        } | changes  # fmt: skip
        return BlockDraft(**fields)

    def execute(
        self, *transactions: Decoded, is_verified: SignatureCheck = always, find_faults: ProofCheck = proofs_hold,
        **changes: Any,
    ) -> BlockResult:
        return execute_block(self.records, self.draft(**changes), transactions, is_verified, find_faults)

    def block(self, *transactions: Decoded, is_verified: SignatureCheck = always, **changes: Any) -> BlockResult:
        """Execute and commit; after every block the supply has to be where it should."""
        result = self.execute(*transactions, is_verified=is_verified, **changes)
        self.take(result.changes)
        self.undo.append(result.changes.invert())
        self.height += 1
        self.tip = BlockId(digest(Label.BLOCK, self.height.to_bytes(8, "big")))
        voters = len(validators_at(self.records, self.height))
        signed = tuple(CommitSignature(index, b"") for index in range(voters))
        self.last_commit = Commit(Height(self.height), Round(0), self.tip, signed)
        assert supply_differences(self.records) == {}
        return result

    def one(self, transaction: Decoded) -> Receipt:
        """Commit a block with one transaction and return its receipt."""
        return self.block(transaction).receipts[0]

    def does(self, sender: str, *messages: Record) -> Receipt:
        """Commit a call that has to succeed."""
        receipt = self.one(self.call(sender, *messages))
        assert receipt.reason == "", receipt
        return receipt

    def fails(self, sender: str, *messages: Record) -> Reason:
        """Commit a call that has to fail; check that it changed fee and nonce alone, and return why."""
        before = dict(self.records)
        transaction = self.call(sender, *messages)
        idle = self.execute()
        result = self.execute(transaction)
        changed = {
            key
            for key in result.changes.entries.keys() | idle.changes.entries.keys()
            if result.changes.entries.get(key) != idle.changes.entries.get(key)
        }
        fee_places = {
            b"auth/nonce/" + address(sender), b"token/balance/" + address(sender), b"chain/fees",
        }  # fmt: skip
        assert changed == fee_places
        assert self.records == before
        receipt = self.block(transaction).receipts[0]
        assert receipt.events == () and receipt.fee == FEE
        return Reason(receipt.reason)

    def refuses(self, transaction: Decoded) -> Reason:
        """Return why a block with this transaction is invalid."""
        with pytest.raises(Refused) as caught:
            self.execute(transaction)
        return caught.value.reason

    def coin(self, owner: str, amount: int, asset: AssetId = NATIVE) -> OutPoint:
        """Make a coin by a deposit of the owner, and return where it is."""
        receipt = self.does(owner, deposit(asset, (owner, amount)))
        return OutPoint(receipt.txid, 0)


def with_proofs(decoded: Decoded, *proofs: Proof) -> Decoded:
    """Return the transaction with other proofs."""
    return decode_transaction(encode(replace(decoded.transaction, proofs=proofs)))


def message_name(message: Record) -> str:
    """The registered name of a message, from its class: TransferFrom of apps.token is token/transfer_from."""
    module = type(message).__module__.split(".")[1]
    letters = [f"_{letter.lower()}" if letter.isupper() else letter for letter in type(message).__name__]
    return f"{module}/{''.join(letters).lstrip('_')}"


def deposit(asset: AssetId, *coins: tuple[str, int]) -> Record:
    return Deposit(asset, tuple(NewCoin(address(owner), Amount(amount)) for owner, amount in coins))
