"""QuisQuis accounts: a public key that anybody may renew, and an amount under it that anybody may add to.

    key      (g, h) with h = secret * g
    amount   (c, d) = (k * g, v * B + k * h): ElGamal with v in the exponent, B the generator of RFC 9496
    update   (g, h) -> (rho * g, rho * h), then (c, d) -> (c + tau * g, d + v * B + tau * h) under the new key

Who has the secret finds v * B = d - secret * c, and v by search, so amounts have to be small. Nobody else can tell an
account from its updates while the decisional Diffie-Hellman problem is hard: not against a quantum computer, and what
is on a chain today it may read later. The owner authorises with `secret`, so that is classical, too.

Source: Fauzi, Meiklejohn, Mercer, Orlandi, "Quisquis" (ASIACRYPT 2019), sections 4.1 and 4.2. What is to be proven of
accounts is written down here as statements of `crypto.sigma`; that many were updated and moved, in `crypto.shuffle`.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from crypto.errors import Reason, Refused
from crypto.pedersen import Pedersen
from crypto.ristretto import ENCODING_SIZE, ORDER, Group, Point, decode_nonzero
from crypto.sigma import Row, Statement, Term

_PARTS: Final = 4
ACCOUNT_SIZE: Final = _PARTS * ENCODING_SIZE
"""Bytes of an encoded account: g, h, c, d."""


class Account(NamedTuple):
    """A key (g, h) and the hidden amount (c, d) under it."""

    g: Point
    h: Point
    c: Point
    d: Point

    def encode(self) -> bytes:
        """Return the 128 bytes of g, h, c, d."""
        return b"".join(point.encode() for point in self)


def decode_account(group: Group, encoding: bytes) -> Account:
    """Return the account of its encoding; none of its points is the identity.

    Raises:
        Refused: MALFORMED for a wrong length, BAD_POINT.
    """
    if len(encoding) != ACCOUNT_SIZE:
        raise Refused(Reason.MALFORMED, f"an account has {ACCOUNT_SIZE} bytes, not {len(encoding)}")
    parts = [encoding[at : at + ENCODING_SIZE] for at in range(0, ACCOUNT_SIZE, ENCODING_SIZE)]
    return Account(*(decode_nonzero(group, part) for part in parts))


def new_account(group: Group, secret: int, base: int, value: int, blinding: int) -> Account:
    """Return an account that holds a value; neither of the other scalars is zero.

    Args:
        group: the backend.
        secret: the owner's.
        base: r of g = r * B; any, and different for each account of an owner.
        value: the amount.
        blinding: k.
    """
    if not all(scalar % ORDER for scalar in (secret, base, blinding)):
        raise ValueError("a zero among the scalars of an account makes one of its points the identity")
    g = group.multiply(base, group.base)
    h = group.multiply(secret, g)
    hidden = group.add(group.multiply(value, group.base), group.multiply(blinding, h))
    return Account(g, h, group.multiply(blinding, g), hidden)


def update(group: Group, account: Account, rho: int, tau: int, value: int = 0) -> Account:
    """Return an account of the same owner that looks like another one, and holds `value` more.

    Args:
        group: the backend.
        account: to be updated.
        rho: what its key is multiplied by, not zero.
        tau: what its amount is blinded with, not zero.
        value: added to the amount; may be negative.
    """
    if not rho % ORDER or not tau % ORDER:
        raise ValueError("an update by zero would show that it is one")
    g, h = group.multiply(rho, account.g), group.multiply(rho, account.h)
    c = group.add(account.c, group.multiply(tau, g))
    d = group.add(account.d, group.multiply(tau, h))
    return Account(g, h, c, group.add(d, group.multiply(value, group.base)) if value else d)


def owns(group: Group, secret: int, account: Account) -> bool:
    """Tell whether a secret is that of an account: what a wallet asks of every one it sees."""
    return group.multiply(secret, account.g).encode() == account.h.encode()


def decrypt(group: Group, secret: int, account: Account) -> Point:
    """Return v * B for the amount v of an account, given its owner's secret."""
    return group.subtract(account.d, group.multiply(secret, account.c))


class ValueSearch:
    """Finds v from v * B: baby steps kept in a table, giant steps taken for each search (Shanks).

    A table of 2^16 takes some 10 MB, and a second to make; values below 2^32 then take at most 2^16 additions.
    """

    def __init__(self, group: Group, steps: int) -> None:
        """Make the table.

        Args:
            group: the backend.
            steps: its size.
        """
        if steps < 1:
            raise ValueError("a table has at least one step")
        self._group, self._steps = group, steps
        self._table: dict[bytes, int] = {}
        point = group.subtract(group.base, group.base)
        for value in range(steps):
            self._table[point.encode()] = value
            point = group.add(point, group.base)
        self._giant = point

    def find(self, point: Point, below: int) -> int:
        """Return v in 0 .. below - 1 with point = v * B.

        Args:
            point: what `decrypt` gave.
            below: where the search ends; it takes below / steps additions at most.

        Raises:
            Refused: CANNOT_OPEN if there is none: a larger or a negative value, or a wrong secret.
        """
        for base in range(0, below, self._steps):
            step = self._table.get(point.encode())
            if step is not None and base + step < below:
                return base + step
            point = self._group.subtract(point, self._giant)
        raise Refused(Reason.CANNOT_OPEN, f"the account holds no value below {below} under this secret")


def decryption(group: Group, account: Account, value: int) -> Statement:
    """State: I know the secret of this account, and it holds `value`. Witness: secret.

    With value 0 it is the proof that an account may be removed.
    """
    shown = group.subtract(account.d, group.multiply(value, group.base))
    return Statement((Row(account.h, (Term(0, account.g),)), Row(shown, (Term(0, account.c),))))


def updated(group: Group, before: Account, after: Account, value: int = 0) -> Statement:
    """State: `after` is `before`, updated, and holds `value` more. Witness: rho, tau.

    With value 0 it is the proof that an account of the set that hides the payer kept its balance.
    """
    d = group.subtract(after.d, before.d)
    shown = group.subtract(d, group.multiply(value, group.base)) if value else d
    return Statement((
        Row(after.g, (Term(0, before.g),)),
        Row(after.h, (Term(0, before.h),)),
        Row(group.subtract(after.c, before.c), (Term(1, after.g),)),
        Row(shown, (Term(1, after.h),)),
    ))


def same_hidden(group: Group, accounts: Sequence[Account]) -> Statement:
    """State: these hold one value, and I blinded them. Witness: v, then each k.

    For amounts to be paid, written under several keys by whoever pays; their owners' secrets are not needed.
    """
    rows: list[Row] = []
    for place, account in enumerate(accounts, 1):
        rows.append(Row(account.c, (Term(place, account.g),)))
        rows.append(Row(account.d, (Term(0, group.base), Term(place, account.h))))
    return Statement(tuple(rows))


def holds_committed(account: Account, bases: Pedersen, commitment: Point) -> Statement:
    """State: I know the secret of this account, and it holds what `commitment` commits to.

    Witness: secret, v, blinding of the commitment. A range proof over it then says that the account is not overdrawn.
    """
    return Statement((
        Row(account.h, (Term(0, account.g),)),
        Row(account.d, (Term(1, bases.value_base), Term(0, account.c))),
        Row(commitment, (Term(1, bases.value_base), Term(2, bases.blinding_base))),
    ))
