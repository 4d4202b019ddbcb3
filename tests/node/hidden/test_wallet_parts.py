"""Paying, seeing and remembering hidden coins without a node: everything is executed for real in memory."""

import secrets
from functools import cache

import pytest
from msgspec.structs import replace

from apps.hidden import note_info
from apps.prooftask import proofs_hold
from apps.validity import signatures_hold
from crypto.confidential import Opening, default_proofs
from crypto.errors import Reason, Refused
from crypto.keys import KeyTree, SecretKey
from crypto.notes import SIZE, TEXT_SIZE, Note, open_copy, seal_note
from crypto.schemes import Scheme
from node.hidden.index import Placed, WalletIndex, read_index
from node.hidden.invoice import Invoice, decode_invoice, encode_invoice
from node.hidden.paying import Payment, Purse, Spendable, clear_coin, draft_hidden
from node.hidden.viewing import (
    Direction,
    Viewer,
    ViewKeys,
    decode_view_key,
    encode_view_key,
    view_keys,
    viewing_seed,
)
from node.wallet import Account, ChainPoint, Signed, sign_draft
from state.transaction import NOTE_SIZE, Coin, HiddenCoin, OutPoint, Transfer, decode_transaction
from state.types import NATIVE, Address, Amount, AssetId, ChainId, Height
from tests.apps.world import CHAIN, World

CHAIN_ID = ChainId(CHAIN)
NXS = 1_000_000
PHRASE = "abandon " * 23 + "art"


@cache
def key(number: int) -> SecretKey:
    return SecretKey.from_seed(Scheme.FALCON, bytes([50 + number]) * 32)


@cache
def keys(number: int) -> ViewKeys:
    return view_keys(viewing_seed(key(number)))


def owner(number: int) -> Address:
    return Address(key(number).address)


def viewer(number: int) -> Viewer:
    return Viewer(CHAIN_ID, owner(number), keys(number).incoming, keys(number).outgoing)


class Chain:
    """A world whose blocks two wallets follow."""

    def __init__(self) -> None:
        self.world = World()
        self.indexes = {number: WalletIndex(viewer(number)) for number in (1, 2)}
        self.placed: list[Placed] = []
        self.gas_used = 0

    def fund(self, number: int, amount: int) -> tuple[OutPoint, Coin]:
        """Give somebody a clear coin out of alice's balance."""
        coin = Coin(NATIVE, owner(number), Amount(amount))
        outpoint = self.world.coin("alice", amount + NXS)
        decoded = self.world.transfer(["alice"], [outpoint], [coin], fee=NXS)
        self.world.block(decoded)
        return OutPoint(decoded.txid, 0), coin

    def pay(self, number: int, payments: list[Payment], coins: list[Spendable] | None = None) -> Signed:
        point = ChainPoint(CHAIN_ID, self.world.tip, Height(self.world.height))
        account = Account(owner(number), key(number).public_key, registered=False)
        held = self.coins(number) if coins is None else coins
        draft = draft_hidden(point, Purse(account, keys(number), held), payments, secrets.token_bytes)
        signed = sign_draft(draft, {account.address: key(number)})
        decoded = decode_transaction(signed.raw)
        result = self.world.block(decoded, is_verified=signatures_hold, find_faults=proofs_hold)
        self.gas_used = result.receipts[0].gas_used
        self.placed.append(Placed(Height(self.world.height), 0, decoded))
        for index in self.indexes.values():
            index.take(self.placed[-1])
        return signed

    def coins(self, number: int) -> list[Spendable]:
        return [
            Spendable(one.outpoint, one.asset, one.opening, one.commitment) for one in self.indexes[number].unspent()
        ]

    def balance(self, number: int) -> int:
        return self.indexes[number].balances().get(NATIVE, 0)


@pytest.fixture
def chain() -> Chain:
    return Chain()


def hidden_to(number: int, amount: int, text: str = "") -> Payment:
    return Payment(owner(number), NATIVE, Amount(amount), keys(number).receiving, text)


def entered(chain: Chain, amount: int = 50 * NXS) -> None:
    """Wallet 1 turns a clear coin into hidden ones."""
    outpoint, coin = chain.fund(1, amount)
    chain.pay(1, [hidden_to(1, amount // 2)], [clear_coin(outpoint, coin)])


def test_pay_see_and_remember(chain: Chain) -> None:
    entered(chain)
    before = chain.balance(1)
    signed = chain.pay(1, [hidden_to(2, 7 * NXS, "for lunch")])
    assert chain.balance(2) == 7 * NXS
    assert chain.balance(1) == before - 7 * NXS - signed.fee
    [got] = chain.indexes[2].history()
    assert got.texts == ("for lunch",) and got.fee == 0 and got.received[0].amount == 7 * NXS
    last = chain.indexes[1].history()[-1]
    assert [(one.amount, one.to) for one in last.paid] == [(7 * NXS, owner(2))] and last.fee == signed.fee
    # and out again, in clear
    chain.pay(2, [Payment(owner(1), NATIVE, Amount(5 * NXS))])
    assert chain.balance(2) < 2 * NXS


def test_index_survives_its_file_and_only_opens_for_its_viewer(chain: Chain) -> None:
    entered(chain)
    index = chain.indexes[1]
    index.height = Height(9)
    content = index.to_bytes()
    again = read_index(viewer(1), content)
    assert (again.height, again.unspent(), again.history()) == (9, index.unspent(), index.history())
    for other, bytes_ in ((viewer(2), content), (viewer(1), content[:-1]), (viewer(1), b"x" * 60)):
        with pytest.raises(Refused) as caught:
            read_index(other, bytes_)
        assert caught.value.reason is Reason.BAD_WALLET
    assert read_index(viewer(1), b"").height == 0


def test_index_from_unspent_outputs_alone(chain: Chain) -> None:
    """A node that deleted its old blocks still gives the balance."""
    entered(chain)
    chain.pay(1, [hidden_to(2, 7 * NXS, "lunch")])
    payload = chain.placed[-1].decoded.body.payload
    assert isinstance(payload, Transfer)
    left = [(OutPoint(chain.placed[-1].decoded.txid, place), one) for place, one in enumerate(payload.outputs)]
    index = WalletIndex(viewer(2))
    index.settle(left, Height(4))
    assert index.balances() == {NATIVE: 7 * NXS} and index.height == 4
    assert index.unspent()[0].text == "lunch"
    index.settle([], Height(5))
    assert index.balances() == {}


def test_words_give_everything_back(chain: Chain) -> None:
    assert viewing_seed(KeyTree.from_phrase(PHRASE).account()) == viewing_seed(KeyTree.from_phrase(PHRASE).account())
    entered(chain)
    chain.pay(1, [hidden_to(2, 7 * NXS)])
    fresh = WalletIndex(viewer(1))
    for placed in chain.placed:
        fresh.take(placed)
    assert fresh.unspent() == chain.indexes[1].unspent() and fresh.history() == chain.indexes[1].history()


def test_view_keys_show_their_side_and_nothing_else(chain: Chain) -> None:
    entered(chain)
    chain.pay(1, [hidden_to(2, 7 * NXS)])
    incoming = decode_view_key(encode_view_key(keys(1), Direction.INCOMING, CHAIN_ID, owner(1)))
    outgoing = decode_view_key(encode_view_key(keys(1), Direction.OUTGOING, CHAIN_ID, owner(1)))
    sees_in, sees_out = WalletIndex(incoming), WalletIndex(outgoing)
    for placed in chain.placed:
        sees_in.take(placed)
        sees_out.take(placed)
    assert sees_in.balances() == chain.indexes[1].balances()
    assert all(not entry.paid for entry in sees_in.history())
    assert sees_out.unspent() == () and [one.amount for one in sees_out.history()[-1].paid] == [7 * NXS]
    assert len({keys(1).incoming, keys(1).outgoing, key(1).seed}) == 3


def test_notes_that_lie_are_ignored(chain: Chain) -> None:
    opening = Opening(5, 77)
    commitment = default_proofs().commit(opening)
    bare = HiddenCoin(NATIVE, owner(1), commitment, bytes(NOTE_SIZE))
    info = note_info(CHAIN_ID, bare, 0)
    true = replace(bare, note=seal_note(keys(1).receiving, keys(2).outgoing, info, Note(opening, "x")))
    more = replace(bare, note=seal_note(keys(1).receiving, keys(2).outgoing, info, Note(Opening(6, 77), "x")))
    assert viewer(1).received(true, 0) == Note(opening, "x")
    assert viewer(2).sent(true, 0) == opening
    assert viewer(1).received(more, 0) is None and viewer(2).sent(more, 0) is None
    assert viewer(1).received(true, 1) is None  # another place
    assert viewer(1).received(replace(true, asset=AssetId(b"\x07" * 32)), 0) is None
    assert viewer(2).received(true, 0) is None and viewer(1).sent(true, 0) is None
    moved = replace(true, owner=owner(2))
    assert viewer(2).received(moved, 0) is None


def test_notes_are_all_of_one_length() -> None:
    notes = [
        seal_note(keys(1).receiving, keys(2).outgoing, b"", Note(Opening(amount, blinding), text))
        for amount, blinding, text in ((0, 0, ""), (2**64 - 1, 2**200, "x" * TEXT_SIZE))
    ]
    assert {len(note) for note in notes} == {SIZE} == {NOTE_SIZE}
    for amount, text, reason in ((2**64, "", Reason.AMOUNT_OUT_OF_RANGE), (-1, "", Reason.AMOUNT_OUT_OF_RANGE),
                                 (1, "x" * (TEXT_SIZE + 1), Reason.TOO_LARGE), (1, "a\0", Reason.BAD_ARGUMENT)):
        with pytest.raises(Refused) as caught:
            seal_note(keys(1).receiving, keys(2).outgoing, b"", Note(Opening(amount, 1), text))
        assert caught.value.reason is reason
    with pytest.raises(Refused):
        open_copy(keys(2).outgoing, b"other", notes[0])


def test_invoices() -> None:
    asked = Invoice(CHAIN_ID, owner(1), keys(1).receiving, NATIVE, Amount(7), "rent")
    text = encode_invoice(asked)
    assert decode_invoice(text) == asked
    for bad in (text[:-1], text[:40] + "A" + text[41:], "nxview1" + text[10:], "", text + "!"):
        with pytest.raises(Refused) as caught:
            decode_invoice(bad)
        assert caught.value.reason is Reason.BAD_ARGUMENT
    with pytest.raises(Refused) as caught:
        decode_view_key(text)
    assert caught.value.reason is Reason.BAD_KEY


def test_payments_that_cannot_be_made(chain: Chain) -> None:
    entered(chain, 20 * NXS)
    cases = (
        ([hidden_to(2, 21 * NXS)], Reason.INSUFFICIENT_FUNDS),
        ([hidden_to(2, 0)], Reason.AMOUNT_OUT_OF_RANGE),
        ([hidden_to(2, 1)] * 17, Reason.TOO_LARGE),
        ([Payment(owner(2), NATIVE, Amount(1), b"short")], Reason.BAD_KEY),
        ([Payment(owner(2), AssetId(b"\x01" * 32), Amount(1), keys(2).receiving)], Reason.INSUFFICIENT_FUNDS),
    )
    for payments, reason in cases:
        with pytest.raises(Refused) as caught:
            chain.pay(1, payments)
        assert caught.value.reason is reason


def test_fee_is_the_least_that_the_chain_takes(chain: Chain) -> None:
    entered(chain)
    signed = chain.pay(1, [hidden_to(2, NXS)])
    assert chain.gas_used <= signed.fee <= chain.gas_used + 8  # the fee's own encoding may be shorter than reckoned
