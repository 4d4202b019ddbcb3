"""Paying, finding and remembering ring coins without a node: everything is executed for real in memory."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from apps.anonymous.queries import MAX_PAGE
from apps.anonymous.records import count_images, known_coin, ring_pool
from apps.anonymous.ring import RING_AGE
from apps.registry import answer_query
from apps.token.messages import Issue
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from crypto.schemes import Scheme
from node.anonymous.ringindex import NotedCoin, RingIndex, SentPayment, read_ring_index
from node.anonymous.ringkeys import (
    PublicCoin,
    RingAddress,
    RingKeys,
    RingViewer,
    decode_ring_address,
    encode_ring_address,
    is_ring_address,
    ring_keys,
)
from node.anonymous.ringpaying import RingDraft, RingWish, draft_ring, is_ready, mint_message, missing_for_set
from node.anonymous.ringreading import scan_rings
from node.anonymous.ringsets import PERIOD, ring_sets
from node.api.methods import Ask, GetStatus, QueryModule
from node.hidden.viewing import viewing_seed
from node.wallet import Account, ChainPoint, sign_draft
from state import ledger
from state.records import asset_id
from state.transaction import (
    MAX_RINGS,
    RING_SIZE,
    Call,
    Coin,
    Decoded,
    OutPoint,
    RingPayment,
    decode_transaction,
)
from state.types import NATIVE, Address, Amount, AssetId, ChainId, Height, TxId
from tests.apps.world import CHAIN, FEE, World, address
from tests.crypto.refusals import reason_of

CHAIN_ID = ChainId(CHAIN)
NXS = 1_000_000
R = TypeVar("R")


@cache
def keys(number: int) -> RingKeys:
    return ring_keys(bytes([number]) * 32)


def viewer(number: int) -> RingViewer:
    return RingViewer(CHAIN_ID, keys(number))


def home(number: int) -> RingAddress:
    return keys(number).address(CHAIN_ID)


class Said:
    """An answer with these fields."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


@dataclass
class Node:
    """Answers from the state of a world, as the API does; remembers what it was asked."""

    world: World
    asked: list[tuple[str, str]] = field(default_factory=list)
    break_off: int = 10**9
    """Answers after which the connection is lost."""
    spoil: Callable[[str, Any], Any] = lambda _name, value: value

    def ask(self, ask: Ask[R], /) -> R:
        if isinstance(ask, GetStatus):
            return Said(height=str(self.world.height))  # type: ignore[return-value]
        assert isinstance(ask, QueryModule)
        if len(self.asked) >= self.break_off:
            raise Refused(Reason.CONNECTION_LOST, "gone")
        self.asked.append((ask.name, ask.parameters["from"]))
        value = self.spoil(ask.name, answer_query(self.world.records, ask.name, ask.parameters))
        return Said(name=ask.name, height=str(self.world.height), value=value)  # type: ignore[return-value]


class Chain:
    """A world with wallets 1, 2 and 3 of ring coins; alice mints."""

    def __init__(self) -> None:
        self.world = World()
        self.node = Node(self.world)
        self.indexes = {number: RingIndex(viewer(number)) for number in (1, 2, 3)}

    def mint(self, *amounts: int, to: int = 1, asset: AssetId = NATIVE, text: str = "") -> None:
        wishes = [RingWish(home(to), asset, Amount(amount), text) for amount in amounts]
        messages = tuple(mint_message(viewer(3), wish, secrets.token_bytes) for wish in wishes)
        call = Call(address("alice"), ledger.nonce(self.world.records, address("alice")), 100_000, messages)
        assert self.world.one(self.world.sign(call, ["alice"])).reason == ""

    def fill(self, amount: int = 10 * NXS, to: int = 1, asset: AssetId = NATIVE) -> None:
        """Make eleven coins, the first for a wallet, the others for wallet 3, and wait until they can hide."""
        self.mint(amount, to=to, asset=asset)
        self.mint(*[NXS] * (RING_SIZE - 1), to=3, asset=asset)
        self.wait()

    def wait(self, blocks: int = PERIOD + RING_AGE) -> None:
        for _ in range(blocks):
            self.world.block()

    def scan(self, number: int = 1) -> RingIndex:
        scan_rings(self.node, self.indexes[number])
        return self.indexes[number]

    def point(self) -> ChainPoint:
        return ChainPoint(CHAIN_ID, self.world.tip, Height(self.world.height))

    def draft(self, number: int, *wishes: RingWish, sponsor: Account | None = None) -> RingDraft:
        return draft_ring(self.point(), self.scan(number), wishes, secrets.token_bytes, sponsor=sponsor)

    def pay(self, number: int, *wishes: RingWish) -> Decoded:
        """Draft, reserve, commit."""
        drafted = self.draft(number, *wishes)
        self.indexes[number].reserve(drafted.sent, drafted.rings)
        decoded = decoded_of(drafted)
        assert decoded.txid == drafted.sent.txid
        receipt = self.world.one(decoded)
        assert receipt.reason == "" and receipt.gas_used <= decoded.body.fee == drafted.sent.fee
        return decoded


def decoded_of(drafted: RingDraft) -> Decoded:
    return decode_transaction(sign_draft(drafted.draft, {}).raw)


def said(decoded: Decoded) -> RingPayment:
    assert isinstance(decoded.body.payload, RingPayment)
    return decoded.body.payload


def wish(to: int, amount: int, asset: AssetId = NATIVE, text: str = "") -> RingWish:
    return RingWish(home(to), asset, Amount(amount), text)


def ready(chain: Chain) -> bool:
    """Whether the first coin of wallet 1 can be spent."""
    index = chain.scan()
    return is_ready(index.own()[0], index.sets(), index.height)


@pytest.fixture
def chain() -> Chain:
    return Chain()


# ---- keys and addresses


def test_keys_follow_from_the_words() -> None:
    seed = viewing_seed(SecretKey.from_seed(Scheme.FALCON, bytes(32)))
    first, again = ring_keys(seed), ring_keys(seed)
    assert first == again != ring_keys(bytes(32))
    assert "secret" not in repr(first) and first.incoming.hex() not in repr(first)
    assert len({first.incoming, first.outgoing, first.box_key, first.spend_key}) == 4
    assert reason_of(ring_keys, b"short") is Reason.BAD_KEY


def test_address_as_text() -> None:
    text = encode_ring_address(home(1))
    assert is_ring_address(text) and not is_ring_address("nx1abc")
    assert decode_ring_address(f" {text}\n") == home(1)
    assert 1_600 < len(text) < 1_900
    bad = [text[:-1], text[:40] + ("A" if text[40] != "A" else "B") + text[41:], "nxring1", "nx1" + text,
           encode_ring_address(replace(home(1), spend_key=bytes(32))),
           encode_ring_address(replace(home(1), spend_key=b"\xff" * 32)),
           encode_ring_address(replace(home(1), receiving=b"\xff" * 1216))]  # fmt: skip
    for wrong in bad:
        assert reason_of(decode_ring_address, wrong) is Reason.BAD_ADDRESS


# ---- finding


def test_owner_finds_its_coins_and_nobody_elses(chain: Chain) -> None:
    chain.mint(5 * NXS, to=1, text="rent")
    chain.mint(7 * NXS, 8 * NXS, to=2)
    first, second, minter = chain.scan(1), chain.scan(2), chain.scan(3)
    assert [(coin.number, coin.amount, coin.text, coin.made) for coin in first.own()] == [(0, 5 * NXS, "rent", False)]
    assert second.balances() == {NATIVE: 15 * NXS}
    assert minter.own() == () and [(entry.kind, entry.amount) for entry in minter.history()] == [
        ("paid", 5 * NXS), ("paid", 7 * NXS), ("paid", 8 * NXS),
    ]  # fmt: skip
    assert [coin.number for coin in first.coins] == [0, 1, 2]


def test_notes_that_lie_are_ignored(chain: Chain) -> None:
    """A note of ours beside a coin that is not: the amount, the way to the key, or the place is another."""
    chain.mint(5 * NXS, to=1)
    kept = known_coin(chain.world.records, 0)
    coin = PublicCoin(0, NATIVE, kept.key, kept.commitment, kept.height)
    assert viewer(1).received(coin, kept.note) is not None
    other = viewer(1).payments.spend_key(5)
    for wrong in (coin._replace(key=other), coin._replace(commitment=other), coin._replace(asset=AssetId(b"x" * 32))):
        assert viewer(1).received(wrong, kept.note) is None and viewer(3).sent(wrong, kept.note) is None
    assert viewer(1).received(coin, bytes(1296)) is None and viewer(2).received(coin, kept.note) is None
    assert viewer(3).sent(coin, kept.note) == 5 * NXS and viewer(1).sent(coin, kept.note) is None


def test_scan_goes_on_where_it_ended_and_asks_for_nothing_else(chain: Chain) -> None:
    for _ in range(3):
        chain.mint(*[NXS] * 16, to=3)
    chain.scan()
    asked = list(chain.node.asked)
    assert asked == [("anonymous/images", "0"), ("anonymous/coins", "0"), ("anonymous/coins", "48")]
    chain.mint(2 * NXS, to=1)
    assert scan_rings(chain.node, chain.indexes[1]) == 1
    assert chain.node.asked[len(asked) :] == [
        ("anonymous/images", "0"), ("anonymous/coins", "48"), ("anonymous/coins", "49"),
    ]  # fmt: skip
    assert MAX_PAGE > 48


def test_scan_broken_off_at_any_place(chain: Chain) -> None:
    """Whatever came in between, and wherever it stopped: in the end coins that are spent are known to be."""
    chain.fill()
    chain.pay(1, wish(2, 3 * NXS))
    for stop in range(6):
        index = RingIndex(viewer(1))
        node = Node(chain.world, break_off=stop)
        if stop < 4:
            assert reason_of(scan_rings, node, index) is Reason.CONNECTION_LOST
        else:
            scan_rings(node, index)
        index = read_ring_index(viewer(1), index.to_bytes())
        scan_rings(chain.node, index)
        assert index.own()[0].number == 0 and index.own()[0].spent
        assert index.images == 1 == count_images(chain.world.records)


def test_node_that_contradicts_itself(chain: Chain) -> None:
    chain.fill()
    chain.pay(1, wish(2, 3 * NXS))
    index = chain.scan()

    def spoiled(change: Callable[[str, Any], Any]) -> Reason:
        fresh = RingIndex(viewer(1))
        return reason_of(scan_rings, Node(chain.world, spoil=change), fresh)

    def without_first(name: str, value: Any) -> Any:
        return value | {"coins": value["coins"][1:]} if name == "anonymous/coins" else value

    def short_key(name: str, value: Any) -> Any:
        return value | {"coins": [value["coins"][0] | {"key": "00"}]} if name == "anonymous/coins" else value

    def no_note(name: str, value: Any) -> Any:
        return value | {"coins": [value["coins"][0] | {"note": "x"}]} if name == "anonymous/coins" else value

    def no_images(name: str, value: Any) -> Any:
        return value | {"images": [], "count": 9} if name == "anonymous/images" else value

    def older(name: str, value: Any) -> Any:
        if name != "anonymous/coins":
            return value
        return value | {"coins": [*value["coins"][:3], value["coins"][3] | {"height": 0}]}

    for change in (without_first, short_key, no_note, no_images, older, lambda _name, _value: {"count": "x"}):
        assert spoiled(change) is Reason.PROTOCOL_VIOLATION
    fewer: tuple[Callable[[str, Any], Any], ...] = (
        lambda name, value: value | {"count": 0} if name == "anonymous/images" else value,
        lambda name, value: value | {"count": 0, "coins": []} if name == "anonymous/coins" else value,
    )
    for change in fewer:
        assert reason_of(scan_rings, Node(chain.world, spoil=change), index) is Reason.PROTOCOL_VIOLATION


# ---- paying


def test_pay_and_pay_on(chain: Chain) -> None:
    """A ring coin goes from 1 to 2; with others that are made meanwhile, it is paid on, and leaves in clear."""
    chain.fill(10 * NXS)
    decoded = chain.pay(1, wish(2, 3 * NXS, text="bread"))
    assert decoded.signers == () and len(said(decoded).made) == 2 and said(decoded).outputs == ()
    payer, receiver = chain.scan(1), chain.scan(2)
    fee = decoded.body.fee
    assert receiver.balances() == {NATIVE: 3 * NXS} and receiver.own()[0].text == "bread"
    assert payer.balances() == {NATIVE: 7 * NXS - fee}
    entries = payer.history()
    assert (entries[0].kind, entries[0].amount) == ("received", 10 * NXS)
    assert {(entry.kind, entry.amount) for entry in entries[1:]} == {("paid", 3 * NXS), ("made", 7 * NXS - fee)}
    assert [coin.spent for coin in payer.own()] == [True, False]
    assert ring_pool(chain.world.records, NATIVE) == 20 * NXS - fee
    chain.mint(*[NXS] * 9, to=3)
    chain.wait()
    out = chain.pay(2, RingWish(address("bob"), NATIVE, Amount(NXS)))
    assert ledger.output(chain.world.records, OutPoint(out.txid, 0)) == Coin(NATIVE, address("bob"), Amount(NXS))
    assert chain.scan(2).balances() == {NATIVE: 2 * NXS - out.body.fee}
    assert chain.indexes[2].sent()[-1].txid == out.txid


def test_several_rings_change_and_two_assets(chain: Chain) -> None:
    world = chain.world
    world.does("alice", Issue("gold", 0, Amount(1000 * NXS), False, False, False))
    gold = asset_id(address("alice"), "gold")
    chain.fill(4 * NXS)
    chain.fill(5 * NXS)
    chain.fill(50, asset=gold)
    decoded = chain.pay(1, wish(2, 7 * NXS), wish(2, 20, gold), RingWish(address("bob"), gold, Amount(7)))
    payment = said(decoded)
    assert len(payment.rings) == 3 and len(payment.made) == 4
    assert [ring.image for ring in payment.rings] == sorted(ring.image for ring in payment.rings)
    assert [coin.commitment for coin in payment.made] == sorted(coin.commitment for coin in payment.made)
    assert chain.scan(2).balances() == {NATIVE: 7 * NXS, gold: 20}
    assert chain.scan(1).balances() == {NATIVE: 2 * NXS - decoded.body.fee, gold: 23}


def test_change_of_nothing(chain: Chain) -> None:
    """Who pays out all has change of 0: nobody sees whether something was left. The wallet leaves it alone."""
    chain.fill(10 * NXS)
    fee = chain.draft(1, wish(2, NXS)).sent.fee
    decoded = chain.pay(1, wish(2, 10 * NXS - fee))
    assert decoded.body.fee == fee and len(said(decoded).made) == 2
    index = chain.scan(1)
    assert [coin.amount for coin in index.unspent()] == [0] and index.balances() == {}
    assert reason_of(chain.draft, 1, wish(2, 1)) is Reason.INSUFFICIENT_FUNDS


def test_sponsor(chain: Chain) -> None:
    chain.fill()
    key = SecretKey.from_seed(Scheme.FALCON, bytes([77]) * 32)
    account = Account(Address(key.address), key.public_key)
    drafted = chain.draft(1, wish(2, NXS), sponsor=account)
    decoded = decode_transaction(sign_draft(drafted.draft, {account.address: key}).raw)
    assert decoded.signers == (account.address,) and decoded.body.sponsor == account.address
    chain.world.block(decoded)


def test_what_is_on_its_way_is_not_spent_again(chain: Chain) -> None:
    chain.fill(10 * NXS)
    first = chain.draft(1, wish(2, NXS))
    index = chain.indexes[1]
    index.reserve(first.sent, first.rings)
    assert reason_of(chain.draft, 1, wish(2, NXS)) is Reason.NOT_AVAILABLE
    again = read_ring_index(viewer(1), index.to_bytes())
    assert again.own() == index.own() and again.sent() == index.sent()
    index.release(first.sent)
    second = chain.draft(1, wish(2, 2 * NXS))
    assert second.rings == first.rings and index.sent() == ()
    # drafted again it shows the very same ring and image: nothing can be learnt from both
    [before], [after] = said(decoded_of(first)).rings, said(decoded_of(second)).rings
    assert (before.members, before.image) == (after.members, after.image) and before.commitment != after.commitment
    chain.world.block(decoded_of(first))
    assert chain.world.refuses(decoded_of(second)) is Reason.IMAGE_USED


def test_expired_payment_frees_its_coins(chain: Chain) -> None:
    chain.fill()
    first = chain.draft(1, wish(2, NXS))
    index = chain.indexes[1]
    until = Height(chain.world.height + 2)
    index.reserve(replace(first.sent, until=until), first.rings)
    chain.world.block()
    assert not ready(chain)
    chain.world.block()
    assert ready(chain)


def test_other_ring_for_a_coin_is_refused(chain: Chain) -> None:
    """A node that showed other coins before, or now: the coin's two rings would have only it in common."""
    chain.fill()
    drafted = chain.draft(1, wish(2, NXS))
    index = chain.indexes[1]
    index.reserve(drafted.sent, {0: tuple(range(100, 111))})
    index.release(drafted.sent)
    assert reason_of(chain.draft, 1, wish(2, NXS)) is Reason.CONFLICT


def test_who_cannot_hide_waits(chain: Chain) -> None:
    chain.mint(10 * NXS, to=1)
    chain.wait()
    index = chain.scan()
    assert reason_of(chain.draft, 1, wish(2, NXS)) is Reason.NOT_AVAILABLE
    assert missing_for_set(index.sets(), NATIVE) == 10 and missing_for_set(index.sets(), AssetId(b"x" * 32)) == 0
    chain.mint(*[NXS] * 10, to=3)
    start = chain.world.height
    while not ready(chain):
        assert reason_of(chain.draft, 1, wish(2, NXS)) is Reason.NOT_AVAILABLE
        chain.world.block()
        assert chain.world.height < start + PERIOD + RING_AGE
    chain.pay(1, wish(2, NXS))


def test_what_cannot_be_paid(chain: Chain) -> None:
    chain.fill()
    other = replace(home(2), chain_id=ChainId(b"y" * 32))
    for wishes, reason in (
        ((), Reason.BAD_ARGUMENT), ((wish(2, 10 * NXS),), Reason.INSUFFICIENT_FUNDS),
        ((wish(2, 0),), Reason.AMOUNT_OUT_OF_RANGE), ((wish(2, 1, AssetId(b"x" * 32)),), Reason.INSUFFICIENT_FUNDS),
        ((RingWish(other, NATIVE, Amount(1)),), Reason.WRONG_CHAIN), ((wish(2, 1),) * 16, Reason.TOO_LARGE),
        ((wish(2, 1, text="x" * 33),), Reason.TOO_LARGE),
        ((RingWish(address("bob"), NATIVE, Amount(1), "text"),), Reason.BAD_ARGUMENT),
    ):
        assert reason_of(chain.draft, 1, *wishes) is reason
    assert reason_of(mint_message, viewer(1), RingWish(address("bob"), NATIVE, Amount(1)), secrets.token_bytes) is (
        Reason.BAD_ARGUMENT
    )


def test_too_many_small_coins(chain: Chain) -> None:
    chain.mint(*[NXS] * RING_SIZE, to=1)
    chain.wait()
    assert reason_of(chain.draft, 1, wish(2, MAX_RINGS * NXS)) is Reason.TOO_LARGE
    decoded = chain.pay(1, wish(2, (MAX_RINGS - 1) * NXS + NXS // 2))
    assert len(said(decoded).rings) == MAX_RINGS
    assert {ring.members for ring in said(decoded).rings} == {tuple(range(RING_SIZE))}


# ---- the file


def test_file_comes_back_and_is_sealed(chain: Chain) -> None:
    chain.fill()
    chain.pay(1, wish(2, 3 * NXS))
    index = chain.scan()
    raw = index.to_bytes()
    again = read_ring_index(viewer(1), raw)
    assert (again.own(), again.coins, again.height, again.images, again.history(), again.sent()) == (
        index.own(), index.coins, index.height, index.images, index.history(), index.sent(),
    )  # fmt: skip
    assert index.coins[0].key not in raw
    assert scan_rings(chain.node, again) == 0
    for wrong in (raw[:-1], b"x" * 60, raw[:50] + bytes([raw[50] ^ 1]) + raw[51:]):
        assert reason_of(read_ring_index, viewer(1), wrong) is Reason.BAD_WALLET
    assert reason_of(read_ring_index, viewer(2), raw) is Reason.BAD_WALLET
    assert reason_of(read_ring_index, RingViewer(ChainId(b"y" * 32), keys(1)), raw) is Reason.BAD_WALLET
    assert read_ring_index(viewer(1), b"").own() == ()


def test_all_comes_back_from_the_words(chain: Chain) -> None:
    """Nothing but the viewing seed: balance, coins, and what was paid to others."""
    chain.fill()
    chain.pay(1, wish(2, 3 * NXS))
    index = chain.scan()
    again = RingIndex(RingViewer(CHAIN_ID, ring_keys(bytes([1]) * 32)))
    scan_rings(chain.node, again)
    assert again.balances() == index.balances() and again.history() == index.history()
    assert [replace(coin, ring=(), until=Height(0)) for coin in index.own()] == list(again.own())


def test_reserved_payment_is_written_as_it_was() -> None:
    index = RingIndex(viewer(1))
    sent = SentPayment(TxId(b"t" * 32), Height(5), Height(9), (), Amount(FEE), "for bread")
    index.reserve(sent, {})
    assert read_ring_index(viewer(1), index.to_bytes()).sent() == (sent,)
    index.take_coins([NotedCoin(PublicCoin(0, NATIVE, bytes(32), bytes(32), 4), b"")])
    assert ring_sets(index.coins, Height(30)).waiting == {NATIVE: (0,)}
