"""A wallet of anonymous accounts: keys, addresses, finding, choosing, and paying while others get in the way."""

from collections import Counter
from functools import partial

import pytest

from apps.anonymous.records import account_id
from crypto.errors import Reason, Refused
from crypto.quisquis import default_quisquis
from node.anonymous.choosing import Hiding, Renewed, choose, draw, follow
from node.anonymous.index import AccountSet, AnonymousIndex
from node.anonymous.insisting import gather, pay
from node.anonymous.keys import (
    ADDRESS_LENGTH,
    anonymous_keys,
    decode_anonymous_address,
    encode_anonymous_address,
)
from node.anonymous.paying import Wish, payment_fee, select_payer
from node.anonymous.search import BOUND, AmountSearch
from state.types import Amount, ChainId, Height
from tests.node.anonymous.pretend import PretendNode, Told, randomness, wallet

NO_SEARCH = partial(AmountSearch, bound=0)


def refused(reason: Reason) -> "pytest.RaisesExc[Refused]":
    return pytest.RaisesExc(Refused, check=lambda error: error.reason is reason)


# ---- keys and addresses


def test_addresses_of_a_wallet() -> None:
    keys = anonymous_keys(bytes(32))
    texts = [encode_anonymous_address(keys.key(number)) for number in range(3)]
    assert len(set(texts)) == 3
    assert all(len(text) == ADDRESS_LENGTH and text.startswith("nxa1") for text in texts)
    assert [decode_anonymous_address(text) for text in texts] == [keys.key(number) for number in range(3)]
    assert all(default_quisquis().owns(keys.secret, keys.key(number)) for number in range(3))
    assert anonymous_keys(bytes(32)).key(2) == keys.key(2)
    assert not default_quisquis().owns(anonymous_keys(bytes([1]) * 32).secret, keys.key())
    with refused(Reason.BAD_KEY):
        anonymous_keys(bytes(31))
    assert str(keys.secret) not in repr(keys)


def test_mistyped_addresses() -> None:
    text = encode_anonymous_address(anonymous_keys(bytes(32)).key())
    wrong = [text[:place] + ("q" if text[place] != "q" else "p") + text[place + 1 :] for place in range(len(text))]
    wrong += [text.upper(), text + "q", text[:-1], "", "nxa1", text.replace("nxa1", "nx11"), " " + text, text + "\n"]
    wrong += [text[:40] + text[41] + text[40] + text[42:]] if text[40] != text[41] else []
    wrong += [text[:-1] + "é", text[:-1] + "b"]
    for one in wrong:
        with refused(Reason.BAD_ADDRESS):
            decode_anonymous_address(one)
    for key in (bytes(64), bytes(32) + anonymous_keys(bytes(32)).key()[32:], b"\xff" * 64):
        with refused(Reason.BAD_ADDRESS):
            decode_anonymous_address(encode_anonymous_address(key))
    with refused(Reason.BAD_ADDRESS):
        encode_anonymous_address(bytes(63))


# ---- choosing


def test_others_are_drawn_alike() -> None:
    accounts = [bytes([number]) * 128 for number in range(25)]
    random, drawn = randomness(3), Counter[bytes]()
    for _ in range(3000):
        hiding = choose(accounts, (accounts[7],), random)
        assert len(set(hiding.members)) == 9 and accounts[7] in hiding.members
        assert list(hiding.members) == sorted(hiding.members, key=account_id)
        drawn.update(hiding.members)
    expected = 3000 * 8 / 24
    deviation = sum((drawn[one] - expected) ** 2 / (expected * 16 / 24) for one in accounts if one != accounts[7])
    assert drawn[accounts[7]] == 3000
    assert deviation < 50  # chi square, 23 degrees of freedom: one run in a thousand is above


def test_too_few_to_hide_among() -> None:
    accounts = [bytes([number]) * 128 for number in range(8)]
    with refused(Reason.NOT_AVAILABLE):
        choose(accounts, (accounts[0],), randomness(1))
    assert len(choose([*accounts, bytes([9]) * 128], (accounts[0],), randomness(1)).members) == 9


def following(payer_taken: bool, seed: int) -> tuple[Hiding, Hiding, Renewed]:
    """Follow a set of which a payment took three, and return the set before and after with the payment."""
    accounts = [bytes([number]) * 128 for number in range(20)]
    mine = {accounts[0]}
    before = choose(accounts, (accounts[0],), randomness(seed))
    others = [one for one in before.members if one != accounts[0]]
    hit = ([accounts[0]] if payer_taken else []) + others[: 2 if payer_taken else 3]
    taken = [*hit, *[one for one in accounts if one not in before.members][:6]]
    made = [bytes([100 + number]) * 128 for number in range(10)]
    if payer_taken:
        mine.add(draw(made, 1, randomness(seed + 1))[0])
    renewed = Renewed(tuple(map(account_id, taken)), tuple(made))
    now = [one for one in accounts if one not in taken] + made
    after = follow(before, now, [renewed], lambda one: b"v" if one in mine else None, randomness(seed + 2))
    return before, after, renewed


@pytest.mark.parametrize("payer_taken", [False, True])
def test_a_set_is_followed_in_one_way_whoever_was_taken(payer_taken: bool) -> None:
    places = Counter[int]()
    for seed in range(600):
        before, after, renewed = following(payer_taken, seed * 3)
        assert len(set(after.members)) == 9 and set(after.own) <= set(after.members)
        assert len(set(before.members) & set(after.members)) == 6
        fresh = set(after.members) - set(before.members)
        assert fresh < set(renewed.made)
        places.update(renewed.made.index(one) for one in fresh)
    deviation = sum((places[place] - 180) ** 2 / 180 for place in range(10))
    assert deviation < 28  # chi square, 9 degrees of freedom: one run in a thousand is above


def test_a_set_that_cannot_be_followed() -> None:
    accounts = [bytes([number]) * 128 for number in range(20)]
    before = choose(accounts, (accounts[0],), randomness(1))
    gone = [one for one in accounts if one != accounts[0]]
    with refused(Reason.CONFLICT):  # closed
        follow(before, gone, [], lambda one: b"v" if one == accounts[0] else None, randomness(1))
    renewed = Renewed((account_id(accounts[0]),), (bytes([99]) * 128,))
    with refused(Reason.CONFLICT):  # it paid: no output holds what it held
        follow(before, [*gone, *renewed.made], [renewed], lambda one: bytes(one[:1]), randomness(1))
    closed = next(one for one in before.members if one != accounts[0])
    left = [one for one in accounts if one != closed]
    after = follow(before, left, [], lambda one: b"v" if one == accounts[0] else None, randomness(1))
    assert len(after.members) == 9 and len(set(after.members) & set(before.members)) == 8
    with refused(Reason.NOT_AVAILABLE):
        follow(before, left[:8], [], lambda one: b"v" if one == accounts[0] else None, randomness(1))


# ---- finding


def test_what_is_found_and_what_is_remembered() -> None:
    node, alice, bob = PretendNode(), wallet(1), wallet(2)
    node.open(alice, 70_000)
    for amount in (5, 6, 7, 8, 9, 10, 11, 12):
        node.open(bob, amount)
    search = AmountSearch()
    assert alice.take(node.accounts(), search) == 9
    assert (alice.balance(), len(alice.own())) == (70_000, 1)
    assert [entry.kind for entry in alice.history()] == ["received"]
    assert alice.take(node.accounts(), search) == 0

    # renewed by somebody else: known by what it holds, without a search
    [mine] = alice.own()
    node.height += 1
    bob.take(node.accounts(), search)
    payer = bob.own()[0]
    node.pay(bob, payer.account, payer.amount, mine.account)
    assert alice.take(node.accounts(), NO_SEARCH()) == 10
    assert alice.balance() == 70_000 and alice.own()[0].account != mine.account
    assert len(alice.history()) == 1

    # kept, sealed, and taken up again
    content = alice.to_bytes()
    again = wallet(1)
    again.load(content)
    assert (again.own(), again.history(), again.height) == (alice.own(), alice.history(), alice.height)
    assert again.take(node.accounts(), NO_SEARCH()) == 0
    for other, broken in ((wallet(2), content), (wallet(1), content[:-1]), (wallet(1), b"x")):
        with refused(Reason.BAD_WALLET):
            other.load(broken)
    with refused(Reason.BAD_WALLET):
        AnonymousIndex(ChainId(bytes(32)), anonymous_keys(bytes([1]) * 32)).load(content)
    with refused(Reason.NOT_AVAILABLE):
        again.take(AccountSet(Height(1), ()), search)


def test_amounts_that_are_not_found() -> None:
    node, alice = PretendNode(), wallet(1)
    node.open(alice, BOUND + 3)
    node.open(alice, 4)
    alice.take(node.accounts(), AmountSearch(bound=1 << 20))
    assert (alice.balance(), [own.known for own in alice.own()]) == (4, [True, False])
    assert [entry.known for entry in alice.history()] == [False, True]
    with refused(Reason.INSUFFICIENT_FUNDS):
        select_payer(alice.own(), 5)
    alice.take(node.accounts(), AmountSearch([BOUND + 3], bound=0))
    assert alice.balance() == BOUND + 7
    assert select_payer(alice.own(), 5).amount == BOUND + 3
    assert select_payer(alice.own(), 3).amount == 4


def test_a_payment_by_another_copy_of_the_wallet_is_seen() -> None:
    node, alice, bob = PretendNode(), wallet(1), wallet(2)
    account = node.open(alice, 1000)
    for _ in range(9):
        node.open(bob, 5)
    search = AmountSearch(bound=1 << 16)
    alice.take(node.accounts(), search)
    node.pay(alice, account, 1000)
    alice.take(node.accounts(), search)
    kinds = [(entry.kind, entry.amount) for entry in alice.history()]
    assert kinds == [("received", 1000), ("elsewhere", 1000), ("received", 994)]


# ---- paying


class Scene:
    """Alice has an account, others have ten, and she is to pay bob."""

    def __init__(self, seed: int = 1) -> None:
        self.node, self.told = PretendNode(seed), Told(randomness(seed + 100))
        self.alice, self.bob, self.carol = wallet(1), wallet(2), wallet(3)
        self.fee = payment_fee(self.node.point())
        self.account = self.node.open(self.alice, 1_000_000)
        self.others = [self.node.open(self.carol, 1000) for _ in range(10)]
        self.search = AmountSearch()
        self.wish = Wish(Amount(300_000), self.bob.keys.key())

    def pay(self, attempts: int = 10) -> int:
        return pay(self.node, self.alice, self.wish, self.told.manner(attempts, self.search)).attempts

    def found(self, index: AnonymousIndex) -> list[int]:
        index.take(self.node.accounts(), self.search)
        return [own.amount for own in index.own()]

    def disturb(self, *near: bytes) -> None:
        """Somebody pays, hiding among these."""
        self.carol.take(self.node.accounts(), self.search)
        payer = next(own for own in self.carol.own() if own.account not in near and own.amount > 100)
        self.node.pay(self.carol, payer.account, payer.amount, *near)


def test_a_payment() -> None:
    scene = Scene()
    assert scene.pay() == 1
    assert scene.found(scene.alice) == [700_000 - scene.fee]
    assert scene.found(scene.bob) == [300_000]
    last = scene.alice.history()[-1]
    assert (last.kind, last.amount, last.fee, last.to) == ("paid", 300_000, scene.fee, scene.wish.to)
    assert scene.alice.pending() == () and scene.told.saved >= 2
    # the address does not stand on the chain
    assert all(scene.wish.to not in one.account for one in scene.node.slots)
    assert [entry.kind for entry in scene.bob.history()] == ["received"]


def test_a_member_moved_before_the_payment_came_in() -> None:
    scene = Scene()
    member = scene.others[0]
    scene.node.before_submit = [lambda: scene.disturb(*scene.others[:8])]
    assert scene.pay() == 2
    assert len(scene.told.words) == 1
    first, second = scene.node.sets
    assert account_id(member) not in second
    # who stayed was not exchanged, so what both sets have in common says nothing new
    taken = set(scene.node.log[0][1].taken)
    assert set(first) - taken <= set(second)
    assert not set(second) & taken
    assert scene.found(scene.bob) == [300_000]
    assert scene.found(scene.alice) == [700_000 - scene.fee]
    assert [entry.kind for entry in scene.alice.history()] == ["received", "paid"]


def test_the_account_that_pays_moved_itself() -> None:
    scene = Scene()
    scene.node.before_submit = [lambda: scene.disturb(scene.account)]
    assert scene.pay() == 2
    assert scene.found(scene.alice) == [700_000 - scene.fee]
    assert scene.found(scene.bob) == [300_000]


def test_a_payment_that_was_accepted_and_then_dropped() -> None:
    scene = Scene()
    scene.node.before_block = [lambda: scene.disturb(scene.account)]
    assert scene.pay() == 2
    assert scene.found(scene.alice) == [700_000 - scene.fee]
    assert scene.found(scene.bob) == [300_000]
    assert scene.alice.pending() == ()


def test_what_is_in_a_block_is_not_paid_again_whatever_the_node_says() -> None:
    scene = Scene()
    scene.node.blind = True
    assert scene.pay() == 1
    assert len(scene.node.sets) == 1
    assert scene.found(scene.alice) == [700_000 - scene.fee]
    assert scene.found(scene.bob) == [300_000]
    assert [entry.kind for entry in scene.alice.history()] == ["received", "paid"]


def test_the_wallet_gives_up_and_nothing_is_paid() -> None:
    scene = Scene()
    scene.node.before_submit = [lambda: scene.disturb(scene.alice.own()[0].account)] * 3
    with refused(Reason.CONFLICT):
        scene.pay(attempts=3)
    assert scene.found(scene.alice) == [1_000_000]
    assert scene.found(scene.bob) == []


def test_an_account_that_paid_elsewhere_meanwhile() -> None:
    scene = Scene()
    scene.node.before_submit = [lambda: scene.node.pay(scene.alice, scene.account, 1_000_000) and None]
    with refused(Reason.CONFLICT):
        scene.pay()
    assert scene.found(scene.bob) == []


def test_what_stays_in_the_way_does_not_make_others_be_drawn() -> None:
    scene = Scene()

    def conflict() -> None:
        raise Refused(Reason.CONFLICT, "pending")

    scene.node.before_submit = [conflict] * 8
    assert scene.pay() == 9
    assert len(scene.node.sets) == 9 and len(set(scene.node.sets)) == 1
    assert scene.found(scene.bob) == [300_000]


def test_a_payment_tried_again_later_hides_in_the_same_set() -> None:
    scene = Scene()

    def conflict() -> None:
        raise Refused(Reason.CONFLICT, "pending")

    scene.node.before_submit = [conflict]
    with refused(Reason.CONFLICT):
        scene.pay(attempts=1)
    [shown] = scene.alice.tried()
    again = wallet(1)  # as another run of the program reads it
    again.load(scene.alice.to_bytes())
    assert again.tried() == (shown,)
    scene.alice = again
    scene.wish = Wish(Amount(200_000), scene.bob.keys.key())
    assert scene.pay() == 1
    assert scene.found(scene.bob) == [200_000]
    assert [tuple(map(account_id, shown.members))] * 2 == scene.node.sets
    assert again.tried() == ()  # that account is gone now
    assert scene.pay() == 1
    assert scene.found(scene.bob) == [200_000, 200_000]


def test_a_node_that_does_not_tell_what_became_of_a_set_gets_no_other() -> None:
    scene = Scene()

    def conflict() -> None:
        raise Refused(Reason.CONFLICT, "pending")

    def forgetful(above: Height, height: Height) -> tuple[Renewed, ...]:
        raise Refused(Reason.NOT_AVAILABLE, f"{height - above} blocks")

    scene.node.before_submit = [conflict]
    scene.node.renewed = forgetful  # type: ignore[method-assign]
    for _ in range(2):
        with refused(Reason.NOT_AVAILABLE):
            scene.pay()
    assert len(scene.node.sets) == 1


def test_what_is_uncertain_stays_written_down() -> None:
    scene = Scene()

    def fail(reason: Reason) -> None:
        raise Refused(reason, "")

    scene.node.before_submit = [partial(fail, Reason.FEE_TOO_LOW), partial(fail, Reason.CONNECTION_LOST)]
    with refused(Reason.FEE_TOO_LOW):
        scene.pay()
    assert scene.alice.pending() == ()
    with refused(Reason.CONNECTION_LOST):
        scene.pay()
    [move] = scene.alice.pending()
    assert (move.kind, move.amount) == ("paid", 300_000)
    scene.node.height = move.expiry + 1
    assert scene.found(scene.alice) == [1_000_000]
    assert scene.alice.pending() == ()


def test_not_enough() -> None:
    scene = Scene()
    scene.wish = Wish(Amount(1_000_000), scene.bob.keys.key())
    with refused(Reason.INSUFFICIENT_FUNDS):
        scene.pay()
    scene.node.open(scene.alice, 500_000)
    with refused(Reason.INSUFFICIENT_FUNDS):  # together, but one account pays
        scene.pay()
    outcome = gather(scene.node, scene.alice, scene.told.manner(search=scene.search))
    assert outcome.amount == 500_000 - scene.fee
    assert scene.found(scene.alice) == [1_500_000 - scene.fee, 0, 0]
    assert scene.alice.history()[-1].kind == "gathered"
    assert scene.pay() == 1
    assert scene.found(scene.bob) == [1_000_000]
    with refused(Reason.INSUFFICIENT_FUNDS):
        gather(scene.node, scene.alice, scene.told.manner(search=scene.search))


def test_two_accounts_become_one_though_both_move_meanwhile() -> None:
    scene = Scene()
    second = scene.node.open(scene.alice, 500_000)
    scene.node.before_submit = [lambda: scene.disturb(scene.account, second)]
    scene.node.before_block = [lambda: None, lambda: scene.disturb(*(own.account for own in scene.alice.own()[:2]))]
    outcome = gather(scene.node, scene.alice, scene.told.manner(search=scene.search))
    assert outcome.attempts == 3
    assert scene.found(scene.alice) == [1_500_000 - scene.fee, 0, 0]
    assert [entry.kind for entry in scene.alice.history()] == ["received", "received", "gathered"]


def test_too_few_accounts() -> None:
    scene = Scene()
    del scene.node.slots[8:]
    with refused(Reason.NOT_AVAILABLE):
        scene.pay()
    assert scene.node.sets == []
