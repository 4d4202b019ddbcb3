"""Transactions that the wallet makes pass the rules of the chain; what cannot be made is refused."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from apps.token.messages import Burn, Transfer
from apps.validity import signatures_hold, stateless_check
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from crypto.schemes import Scheme, multisig_public_key
from crypto.work import meets
from node.wallet import (
    Account,
    ChainPoint,
    OwnCoin,
    call,
    draft_call,
    draft_transfer,
    find_work,
    finish,
    joint_witness,
    least_fee,
    message,
    message_gas,
    partial_signature,
    rotate_key_message,
    select_coins,
    sign_draft,
    transfer,
    witness,
)
from state.encoding import encode
from state.params import ChainParams
from state.transaction import Call, Coin, Message, OutPoint, decode_transaction, work_digest
from state.transaction import Transfer as TransferPayload
from state.types import NATIVE, Address, Amount, AssetId, BlockId, ChainId, Height, TxId

CHAIN = ChainId(b"\x01" * 32)
POINT = ChainPoint(CHAIN, BlockId(b"\x02" * 32), Height(10))
GOLD = AssetId(b"\x09" * 32)
BOB = Address(b"\x07" * 32)
KEY = SecretKey.generate()
OTHER = SecretKey.generate()
ME = Account(Address(KEY.address), KEY.public_key)


def _coin(amount: int, index: int = 0, asset: AssetId = NATIVE, owner: Address = ME.address) -> OwnCoin:
    return OwnCoin(OutPoint(TxId(b"\x03" * 32), index), Coin(asset, owner, Amount(amount)))


def _check(raw: bytes, keys: tuple[bytes, ...], point: ChainPoint = POINT) -> None:
    decoded = decode_transaction(raw)
    stateless_check(decoded, CHAIN, ChainParams(difficulty=point.difficulty), point.version)
    assert signatures_hold(decoded, keys)


def test_a_transfer_balances_and_pays_its_fee() -> None:
    coins = [_coin(1_000_000, index) for index in range(5)] + [_coin(50, 5, GOLD), _coin(70, 6, GOLD)]
    signed = transfer(POINT, ME, KEY, coins, [Coin(NATIVE, BOB, Amount(1_500_000)), Coin(GOLD, BOB, Amount(60))])
    _check(signed.raw, (KEY.public_key,))
    payload = decode_transaction(signed.raw).body.payload
    assert isinstance(payload, TransferPayload)
    spent = [coin.coin for coin in coins if coin.outpoint in payload.inputs]
    for asset, fee in ((NATIVE, signed.fee), (GOLD, 0)):
        made = sum(one.amount for one in payload.outputs if isinstance(one, Coin) and one.asset == asset)
        assert sum(coin.amount for coin in spent if coin.asset == asset) == made + fee
    assert least_fee(POINT, payload, [ME]) <= signed.fee <= least_fee(POINT, payload, [ME]) + 8
    assert len(payload.inputs) == 3


def test_change_that_is_all_fee_needs_no_output() -> None:
    with pytest.raises(Refused) as caught:
        transfer(POINT, ME, KEY, [_coin(1_000)], [Coin(NATIVE, BOB, Amount(1_000))])
    assert caught.value.reason is Reason.INSUFFICIENT_FUNDS
    signed = transfer(POINT, ME, KEY, [_coin(10_000)], [Coin(NATIVE, BOB, Amount(4_000))], fee=6_000)
    payload = decode_transaction(signed.raw).body.payload
    assert isinstance(payload, TransferPayload) and len(payload.outputs) == 1


def test_coins_are_chosen_largest_first_and_within_the_cap() -> None:
    chosen = select_coins([_coin(amount, amount) for amount in (1, 5, 3)], {NATIVE: 7})
    assert [coin.coin.amount for coin in chosen] == [5, 3]
    for coins, needed, reason in [
        ([_coin(1)], {NATIVE: 2}, Reason.INSUFFICIENT_FUNDS),
        ([_coin(1)], {GOLD: 1}, Reason.INSUFFICIENT_FUNDS),
        ([], {NATIVE: 0}, Reason.INSUFFICIENT_FUNDS),
        ([_coin(1, index) for index in range(300)], {NATIVE: 300}, Reason.TOO_LARGE),
    ]:
        with pytest.raises(Refused) as caught:
            select_coins(coins, needed)
        assert caught.value.reason is reason


def test_coins_of_two_accounts_are_signed_by_both() -> None:
    friend = Account(Address(OTHER.address), OTHER.public_key, registered=True)
    coins = [_coin(8_000, 1), _coin(6_000, 2, owner=friend.address)]
    draft = draft_transfer(POINT, [ME, friend], coins, [Coin(NATIVE, BOB, Amount(7_500))])
    assert {account.address for account in draft.accounts} == {ME.address, friend.address}
    signed = sign_draft(draft, {ME.address: KEY, friend.address: OTHER})
    decoded = decode_transaction(signed.raw)
    keys = {ME.address: KEY.public_key, friend.address: OTHER.public_key}
    _check(signed.raw, tuple(keys[one] for one in decoded.signers))
    assert {one.signer: bool(one.key) for one in decoded.transaction.witnesses} == {
        ME.address: True, friend.address: False,
    }  # fmt: skip
    with pytest.raises(Refused) as caught:
        sign_draft(draft, {ME.address: KEY})
    assert caught.value.reason is Reason.MISSING_SIGNATURE


@pytest.mark.parametrize("scheme", [Scheme.FALCON, Scheme.HYBRID])
@pytest.mark.parametrize("registered", [False, True])
def test_a_call_wants_just_enough_gas(scheme: Scheme, registered: bool) -> None:
    key = SecretKey.generate(scheme)
    account = Account(Address(key.address), key.public_key, registered)
    pay, burn = Transfer(NATIVE, BOB, Amount(5)), Burn(GOLD, Amount(1))
    messages = [message("token/transfer", pay), message("token/burn", burn)]
    signed = call(POINT, account, key, 3, messages)
    _check(signed.raw, (key.public_key,))
    payload = decode_transaction(signed.raw).body.payload
    assert isinstance(payload, Call) and (payload.nonce, payload.sender) == (3, account.address)
    assert signed.fee >= payload.gas_wanted > sum(map(message_gas, messages))
    assert decode_transaction(signed.raw).body.expiry == 610


def test_hashcash_is_found() -> None:
    point = replace(POINT, difficulty=6)
    signed = call(point, ME, KEY, 0, [message("token/burn", Burn(GOLD, Amount(1)))])
    _check(signed.raw, (KEY.public_key,), point)
    assert meets(work_digest(decode_transaction(signed.raw).transaction.body), 6)


def test_the_first_nonce_that_reaches_the_difficulty_is_found_and_progress_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("node.wallet.WORK_REPORTED", 64)
    body = draft_call(POINT, ME, 0, [message("token/burn", Burn(GOLD, Amount(1)))]).body
    told: list[int] = []
    found = find_work(body, 9, told.append)
    assert found == msgspec.structs.replace(body, work=found.work)
    digests = (work_digest(encode(msgspec.structs.replace(body, work=work))) for work in range(found.work + 1))
    assert [meets(digest, 9) for digest in digests] == [False] * found.work + [True]
    assert told == list(range(64, found.work + 1, 64))
    assert find_work(body, 0, told.append) is body


def test_a_sponsor_signs_too_and_is_named() -> None:
    key = SecretKey.generate()
    sponsor = Account(Address(key.address), key.public_key)
    draft = draft_call(POINT, ME, 0, [message("token/burn", Burn(GOLD, Amount(1)))], sponsor=sponsor)
    assert draft.body.sponsor == sponsor.address and draft.accounts == (ME, sponsor)
    signed = sign_draft(draft, {ME.address: KEY, sponsor.address: key})
    decoded = decode_transaction(signed.raw)
    keys = {ME.address: KEY.public_key, sponsor.address: key.public_key}
    _check(signed.raw, tuple(keys[signer] for signer in decoded.signers))
    own = draft_call(POINT, ME, 0, [message("token/burn", Burn(GOLD, Amount(1)))], sponsor=ME)
    assert own.accounts == (ME,) and own.body.sponsor == ME.address
    paid = draft_transfer(POINT, [ME], [_coin(1_000_000, 0)], [Coin(NATIVE, BOB, Amount(5))], sponsor=sponsor)
    assert paid.accounts == (ME, sponsor)
    with pytest.raises(Refused) as caught:
        sign_draft(paid, {ME.address: KEY})
    assert caught.value.reason is Reason.MISSING_SIGNATURE


def test_members_of_a_joint_account_sign_one_after_the_other() -> None:
    members = [SecretKey.generate() for _ in range(3)]
    public_key = multisig_public_key(2, [member.public_key for member in members])
    account = Account(Address(b"\x06" * 32), public_key, registered=True)
    body = draft_call(POINT, account, 0, [message("token/burn", Burn(GOLD, Amount(1)))]).body
    signatures = [partial_signature(body, member) for member in members]
    signed = finish(body, [joint_witness(body, account, signatures[1:])])
    _check(signed.raw, (public_key,))
    _check(finish(body, [joint_witness(body, account, signatures)]).raw, (public_key,))
    for given, reason in [
        (signatures[:1], Reason.MISSING_SIGNATURE),
        ([*signatures[:1], partial_signature(body, KEY)], Reason.BAD_SIGNATURE),
        ([signatures[0], signatures[0]], Reason.MISSING_SIGNATURE),
    ]:
        with pytest.raises(Refused) as caught:
            joint_witness(body, account, given)
        assert caught.value.reason is reason


def test_wrong_keys_and_messages_are_refused() -> None:
    body = draft_call(POINT, ME, 0, [message("token/burn", Burn(GOLD, Amount(1)))]).body
    attempts: list[tuple[Callable[[], object], Reason]] = [
        (lambda: witness(body, ME, OTHER), Reason.BAD_KEY),
        (lambda: joint_witness(body, ME, []), Reason.BAD_KEY),
        (lambda: draft_call(POINT, ME, 0, [Message("token/nothing", b"")]), Reason.UNKNOWN_MESSAGE),
        (lambda: draft_call(POINT, ME, 0, [Message("token/burn", b"\x00")]), Reason.MALFORMED),
        (lambda: call(POINT, ME, KEY, 0, [], fee=-1), Reason.AMOUNT_OUT_OF_RANGE),
    ]
    for attempt, reason in attempts:
        with pytest.raises(Refused) as caught:
            attempt()
        assert caught.value.reason is reason


def test_a_rotation_proves_the_new_key() -> None:
    one = rotate_key_message(CHAIN, ME.address, OTHER)
    assert one.name == "auth/rotate_key" and message_gas(one) > 0
