import pickle
from functools import partial
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from crypto import falcon, hpke
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.keys import KeyTree, SealingKey, SecretKey, new_phrase
from crypto.schemes import Scheme, verify

# BIP-39's own test vector for 32 zero bytes of entropy, with the passphrase TREZOR.
PHRASE = "abandon " * 23 + "art"
SEED = (
    "bda85446c68413707090a52022edd26a1c9462295029f2e60cd7c4f2bbd3097170af7a4d73245cafa9c3cca8d561a7c3"
    "de6f5d4a10be8ed2a5e608d68f92fcc8"
)
TREE = KeyTree.from_phrase(PHRASE, "TREZOR")


def reason_of_phrase(phrase: str) -> Reason:
    with pytest.raises(Refused) as refusal:
        KeyTree.from_phrase(phrase)
    return refusal.value.reason


def test_the_seed_is_that_of_bip39() -> None:
    assert TREE.seed.hex() == SEED


def test_derivation_is_the_documented_formula() -> None:
    tree = bytes.fromhex(SEED)
    seed = digest(Label.KEY_DERIVE, tree + bytes([1, 1]) + (7).to_bytes(4, "big"))
    public, _ = falcon.generate_from_seed(digest(Label.KEY_DERIVE, seed + bytes([1, 1])))
    assert (TREE.account(7).seed, TREE.account(7).public_key) == (seed, b"\x01" + public)
    seed = digest(Label.KEY_DERIVE, tree + bytes([1, 2]) + bytes(4))
    public, _ = falcon.generate_from_seed(digest(Label.KEY_DERIVE, seed + bytes([2, 1])))
    ed25519 = SigningKey(digest(Label.KEY_DERIVE, seed + bytes([2, 2]))).verify_key
    assert TREE.account(0, Scheme.HYBRID).public_key == b"\x02" + bytes(ed25519) + public
    assert TREE.consensus(3).seed == digest(Label.KEY_DERIVE, tree + bytes([2, 1]) + (3).to_bytes(4, "big"))
    assert TREE.node(3).seed == digest(Label.KEY_DERIVE, tree + bytes([3, 1]) + (3).to_bytes(4, "big"))
    assert TREE.sealing(3).secret == digest(Label.KEY_DERIVE, tree + bytes([4, 0]) + (3).to_bytes(4, "big"))


def test_the_tree_is_pinned() -> None:
    # With other keys here, phrases in use would no longer give back their money.
    assert TREE.account().address.hex() == "df4ec0c73743748d989917ed0c7a0040a3398bd6c397321d71c6c763231607ba"


def test_a_new_phrase_gives_back_every_key() -> None:
    phrase = new_phrase()
    assert len(phrase.split()) == 24
    first, again = KeyTree.from_phrase(phrase), KeyTree.from_phrase(f"  {phrase.upper()}\n")
    for index in (0, 5):
        assert first.account(index).seed == again.account(index).seed
        assert first.consensus(index).seed == again.consensus(index).seed
        assert first.node(index).seed == again.node(index).seed
        assert first.sealing(index).secret == again.sealing(index).secret
    hybrid = again.account(0, Scheme.HYBRID)
    assert verify(first.account(0, Scheme.HYBRID).public_key, b"m", hybrid.sign(b"m"))
    public, sealed = first.sealing().public_key, hpke.seal(first.sealing().public_key, b"info", b"payload")
    assert public == again.sealing().public_key
    assert hpke.open_sealed(again.sealing().secret, b"info", sealed) == b"payload"


def test_no_two_keys_of_a_tree_share_a_secret() -> None:
    keys = [TREE.account(0), TREE.account(1), TREE.account(0, Scheme.HYBRID), TREE.consensus(), TREE.node()]
    for one, other in combinations(keys, 2):
        assert one.public_key[-1793:] != other.public_key[-1793:]
        assert one.address != other.address


def test_a_passphrase_gives_another_tree() -> None:
    assert KeyTree.from_phrase(PHRASE) != TREE


@pytest.mark.parametrize(
    "phrase",
    [
        "",
        "abandon " * 23,
        "abandon " * 24,
        "abandon " * 25,
        "abandon " * 11 + "about",
        "abandon " * 23 + "zebr",
        "abandon " * 23 + "árt",
    ],
)
def test_other_words_are_refused(phrase: str) -> None:
    assert reason_of_phrase(phrase) is Reason.BAD_PHRASE


WORDS = st.lists(st.sampled_from(["abandon", "zoo", "art", "", "\ud800"]), max_size=26)


@given(st.text(max_size=60) | WORDS.map(" ".join))
def test_any_text_is_a_phrase_or_refused_by_name(text: str) -> None:
    try:
        KeyTree.from_phrase(text)
    except Refused as refusal:
        assert refusal.reason is Reason.BAD_PHRASE


@pytest.mark.parametrize("index", [-1, 2**32])
def test_an_index_out_of_range_is_refused(index: int) -> None:
    for derive in (TREE.account, TREE.consensus, TREE.node, TREE.sealing):
        with pytest.raises(Refused) as refusal:
            derive(index)
        assert refusal.value.reason is Reason.BAD_ARGUMENT


def test_a_multisig_key_has_no_secret() -> None:
    for make in (partial(SecretKey.generate, Scheme.MULTISIG), partial(TREE.account, 0, Scheme.MULTISIG)):
        with pytest.raises(Refused) as refusal:
            make()
        assert refusal.value.reason is Reason.BAD_KEY


@pytest.mark.parametrize("scheme", [Scheme.FALCON, Scheme.HYBRID])
def test_bytes_round_trip(scheme: Scheme) -> None:
    key = SecretKey.generate(scheme)
    again = SecretKey.from_bytes(key.to_bytes())
    assert (again, again.address, len(key.to_bytes())) == (key, key.address, 33)
    assert verify(key.public_key, b"m", again.sign(b"m"))
    assert pickle.loads(pickle.dumps(key)).to_bytes() == key.to_bytes()


@settings(max_examples=60)
@given(st.binary(max_size=40) | st.sampled_from([b"\x03", b"\x00", b"\xff"]).map(lambda byte: byte.ljust(33)))
def test_any_secret_bytes_are_a_key_or_refused_by_name(raw: bytes) -> None:
    try:
        assert SecretKey.from_bytes(raw).to_bytes() == raw
    except Refused as refusal:
        assert refusal.reason is Reason.BAD_KEY
        assert len(raw) != 33 or raw[0] not in (1, 2)


@pytest.mark.parametrize("key", [TREE, TREE.account(), TREE.account(0, Scheme.HYBRID), TREE.sealing()])
def test_secrets_do_not_appear_in_text(key: KeyTree | SecretKey | SealingKey) -> None:
    secret = key.secret if isinstance(key, SealingKey) else key.seed
    for text in (repr(key), str(key), f"{key}"):
        assert len(text) < 80
        assert secret[:4].hex() not in text and repr(secret[:8])[2:-1] not in text
