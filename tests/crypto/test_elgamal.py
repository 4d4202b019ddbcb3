"""QuisQuis accounts: what an update keeps and hides, what their owner reads, and what is proven of them."""


import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import elgamal, sigma
from crypto.elgamal import ACCOUNT_SIZE, Account, ValueSearch, decode_account, decrypt, new_account, owns, update
from crypto.errors import Reason, Refused
from crypto.group import available, load
from crypto.pedersen import pedersen
from crypto.ristretto import IDENTITY, ORDER, Group
from crypto.sigma import Claim, Statement
from crypto.transcript import Transcript
from tests.crypto.refusals import reason_of

ENTROPY = b"e" * 32
SECRET = 2**200 + 7


@pytest.fixture(params=available())
def group(request: pytest.FixtureRequest) -> Group:
    return load(str(request.param))


def begun() -> Transcript:
    return Transcript(b"test", bytes(32))


def holds(group: Group, statement: Statement, witness: list[int], stated: Statement) -> bool:
    """Tell whether a proof of one statement is accepted for another."""
    proof = sigma.prove(group, begun(), statement, witness, ENTROPY)
    try:
        sigma.verify(group, Claim(begun(), stated, proof))
    except Refused as refused:
        assert refused.reason is Reason.UNPROVEN
        return False
    return True


def test_owner_reads_the_value(group: Group) -> None:
    account = new_account(group, SECRET, 5, 1000, 2**190)
    assert owns(group, SECRET, account) and not owns(group, SECRET + 1, account)
    search = ValueSearch(group, 16)
    assert search.find(decrypt(group, SECRET, account), 1001) == 1000
    assert reason_of(search.find, decrypt(group, SECRET, account), 1000) is Reason.CANNOT_OPEN
    assert reason_of(search.find, decrypt(group, SECRET + 1, account), 2000) is Reason.CANNOT_OPEN
    overdrawn = update(group, account, 3, 4, -1001)
    assert reason_of(search.find, decrypt(group, SECRET, overdrawn), 2000) is Reason.CANNOT_OPEN


def test_search_finds_every_value_of_its_range(group: Group) -> None:
    search = ValueSearch(group, 4)
    for value in range(19):
        assert search.find(group.multiply(value, group.base), 19) == value
    assert reason_of(search.find, group.base, 0) is Reason.CANNOT_OPEN


@settings(max_examples=10, deadline=None)
@given(st.integers(1, ORDER - 1), st.integers(1, ORDER - 1), st.integers(-10, 10))
def test_updates_keep_owner_and_add_up(rho: int, tau: int, value: int) -> None:
    group = load(available()[0])
    account = new_account(group, SECRET, 5, 20, 9)
    after = update(group, update(group, account, rho, tau, value), tau, rho)
    assert owns(group, SECRET, after)
    assert decrypt(group, SECRET, after).encode() == group.multiply(20 + value, group.base).encode()
    assert not {part.encode() for part in account} & {part.encode() for part in after} or rho * tau % ORDER == 1


@pytest.mark.parametrize("scalars", [(0, 5, 9), (1, ORDER, 9), (1, 1, 0)])
def test_zero_scalars_are_no_accounts(group: Group, scalars: tuple[int, int, int]) -> None:
    secret, base, blinding = scalars
    with pytest.raises(ValueError):
        new_account(group, secret, base, 20, blinding)


@pytest.mark.parametrize("scalars", [(0, 1), (1, ORDER)])
def test_zero_scalars_are_no_updates(group: Group, scalars: tuple[int, int]) -> None:
    with pytest.raises(ValueError):
        update(group, new_account(group, SECRET, 5, 20, 9), *scalars)


def test_both_backends_make_the_same_bytes() -> None:
    made = {update(load(name), new_account(load(name), 3, 5, 7, 9), 11, 13, 15).encode() for name in available()}
    assert len(made) == 1


def test_encoding(group: Group) -> None:
    encoding = new_account(group, SECRET, 5, 20, 9).encode()
    assert len(encoding) == ACCOUNT_SIZE and decode_account(group, encoding).encode() == encoding
    assert reason_of(decode_account, group, encoding[:-1]) is Reason.MALFORMED
    assert reason_of(decode_account, group, encoding + b"\0") is Reason.MALFORMED
    for at in range(0, ACCOUNT_SIZE, 32):
        assert reason_of(decode_account, group, encoding[:at] + IDENTITY + encoding[at + 32 :]) is Reason.BAD_POINT
        assert reason_of(decode_account, group, encoding[:at] + b"\xff" * 32 + encoding[at + 32 :]) is Reason.BAD_POINT


def test_decryption(group: Group) -> None:
    account = new_account(group, SECRET, 5, 20, 9)
    true = elgamal.decryption(group, account, 20)
    assert holds(group, true, [SECRET], true)
    assert not holds(group, true, [SECRET], elgamal.decryption(group, account, 21))
    wrong = elgamal.decryption(group, account, 21)
    assert reason_of(sigma.prove, group, begun(), wrong, [SECRET], ENTROPY) is Reason.UNPROVEN
    other = update(group, account, 3, 4)
    assert not holds(group, true, [SECRET], elgamal.decryption(group, other, 20))
    empty = elgamal.decryption(group, new_account(group, SECRET, 5, 0, 9), 0)
    assert holds(group, empty, [SECRET], empty)


def test_updated(group: Group) -> None:
    before = new_account(group, SECRET, 5, 20, 9)
    after, richer = update(group, before, 3, 4), update(group, before, 3, 4, 1)
    true = elgamal.updated(group, before, after)
    assert holds(group, true, [3, 4], true)
    added = elgamal.updated(group, before, richer, 1)
    assert holds(group, added, [3, 4], added)
    for stated in (
        elgamal.updated(group, before, richer), elgamal.updated(group, after, before),
        elgamal.updated(group, before, after, 1),
        elgamal.updated(group, before, update(group, new_account(group, SECRET + 1, 5, 20, 9), 3, 4)),
    ):
        assert not holds(group, true, [3, 4], stated)
        assert reason_of(sigma.prove, group, begun(), stated, [3, 4], ENTROPY) is Reason.UNPROVEN
    unchanged = elgamal.updated(group, before, before)
    assert reason_of(sigma.prove, group, begun(), unchanged, [1, 0], ENTROPY) is Reason.BAD_POINT


def test_same_hidden(group: Group) -> None:
    accounts = [new_account(group, SECRET + n, 5 + n, 20, 9 + n) for n in range(3)]
    true = elgamal.same_hidden(group, accounts)
    assert holds(group, true, [20, 9, 10, 11], true)
    other = [*accounts[:2], new_account(group, SECRET + 2, 7, 21, 11)]
    assert not holds(group, true, [20, 9, 10, 11], elgamal.same_hidden(group, other))
    stated = elgamal.same_hidden(group, other)
    assert reason_of(sigma.prove, group, begun(), stated, [20, 9, 10, 11], ENTROPY) is Reason.UNPROVEN


def test_holds_committed(group: Group) -> None:
    bases, account = pedersen(group), new_account(group, SECRET, 5, 20, 9)
    account = Account(*update(group, account, 3, 4))
    true = elgamal.holds_committed(account, bases, bases.commit(20, 77))
    assert holds(group, true, [SECRET, 20, 77], true)
    assert not holds(group, true, [SECRET, 20, 77], elgamal.holds_committed(account, bases, bases.commit(21, 77)))
    wrong = elgamal.holds_committed(account, bases, bases.commit(21, 77))
    assert reason_of(sigma.prove, group, begun(), wrong, [SECRET, 21, 77], ENTROPY) is Reason.UNPROVEN
