"""Records, buckets and bans: what one source may fill, what survives, what fades."""

import ipaddress
import random
from functools import cache

import msgspec
import pytest

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.keys import SecretKey
from p2p.address import peer_id_of
from p2p.addressbook import BUCKET_SIZE, MAX_FAILURES, SOURCE_BUCKETS, AddressBook, Entry, book_codec
from p2p.bans import FOREVER, HALF_LIFE, LONGEST, MAX_KEPT, Bans
from p2p.network import PeerId
from p2p.prefix import prefix_group
from p2p.records import MAX_AGE, MAX_AHEAD, PeerRecord, Place, SignedRecord, check_record, make_record, record_codec
from state.encoding import encode
from tests.p2p.nodes import CHAIN, OTHER_CHAIN, node_id, node_key

NOW = 1_800_000_000_000
SECRET = bytes(range(32))


def book(secret: bytes = SECRET, own: PeerId | None = None) -> AddressBook:
    return AddressBook(CHAIN, own or PeerId(b"\xff" * 32), secret, True, random.Random(1))


@cache
def record(index: int = 0, epoch: int = NOW, host: str = "2001:db8::1") -> SignedRecord:
    return make_record(node_key(index), CHAIN, ((host, 7100),), epoch)


class Trusting(AddressBook):
    """Takes made-up records: a thousand signatures would take the test a quarter of a minute."""

    def add_unsigned(self, number: int, host: str, source: str) -> bool:
        public_key = b"\x01" + number.to_bytes(1793, "big")
        made = PeerRecord(CHAIN, public_key, bytes(32), (Place(ipaddress.IPv6Address(host).packed, 7100),), NOW)
        entry = Entry(made.peer_id, SignedRecord(made, bytes(1281), bytes(64)), source)
        return self._put(entry, NOW)


# ---- records


def test_a_record_binds_both_keys_to_the_addresses() -> None:
    signed = record_codec.decode(encode(record()))
    check_record(signed, CHAIN, NOW)
    assert signed.record.peer_id == node_id(0)
    assert [(one.host, one.port) for one in signed.record.addresses] == [("2001:db8::1", 7100)]


def changed(field: str, value: object) -> SignedRecord:
    return SignedRecord(
        msgspec.structs.replace(record().record, **{field: value}), record().signature, record().countersignature
    )


@pytest.mark.parametrize(("wrong", "reason"), [
    (changed("chain_id", OTHER_CHAIN), Reason.WRONG_GENESIS),
    (changed("epoch", NOW + 1), Reason.BAD_SIGNATURE),
    (changed("ed25519", bytes(32)), Reason.BAD_SIGNATURE),
    (changed("places", (Place(bytes(15) + b"\x01", 1),)), Reason.BAD_SIGNATURE),
    (changed("places", (Place(bytes(16), 1),)), Reason.BAD_ARGUMENT),
    (changed("places", (Place(b"\xff" * 16, 1),)), Reason.BAD_ARGUMENT),
    (changed("places", (Place(bytes(10) + b"\xff\xff" + bytes(4), 1),)), Reason.BAD_ARGUMENT),
    (changed("public_key", b"\x02" + bytes(1793)), Reason.BAD_KEY),
    (SignedRecord(record().record, record().signature, bytes(64)), Reason.BAD_SIGNATURE),
    (SignedRecord(record().record, b"\x01" + bytes(1280), record().countersignature), Reason.BAD_SIGNATURE),
])
def test_a_wrong_record_is_refused(wrong: SignedRecord, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        check_record(wrong, CHAIN, NOW)
    assert refused.value.reason is reason


@pytest.mark.parametrize("now", [NOW + MAX_AGE + 1, NOW - MAX_AHEAD - 1])
def test_an_old_record_and_one_of_the_future_are_refused(now: int) -> None:
    with pytest.raises(Refused) as refused:
        check_record(record(), CHAIN, now)
    assert refused.value.reason is Reason.BAD_TIME


# ---- the book


def test_the_newer_record_counts_whoever_brings_it() -> None:
    known = book()
    assert known.add(record(), "a", NOW)
    assert not known.add(record(), "b", NOW)
    assert not known.add(record(epoch=NOW - 1), "b", NOW)
    assert known.add(record(epoch=NOW + 1, host="2001:db8:1::1"), "b", NOW)
    entry = known.get(node_id(0))
    assert len(known) == 1 and entry is not None and entry.address.host == "2001:db8:1::1"


def test_our_own_record_is_not_kept() -> None:
    known = book(own=node_id(0))
    assert not known.add(record(), "a", NOW) and len(known) == 0


def test_who_moved_has_to_be_reached_again() -> None:
    known = book()
    known.add(record(), "a", NOW)
    known.reached(node_id(0), NOW)
    assert len(known.sample(8, ())) == 1
    known.add(record(epoch=NOW + 1), "a", NOW)
    assert len(known.sample(8, ())) == 1
    known.add(record(epoch=NOW + 2, host="2001:db8:9::1"), "a", NOW)
    assert known.sample(8, ()) == ()


def test_one_source_fills_only_its_share_and_leaves_room_for_others() -> None:
    known = Trusting(CHAIN, PeerId(b"\xff" * 32), SECRET, True, random.Random(1))
    attacker, number = "2001:db8:bad::", 0
    for place in range(600):
        for _ in range(4):
            number += 1
            known.add_unsigned(number, f"2001:db8:{place:x}::{number:x}", attacker)
    assert 0.8 * SOURCE_BUCKETS * BUCKET_SIZE < len(known) <= SOURCE_BUCKETS * BUCKET_SIZE
    before = len(known)
    taken = sum(known.add_unsigned(10_000 + i, f"2001:db8:{i:x}::1", f"2001:db8:{i:x}::") for i in range(100))
    assert taken >= 60 and len(known) >= before + taken - 5


def test_who_was_only_heard_of_does_not_displace_who_was_reached() -> None:
    known = Trusting(CHAIN, PeerId(b"\xff" * 32), SECRET, True, random.Random(1))
    known.add(record(), "a", NOW)
    known.reached(node_id(0), NOW)
    for number in range(1, 3000):
        known.add_unsigned(number, "2001:db8::1", "a")
    entry = known.get(node_id(0))
    assert entry is not None and entry.reached == NOW


def test_failures_wait_longer_and_longer_and_end_in_oblivion() -> None:
    known = book()
    known.add(record(), "a", NOW)
    waits = []
    for _ in range(MAX_FAILURES):
        entry = known.get(node_id(0))
        assert entry is not None
        known.failed(node_id(0), NOW)
        waits.append(entry.next_try - NOW)
        assert known.pick(NOW, lambda _: True) is None
    assert waits == sorted(waits) and waits[0] < waits[-1]
    assert len(known) == 0


def test_half_of_the_draws_go_to_who_was_reached() -> None:
    known = Trusting(CHAIN, PeerId(b"\xff" * 32), SECRET, True, random.Random(1))
    known.add(record(), "a", NOW)
    known.reached(node_id(0), NOW)
    for number in range(1, 500):
        known.add_unsigned(number, f"2001:db8:{number:x}::1", f"2001:db8:{number:x}::")
    drawn = [known.pick(NOW, lambda _: True) for _ in range(400)]
    assert 140 < sum(entry is not None and entry.peer_id == node_id(0) for entry in drawn) < 260


def test_the_book_survives_a_restart_and_forgets_what_no_longer_holds() -> None:
    known, bans = book(), Bans(20.0)
    known.add(record(0), "a", NOW)
    known.add(record(1, NOW - MAX_AGE + 10), "b", NOW)
    known.reached(node_id(0), NOW)
    bans.ban(node_id(2), FOREVER, NOW)
    stored = book_codec.decode(known.stored(bans.all(NOW)))
    again = book(stored.secret)
    assert again.restore(stored, NOW + 1000) == 1
    entry = again.get(node_id(0))
    assert entry is not None and entry.reached == NOW
    assert Bans(20.0, stored.bans).is_banned(node_id(2), NOW + 10**12)
    damaged = msgspec.structs.replace(stored, entries=(msgspec.structs.replace(stored.entries[0], signed=changed(
        "epoch", NOW + 1)),))
    assert book().restore(damaged, NOW) == 0


def test_a_loopback_counts_singly_only_if_exempt() -> None:
    assert prefix_group("::1", True, 7100) != prefix_group("::1", True, 7101)
    assert prefix_group("::1", False, 7100) == prefix_group("::1", False, 7101) == "::"
    assert prefix_group("2001:db8::1", True, 1) == prefix_group("2001:db8::2", True, 2) == "2001:db8::"


# ---- bans

PEER = PeerId(b"\x05" * 32)


def test_penalties_double_and_fade() -> None:
    bans = Bans(20.0)
    assert bans.offence(PEER, NOW) == 20.0
    assert bans.is_banned(PEER, NOW + 19_999) and not bans.is_banned(PEER, NOW + 20_000)
    assert 39.0 < bans.offence(PEER, NOW + 1) <= 40.0
    later = NOW + round(HALF_LIFE * 8 * 1000)
    assert bans.offence(PEER, later) < 21.0
    for _ in range(40):
        longest = bans.offence(PEER, later)
    assert longest == LONGEST


def test_the_operators_ban_stands_until_it_is_lifted() -> None:
    bans = Bans(20.0)
    bans.ban(PEER, FOREVER, NOW)
    assert bans.is_banned(PEER, NOW + 10**13)
    bans.offence(PEER, NOW)
    assert bans.is_banned(PEER, NOW + 10**13) and len(bans.active(NOW)) == 1
    bans.ban(PEER, 0, NOW)
    assert not bans.is_banned(PEER, NOW) and bans.active(NOW) == ()


def test_the_list_is_bounded_and_keeps_the_worst() -> None:
    bans = Bans(20.0)
    bans.ban(PEER, FOREVER, NOW)
    for number in range(MAX_KEPT + 10):
        bans.offence(PeerId(digest(Label.NODE_ID, number.to_bytes(4, "big"))), NOW)
    assert len(bans.all(NOW)) <= MAX_KEPT and bans.is_banned(PEER, NOW + 10**13)


def test_a_node_id_is_the_hash_of_its_key() -> None:
    key = SecretKey.generate()
    assert make_record(key, CHAIN, (("::1", 1),), NOW).record.peer_id == peer_id_of(key.public_key)
