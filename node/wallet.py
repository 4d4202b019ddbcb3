"""Building and signing transactions. Pure: what the node knows comes in as values, nothing is sent from here.

A transaction is drafted (`draft_transfer`, `draft_call`: the body, with fee and expiry, and who must sign), signed by
each account (`witness`, or `partial_signature` and `joint_witness` for multi-signature accounts), and put together
(`finish`). `sign_draft` does the last two for accounts with one key; `transfer` and `call` do all for one account.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from apps.auth.messages import RotateKey, rotation_digest
from apps.gas import gas_wanted, intrinsic_gas
from apps.registry import MESSAGES
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.hashing import Label
from crypto.keys import SecretKey
from crypto.schemes import Scheme, expected_signature_size, multisig_members, multisig_signature, verify
from crypto.work import meets
from state.encoding import Record, encode
from state.transaction import (
    MAX_INPUTS,
    Body,
    Call,
    Coin,
    Message,
    OutPoint,
    Output,
    Payload,
    Proof,
    Transfer,
    Witness,
    assemble,
    decode_transaction,
    excess_count,
    sign_digest,
    tx_id,
)
from state.types import MAX_AMOUNT, NATIVE, Address, Amount, AssetId, BlockId, ChainId, Height, TxId
from state.version import PROTOCOL_VERSION

EXPIRES_AFTER: Final = 600
"""Heights for which a new transaction stays valid, unless told otherwise or the chain allows less."""
WORK_REPORTED: Final = 1 << 16
"""Tries between two reports about a hashcash: a fifth of a second."""
_DUMMY_FEE: Final = Amount(2**31)
"""Stands for the fee while it is not known; its encoding is as long as that of any fee below 4294 NXS."""


Progress = Callable[[int], None]
"""Is told how many nonces a hashcash has tried."""


def no_progress(_tries: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class ChainPoint:
    """What a transaction must know of the chain.

    `anchor` is the id of a recent block (the chain id before the first), `height` that block's height, `difficulty` the
    hashcash asked of a transaction with this anchor. The rest are chain parameters and the protocol version in force.
    """

    chain_id: ChainId
    anchor: BlockId
    height: Height
    min_gas_price: int = 1
    difficulty: int = 0
    expiry_window: int = 2048
    version: int = PROTOCOL_VERSION

    def expiry(self, after: int = EXPIRES_AFTER) -> Height:
        """Return the last height at which a transaction made now may be included."""
        return Height(self.height + min(after, self.expiry_window))


@dataclass(frozen=True, slots=True)
class Account:
    """Who signs: `public_key` is the account's present key, and `registered` tells that the chain has it already."""

    address: Address
    public_key: bytes
    registered: bool = False

    @property
    def revealed(self) -> bytes:
        """What the witness carries as the key."""
        return b"" if self.registered else self.public_key


@dataclass(frozen=True, slots=True)
class OwnCoin:
    """A coin that may be spent."""

    outpoint: OutPoint
    coin: Coin


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction without signatures, the accounts whose it needs, and its zero-knowledge proofs."""

    body: Body
    accounts: tuple[Account, ...]
    proofs: tuple[Proof, ...] = ()


@dataclass(frozen=True, slots=True)
class Signed:
    """A transaction that is ready to be sent."""

    raw: bytes
    txid: TxId
    fee: Amount


# ---- drafting


def draft_transfer(
    point: ChainPoint, accounts: Sequence[Account], coins: Sequence[OwnCoin], outputs: Sequence[Output], *,
    fee: int | None = None, sponsor: Account | None = None, progress: Progress = no_progress,
) -> Draft:
    """Return the transaction that pays `outputs` out of coins of these accounts; what is left over goes back as change.

    Args:
        point: the chain.
        accounts: the owners of the coins; change goes to the first.
        coins: what may be spent, in any order; only what is needed is.
        outputs: what to make.
        fee: in unxs; by default the least that the chain takes.
        sponsor: signs too; its space record stands for the accounts'.
        progress: is told of the hashcash.

    Raises:
        Refused: INSUFFICIENT_FUNDS, TOO_LARGE (more than 256 coins would be needed).
    """
    needed: dict[AssetId, int] = {NATIVE: 0}
    for output in outputs:
        if isinstance(output, Coin):
            needed[output.asset] = needed.get(output.asset, 0) + output.amount
    paid = fee or 0
    for _ in range(MAX_INPUTS):
        chosen = select_coins(coins, {**needed, NATIVE: needed[NATIVE] + paid})
        change = _change(accounts[0], chosen, needed, paid)
        payload = Transfer(tuple(coin.outpoint for coin in chosen), (*outputs, *change))
        owners = {coin.coin.owner for coin in chosen}
        signers = with_sponsor([account for account in accounts if account.address in owners], sponsor)
        least = least_fee(point, payload, signers, sponsor)
        if fee is not None or paid >= least:
            return Draft(find_work(body_of(point, payload, paid, sponsor), point.difficulty, progress), signers)
        paid = least
    raise Refused(Reason.INSUFFICIENT_FUNDS, "the coins are too small to pay the fee for spending them")


def select_coins(coins: Iterable[OwnCoin], needed: Mapping[AssetId, int]) -> tuple[OwnCoin, ...]:
    """Return coins that cover the amounts, the largest first so that they are few, and at least one.

    Raises:
        Refused: INSUFFICIENT_FUNDS, TOO_LARGE.
    """
    missing = dict(needed)
    chosen = []
    for coin in sorted(coins, key=lambda coin: (-coin.coin.amount, coin.outpoint.txid, coin.outpoint.index)):
        if missing.get(coin.coin.asset, 0) > 0:
            chosen.append(coin)
            missing[coin.coin.asset] -= coin.coin.amount
    short = {asset: amount for asset, amount in missing.items() if amount > 0}
    if short or not chosen:
        asset, amount = next(iter(short.items()), (NATIVE, 1))
        raise Refused(Reason.INSUFFICIENT_FUNDS, f"{amount} more of {asset.hex() or 'unxs'} is needed in coins")
    if len(chosen) > MAX_INPUTS:
        raise Refused(Reason.TOO_LARGE, f"{len(chosen)} coins would be needed, a transfer spends {MAX_INPUTS}")
    return tuple(chosen)


def _change(
    account: Account, chosen: Sequence[OwnCoin], needed: Mapping[AssetId, int], fee: int
) -> list[Coin]:
    spent: dict[AssetId, int] = {}
    for coin in chosen:
        spent[coin.coin.asset] = spent.get(coin.coin.asset, 0) + coin.coin.amount
    left = {asset: amount - needed.get(asset, 0) - (0 if asset else fee) for asset, amount in spent.items()}
    return [Coin(asset, account.address, Amount(amount)) for asset, amount in sorted(left.items()) if amount]


def draft_call(
    point: ChainPoint, account: Account, nonce: int, messages: Sequence[Message], *,
    gas: int | None = None, fee: int | None = None, sponsor: Account | None = None, progress: Progress = no_progress,
) -> Draft:
    """Return a call.

    Args:
        point: the chain.
        account: the sender.
        nonce: the sender's next.
        messages: from `message`.
        gas: gas wanted; by default what the messages cost.
        fee: in unxs; by default the least that the chain takes.
        sponsor: signs too; its space record stands for the sender's.
        progress: is told of the hashcash.

    Raises:
        Refused: UNKNOWN_MESSAGE, or BAD_KEY in a message that names one.
    """
    payload = Call(account.address, nonce, gas or 2**31, tuple(messages))
    signers = with_sponsor([account], sponsor)
    if gas is None:
        keys = [signer.public_key for signer in signers]
        intrinsic = intrinsic_gas(payload, size_of(point, payload, signers, sponsor), keys)
        payload = msgspec.structs.replace(payload, gas_wanted=intrinsic + sum(map(message_gas, messages)))
    least = least_fee(point, payload, signers, sponsor)
    body = body_of(point, payload, least if fee is None else fee, sponsor)
    return Draft(find_work(body, point.difficulty, progress), signers)


def with_sponsor(accounts: Sequence[Account], sponsor: Account | None) -> tuple[Account, ...]:
    """Return who signs; a sponsor that is one of the accounts signs once."""
    if sponsor is None or any(account.address == sponsor.address for account in accounts):
        return tuple(accounts)
    return (*accounts, sponsor)


def message(name: str, value: Record) -> Message:
    """Return one message of a call: "module/verb" and its struct."""
    return Message(name, encode(value))


def message_gas(one: Message) -> int:
    """Return the gas that a message costs before its rule runs. Raises Refused(UNKNOWN_MESSAGE | MALFORMED)."""
    kind = MESSAGES.get(one.name)
    if kind is None:
        raise Refused(Reason.UNKNOWN_MESSAGE, f"there is no message {one.name}")
    return kind.gas(kind.codec.decode(one.value))


def rotate_key_message(chain_id: ChainId, address: Address, new_key: SecretKey) -> Message:
    """Return the message that makes `new_key` the key of an account, with its proof of possession."""
    proof = new_key.sign(rotation_digest(chain_id, address, new_key.public_key))
    return message("auth/rotate_key", RotateKey(new_key.public_key, proof))


def least_fee(
    point: ChainPoint, payload: Payload, accounts: Sequence[Account], sponsor: Account | None = None,
    proofs: tuple[Proof, ...] = (),
) -> Amount:
    """Return the least fee in unxs that the chain takes for a payload with these accounts' signatures, the sponsor's
    among them, and with proofs of this size.
    """
    size = size_of(point, payload, accounts, sponsor, proofs)
    excesses = excess_count(proofs)
    keys = [account.public_key for account in accounts]
    return Amount(gas_wanted(payload, intrinsic_gas(payload, size, keys, excesses)) * point.min_gas_price)


def body_of(point: ChainPoint, payload: Payload, fee: int, sponsor: Account | None) -> Body:
    """Return the body of a payload, without hashcash. Raises Refused(AMOUNT_OUT_OF_RANGE) for the fee."""
    if not 0 <= fee <= MAX_AMOUNT:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, f"a fee of {fee} unxs")
    named = b"" if sponsor is None else sponsor.address
    return Body(point.version, point.chain_id, point.anchor, point.expiry(), 0, Amount(fee), payload, named)


def size_of(
    point: ChainPoint, payload: Payload, accounts: Sequence[Account], sponsor: Account | None,
    proofs: tuple[Proof, ...] = (),
) -> int:
    """Return the wire bytes that the signed transaction will have at most."""
    dummy = body_of(point, payload, _DUMMY_FEE, sponsor)
    body = msgspec.structs.replace(dummy, work=2**63 - 1 if point.difficulty else 0)
    return len(assemble(body, _dummies(accounts), proofs))


def find_work(body: Body, difficulty: int, progress: Progress = no_progress) -> Body:
    """Return the body with a nonce that reaches the difficulty: about 2**difficulty tries, 300,000 a second.

    Args:
        body: its own nonce is not looked at.
        difficulty: leading zero bits.
        progress: is told the tries so far, every WORK_REPORTED.
    """
    if not difficulty:
        return body
    fields = msgspec.structs.astuple(body)
    place = Body.__struct_fields__.index("work")
    before = encode(body)[:1] + b"".join(map(encode, fields[:place]))
    after = b"".join(map(encode, fields[place + 1 :]))
    start = hashlib.sha3_256(Label.TX_WORK.prefix + before)
    work = 0
    while True:
        digest = start.copy()
        digest.update(encode(work) + after)
        if meets(digest.digest(), difficulty):
            return msgspec.structs.replace(body, work=work)
        work += 1
        if work % WORK_REPORTED == 0:
            progress(work)


# ---- signing


def unsigned(draft: Draft) -> bytes:
    """Return the wire bytes of a draft with empty bytes in place of signatures, of the right size: to simulate it."""
    return assemble(draft.body, _dummies(draft.accounts), draft.proofs)


def _dummies(accounts: Sequence[Account]) -> tuple[Witness, ...]:
    return tuple(
        Witness(account.address, account.revealed, bytes(expected_signature_size(account.public_key)))
        for account in accounts
    )


def witness(body: Body, account: Account, key: SecretKey) -> Witness:
    """Return an account's signature of a body. Raises Refused(BAD_KEY) if `key` is not the account's."""
    if key.public_key != account.public_key:
        raise Refused(Reason.BAD_KEY, "the secret key is not the present key of the account")
    return Witness(account.address, account.revealed, key.sign(sign_digest(encode(body))))


def partial_signature(body: Body, key: SecretKey) -> bytes:
    """Return one member's signature of a body, for `joint_witness`."""
    return key.sign(sign_digest(encode(body)))


def joint_witness(body: Body, account: Account, signatures: Iterable[bytes]) -> Witness:
    """Return the signature of a multi-signature account out of those of its members.

    Args:
        body: what they signed.
        account: with a MULTISIG key.
        signatures: from `partial_signature`, in any order; whose each is, is found by trying. Surplus ones are left.

    Raises:
        Refused: BAD_KEY, BAD_SIGNATURE (of no member), MISSING_SIGNATURE.
    """
    if account.public_key[:1] != bytes([Scheme.MULTISIG]):
        raise Refused(Reason.BAD_KEY, "the account has no multi-signature key")
    threshold, members = multisig_members(account.public_key)
    signed = sign_digest(encode(body))
    found: dict[int, bytes] = {}
    for signature in signatures:
        index = next((place for place, key in enumerate(members) if verify(key, signed, signature)), None)
        if index is None:
            raise Refused(Reason.BAD_SIGNATURE, "a signature is by no member, or of another transaction")
        if len(found) < threshold:
            found[index] = signature
    return Witness(account.address, account.revealed, multisig_signature(account.public_key, found))


def finish(body: Body, witnesses: Sequence[Witness], proofs: tuple[Proof, ...] = ()) -> Signed:
    """Return the transaction. Raises Refused(TOO_LARGE) if it is over the cap."""
    raw = assemble(body, tuple(witnesses), proofs)
    decode_transaction(raw)
    return Signed(raw, TxId(tx_id(encode(body))), body.fee)


def sign_draft(draft: Draft, keys: Mapping[Address, SecretKey]) -> Signed:
    """Return the transaction, signed by every account that must.

    Raises:
        Refused: MISSING_SIGNATURE if an account has no key here, BAD_KEY if it is not the present one.
    """
    missing = [account.address for account in draft.accounts if account.address not in keys]
    if missing:
        raise Refused(Reason.MISSING_SIGNATURE, f"{encode_address(missing[0])} must sign, and its key is not here")
    witnesses = [witness(draft.body, account, keys[account.address]) for account in draft.accounts]
    return finish(draft.body, witnesses, draft.proofs)


def transfer(
    point: ChainPoint, account: Account, key: SecretKey, coins: Sequence[OwnCoin], outputs: Sequence[Output], *,
    fee: int | None = None,
) -> Signed:
    """Draft and sign a transfer of one account's coins. Raises as `draft_transfer`, and BAD_KEY."""
    return sign_draft(draft_transfer(point, [account], coins, outputs, fee=fee), {account.address: key})


def call(
    point: ChainPoint, account: Account, key: SecretKey, nonce: int, messages: Sequence[Message], *,
    gas: int | None = None, fee: int | None = None,
) -> Signed:
    """Draft and sign a call by one account. Raises as `draft_call`, and BAD_KEY."""
    return sign_draft(draft_call(point, account, nonce, messages, gas=gas, fee=fee), {account.address: key})
