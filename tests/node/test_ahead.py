"""Signatures of blocks, verified before their turn: what holds is remembered, and nothing else."""

from msgspec.structs import replace

from apps.token.messages import Transfer
from consensus.signing import SchemeVerifier
from consensus.types import EMPTY_COMMIT, Block
from crypto.keys import SecretKey
from node.ahead import Ahead
from node.signatures import SignatureCache, verdicts
from node.wallet import Account, ChainPoint, call, message
from state.encoding import encode
from state.records import KEY
from state.transaction import Transaction, decode_transaction
from state.types import NATIVE, Address, Amount, BlockId, ChainId, Height
from tests.node.test_sync import header

ALICE, BOB = SecretKey.generate(), SecretKey.generate()
POINT = ChainPoint(ChainId(bytes(32)), BlockId(bytes(32)), Height(1))


def payment(key: SecretKey, nonce: int) -> bytes:
    account = Account(Address(key.address), key.public_key, nonce > 0)
    pay = message("token/transfer", Transfer(NATIVE, Address(bytes(32)), Amount(nonce + 1)))
    return call(POINT, account, key, nonce, [pay]).raw


def forged(raw: bytes) -> bytes:
    """Return the transaction with one bit of its signature flipped."""
    transaction = decode_transaction(raw).transaction
    (one,) = transaction.witnesses
    bent = bytearray(one.signature)
    bent[700] ^= 1
    return encode(Transaction(transaction.body, (replace(one, signature=bytes(bent)),)))


def block(height: int, *raws: bytes) -> Block:
    return Block(header(height), raws, EMPTY_COMMIT, ())


def cache() -> SignatureCache:
    def never(*_: object) -> bool:
        raise AssertionError("it was verified before")

    return SignatureCache(never)


def test_what_holds_is_not_verified_again() -> None:
    known = cache()
    ahead = Ahead(known)
    state = {KEY + ALICE.address: ALICE.public_key}
    one = block(5, payment(ALICE, 1), payment(BOB, 0))  # a key that is on chain, and one that comes along
    checks = ahead.begin(7, one, state)
    assert len(checks) == 2 and ahead.is_ours(7) and ahead.is_looking_at(Height(5))
    ahead.verified(7, verdicts(SchemeVerifier(), checks))
    assert not ahead.is_ours(7) and not ahead.is_looking_at(Height(5))
    first, second = ahead.decode(one)
    assert known(first, (ALICE.public_key,)) and known(second, (BOB.public_key,))


def test_what_does_not_hold_or_whose_key_is_unknown_is_left_to_the_execution() -> None:
    known = cache()
    ahead = Ahead(known)
    state = {KEY + ALICE.address: ALICE.public_key}
    one = block(5, forged(payment(ALICE, 1)), payment(BOB, 1), payment(ALICE, 2))
    checks = ahead.begin(7, one, state)
    found = verdicts(SchemeVerifier(), checks)
    assert found == [False, True]
    ahead.verified(7, found)
    bad, _, good = (decode_transaction(raw) for raw in one.transactions)
    assert not known.knows(bad.wtxid, (ALICE.public_key,)) and known.knows(good.wtxid, (ALICE.public_key,))
    assert not known.knows(good.wtxid, (BOB.public_key,))  # as after a rotation


def test_blocks_without_transactions_and_bytes_that_are_none_are_not_looked_at() -> None:
    ahead = Ahead(cache())
    for one in (block(5), block(6, b"\x93\x01"), block(7, payment(BOB, 1))):
        assert ahead.begin(1, one, {}) == () and not ahead.is_ours(1)
        assert not ahead.is_looking_at(one.header.height)


def test_another_block_of_the_same_height_is_decoded_anew() -> None:
    ahead = Ahead(cache())
    one, other = block(5, payment(ALICE, 0)), block(5, payment(BOB, 0))
    ahead.begin(1, one, {})
    assert [decoded.raw for decoded in ahead.decode(other)] == list(other.transactions)


def test_many_signatures_at_once_say_what_each_alone_says() -> None:
    state = {KEY + ALICE.address: ALICE.public_key}
    checks = Ahead(cache()).begin(1, block(5, payment(ALICE, 1), forged(payment(ALICE, 2))), state)
    signed = [one for group in checks for one in group]
    verifier = SchemeVerifier()
    assert verifier.verify_many(signed) == [
        verifier.verify(one.public_key, one.message, one.signature) for one in signed
    ] == [True, False]
