"""EXPERIMENTAL, classical. Accounts of `crypto.elgamal` as the bytes that a chain keeps: opened, read, closed.

A new account is (g, h, g, amount * B + h): blinded with 1, so everybody sees what it holds until it is renewed for the
first time. To close one, its owner says what it holds and proves that, and that its secret is known.
"""

from typing import Final, NamedTuple

from crypto import elgamal, sigma
from crypto.elgamal import Account, decode_account
from crypto.errors import Reason, Refused
from crypto.rangeproof import BITS
from crypto.ristretto import ENCODING_SIZE, ORDER, Group, Point, decode_nonzero
from crypto.sigma import Statement
from crypto.transcript import CONTEXT_SIZE, Transcript, append_integer

KEY_SIZE: Final = 2 * ENCODING_SIZE
"""Bytes of an encoded key: g, h."""
CLOSING_SIZE: Final = 3 * ENCODING_SIZE
"""Bytes of a proof that an account may be closed: two equations, one secret."""
_CLOSING: Final = b"quisquis closing/1"


class Closing(NamedTuple):
    """That an account is closed, in clear.

    Attributes:
        chain_id: 32 bytes.
        account: encoded.
        sender: address that gets the amount.
        amount: all that it holds.
    """

    chain_id: bytes
    account: bytes
    sender: bytes
    amount: int


class Accounts:
    """Keys and accounts over one backend.

    Attributes:
        group: the backend.
    """

    def __init__(self, group: Group) -> None:
        self.group: Final = group

    def key(self, secret: int, base: int) -> bytes:
        """Return a key (g, h), encoded: g = base * B, h = secret * g. Neither scalar is zero."""
        if not secret % ORDER or not base % ORDER:
            raise ValueError("a zero among the scalars of a key makes one of its points the identity")
        g = self.group.multiply(base, self.group.base)
        return g.encode() + self.group.multiply(secret, g).encode()

    def renewed(self, key: bytes, rho: int) -> bytes:
        """Return a key of the same owner that looks like another one: what a payer does with a receiver's address.

        Raises:
            Refused: MALFORMED for a wrong length, BAD_POINT.
        """
        if not rho % ORDER:
            raise ValueError("a key times zero is none")
        return b"".join(self.group.multiply(rho, point).encode() for point in self._decode_key(key))

    def account(self, key: bytes, amount: int) -> bytes:
        """Return a new account (g, h, g, amount * B + h), encoded: everybody sees what it holds.

        Raises:
            Refused: MALFORMED for a wrong length; AMOUNT_OUT_OF_RANGE; BAD_POINT if the key, or the account with it,
                is none.
        """
        check_amounts(amount)
        g, h = self._decode_key(key)
        held = self.group.add(self.group.multiply(amount, self.group.base), h) if amount else h
        encoding = Account(g, h, g, held).encode()
        decode_account(self.group, encoding)
        return encoding

    def owns(self, secret: int, account: bytes) -> bool:
        """Tell whether a secret is that of an encoded account or key.

        Raises:
            Refused: MALFORMED for a wrong length, BAD_POINT.
        """
        g, h = self._decode_key(account[:KEY_SIZE])
        return self.group.multiply(secret, g).encode() == h.encode()

    def holds(self, secret: int, account: bytes, amount: int) -> bool:
        """Tell whether an encoded account of this secret holds an amount.

        Raises:
            Refused: MALFORMED for a wrong length, BAD_POINT.
        """
        held = elgamal.decrypt(self.group, secret, decode_account(self.group, account))
        return held.encode() == self.group.multiply(amount, self.group.base).encode()

    def decrypted(self, secret: int, account: bytes) -> Point:
        """Return v * B for the amount v of an encoded account: what `crypto.elgamal.ValueSearch` finds v from.

        Raises:
            Refused: MALFORMED for a wrong length, BAD_POINT.
        """
        return elgamal.decrypt(self.group, secret, decode_account(self.group, account))

    def _decode_key(self, key: bytes) -> tuple[Point, Point]:
        if len(key) != KEY_SIZE:
            raise Refused(Reason.MALFORMED, f"a key has {KEY_SIZE} bytes, not {len(key)}")
        return decode_nonzero(self.group, key[:ENCODING_SIZE]), decode_nonzero(self.group, key[ENCODING_SIZE:])

    def prove_closing(self, closing: Closing, secret: int, entropy: bytes) -> bytes:
        """Prove that one knows an account's secret, and that it holds what is said; `entropy`: 32 fresh random bytes.

        Raises:
            Refused: MALFORMED, BAD_POINT for what is no account; AMOUNT_OUT_OF_RANGE; UNPROVEN if secret or amount are
                others.
        """
        return sigma.prove(self.group, _closing_transcript(closing), self._closing(closing), (secret,), entropy)

    def verify_closing(self, closing: Closing, proof: bytes) -> None:
        """Verify a proof of `prove_closing`.

        Raises:
            Refused: MALFORMED, AMOUNT_OUT_OF_RANGE, BAD_POINT, BAD_SCALAR; UNPROVEN if it does not hold.
        """
        sigma.verify(self.group, sigma.Claim(_closing_transcript(closing), self._closing(closing), proof))

    def _closing(self, closing: Closing) -> Statement:
        return elgamal.decryption(self.group, decode_account(self.group, closing.account), closing.amount)


def check_amounts(*amounts: int) -> None:
    """Check that amounts are of 64 bits.

    Raises:
        Refused: AMOUNT_OUT_OF_RANGE.
    """
    if not all(0 <= amount < 1 << BITS for amount in amounts):
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, f"an amount is not in 0 .. 2^{BITS} - 1")


def _closing_transcript(closing: Closing) -> Transcript:
    if len(closing.chain_id) != CONTEXT_SIZE:
        raise Refused(Reason.MALFORMED, f"a chain id has {CONTEXT_SIZE} bytes")
    check_amounts(closing.amount)
    transcript = Transcript(_CLOSING, closing.chain_id)
    transcript.append(b"account", closing.account)
    transcript.append(b"sender", closing.sender)
    append_integer(transcript, b"amount", closing.amount)
    return transcript
