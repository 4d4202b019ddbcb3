"""Anonymous accounts as bytes: keys, new accounts, who owns and holds what, and closing one in clear."""


import pytest

from crypto.accounts import CLOSING_SIZE, Accounts, Closing
from crypto.elgamal import new_account, update
from crypto.errors import Reason
from crypto.group import available, load
from crypto.ristretto import IDENTITY, ORDER
from tests.crypto.refusals import reason_of

ENTROPY = bytes(range(32))
SECRETS = (2**200, 2**200 + 1)


@pytest.fixture(params=available())
def system(request: pytest.FixtureRequest) -> Accounts:
    return Accounts(load(request.param))


def test_keys(system: Accounts) -> None:
    key = system.key(SECRETS[0], 5)
    other = system.renewed(key, 2**190)
    assert system.owns(SECRETS[0], key) and system.owns(SECRETS[0], other) and key != other
    assert not system.owns(SECRETS[1], other)
    account = system.account(other, 77)
    assert account[:64] == other and system.owns(SECRETS[0], account)
    assert system.holds(SECRETS[0], account, 77) and not system.holds(SECRETS[0], account, 76)
    assert not system.holds(SECRETS[1], account, 77)
    assert system.decrypted(SECRETS[0], system.account(key, 1)).encode() == load(available()[0]).base.encode()
    for secret, base in ((0, 5), (5, ORDER)):
        with pytest.raises(ValueError):
            system.key(secret, base)
    with pytest.raises(ValueError):
        system.renewed(key, 0)
    for raw, reason in ((key[:63], Reason.MALFORMED), (key[:32] + IDENTITY, Reason.BAD_POINT),
                        (b"\xff" * 64, Reason.BAD_POINT)):  # fmt: skip
        assert reason_of(system.account, raw, 1) is reason
        assert reason_of(system.renewed, raw, 1) is reason
        assert reason_of(system.owns, 1, raw) is reason
    assert reason_of(system.account, key, -1) is Reason.AMOUNT_OUT_OF_RANGE
    assert reason_of(system.account, key, 2**64) is Reason.AMOUNT_OUT_OF_RANGE


def test_key_that_takes_the_amount_away(system: Accounts) -> None:
    """With h = -amount * B the account would have the identity in it, and nobody could ever use it."""
    assert reason_of(system.account, system.key(ORDER - 7, 1), 7) is Reason.BAD_POINT


def test_closing(system: Accounts) -> None:
    account, other = (
        update(system.group, new_account(system.group, secret, 5, 71, 7), 2**203, 2**204).encode()
        for secret in SECRETS
    )
    closing = Closing(b"\x01" * 32, account, b"\x02" * 32, 71)
    proof = system.prove_closing(closing, SECRETS[0], ENTROPY)
    assert len(proof) == CLOSING_SIZE
    for judge in (Accounts(load(name)) for name in available()):
        judge.verify_closing(closing, proof)
    for changed, reason in (
        (closing._replace(chain_id=bytes(32)), Reason.UNPROVEN), (closing._replace(sender=bytes(32)), Reason.UNPROVEN),
        (closing._replace(account=other), Reason.UNPROVEN), (closing._replace(amount=70), Reason.UNPROVEN),
        (closing._replace(amount=0), Reason.UNPROVEN), (closing._replace(amount=-1), Reason.AMOUNT_OUT_OF_RANGE),
        (closing._replace(amount=2**64), Reason.AMOUNT_OUT_OF_RANGE),
        (closing._replace(chain_id=b""), Reason.MALFORMED),
        (closing._replace(account=account[:127]), Reason.MALFORMED),
        (closing._replace(account=IDENTITY + account[32:]), Reason.BAD_POINT),
    ):  # fmt: skip
        assert reason_of(system.verify_closing, changed, proof) is reason
    for wrong, reason in (
        (b"", Reason.MALFORMED), (proof[:-1], Reason.MALFORMED), (proof[:64] + b"\xff" * 32, Reason.BAD_SCALAR),
        (IDENTITY + proof[32:], Reason.BAD_POINT), (proof[:64] + bytes(32), Reason.UNPROVEN),
    ):  # fmt: skip
        assert reason_of(system.verify_closing, closing, wrong) is reason
    assert reason_of(system.prove_closing, closing, SECRETS[1], ENTROPY) is Reason.UNPROVEN
    assert reason_of(system.prove_closing, closing._replace(amount=72), SECRETS[0], ENTROPY) is Reason.UNPROVEN


def test_closing_of_what_nobody_blinded(system: Accounts) -> None:
    """A new account, and one that holds nothing, are closed like any other."""
    for amount in (0, 7):
        closing = Closing(bytes(32), system.account(system.key(9, 9), amount), b"", amount)
        system.verify_closing(closing, system.prove_closing(closing, 9, ENTROPY))
