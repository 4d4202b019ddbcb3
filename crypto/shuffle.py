"""EXPERIMENTAL. A proof that accounts are others, renewed and in another order, without telling which is which.

Output i is input p(i) for a permutation p: its key times a secret rho_i, its amount blinded anew with a secret tau_i,
under the new key. No amount and no owner changes.

Each key has a rho of its own. Did all share one, as in the Rust code of the original, then the ratio of two keys would
outlive the shuffle, and anybody can make keys of a known ratio to others: who has an account under k times the g of
another account, with a secret of his own, would find his among the outputs and so the other one.

The argument puts known ones together: Bayer and Groth, "Efficient Zero-Knowledge Argument for Correctness of a
Shuffle" (EUROCRYPT 2012), with a matrix of one row, and its single value product argument (section 5.3); for the
accounts of Fauzi et al., "Quisquis" (ASIACRYPT 2019). This composition is no published proof and nobody has audited
it. It is sound while discrete logarithms are hard, and hides while the decisional Diffie-Hellman problem is.

    commit to a_i = p(i), counted from 1, to tau_i, to q_i = 1 / rho_i;        draw x
    commit to b_i = x^(a_i), to s_i = b_i * tau_i, to k_i = b_i * q_i;         draw y, z, v
    commit to the nonces of all that follows;                                  draw u; answer

What makes it a proof, for inputs (g, h, c, d)_j and outputs (g', h', c', d')_i:

* product of (y a_i + b_i - z) = product of (y j + x^j - z): the pairs (a_i, b_i) are the (j, x^j), in some order. So a
  is a permutation, fixed before x.
* s_i = b_i tau_i and k_i = b_i q_i for each i, weighted with powers of v. This cannot be left out: whoever owns two
  accounts could choose s to make up for any error, as their keys span everything that the equations are about.
* sum k_i g'_i = sum x^j g_j, the same for h; sum b_i c'_i - sum s_i g'_i = sum x^j c_j, the same for d and h'. As a,
  tau and q are fixed before x, these hold for each power of x alone: output by output, q_i g'_i = g_p(i), and so on. No
  g_j is the identity, so no q_i is zero.

A proof for n accounts has 32 * (7 n + 26) bytes: points in the order of `_MOVES`, `_POWERS` and `_NONCES`, then scalars
in that of `_Answers`.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from crypto.elgamal import ACCOUNT_SIZE, Account, decode_account, update
from crypto.equation import Bases, Equation, all_hold
from crypto.errors import Reason, Refused
from crypto.generators import chain
from crypto.pedersen import Pedersen, pedersen
from crypto.ristretto import (
    ENCODING_SIZE,
    IDENTITY,
    ORDER,
    Group,
    Point,
    decode_nonzero,
    decode_scalar,
    encode_scalar,
    invert_all,
)
from crypto.transcript import FiatShamir, append_integer, append_point, batch_weights, secret_scalars

FEWEST: Final = 2
MOST: Final = 64
"""Accounts in one shuffle: 15 kB of proof, 16 kB of accounts."""
_DOMAIN: Final = b"account shuffle v1"
_MOVES: Final = (b"c_a", b"c_tau", b"c_q")
_POWERS: Final = (b"c_b", b"c_s", b"c_k")
_NONCES: Final = (
    b"d", b"low", b"high", b"alpha", b"beta", b"gamma", b"omega", b"kappa", b"A_g", b"A_h", b"A_c", b"A_d",
    b"M_1", b"M_0",
)
_POINTS: Final = len(_MOVES) + len(_POWERS) + len(_NONCES)
_SINGLE: Final = 8
"""Answers that are not one for each account: blindings."""
_EQUATIONS: Final = 12
_BLINDINGS: Final = 6 + 10  # of the six commitments, and of ten among the nonces


class Moves(NamedTuple):
    """What only the shuffler knows.

    Attributes:
        sources: for each output, the place of its input, from 0.
        rho: for each output, what its key is multiplied by, not zero.
        tau: for each output, what its amount is blinded with, not zero.
    """

    sources: Sequence[int]
    rho: Sequence[int]
    tau: Sequence[int]


class ShuffleClaim(NamedTuple):
    """A proof to verify: a new transcript, begun with what the proof is bound to, encoded accounts, the proof."""

    transcript: FiatShamir
    inputs: Sequence[bytes]
    outputs: Sequence[bytes]
    proof: bytes


class _Challenges(NamedTuple):
    x: int
    y: int
    z: int
    v: int
    u: int


class _Answers(NamedTuple):
    """Scalars of a proof: lists for the accounts, then single ones."""

    d: list[int]
    products: list[int]
    b: list[int]
    tau: list[int]
    s: list[int]
    q: list[int]
    k: list[int]
    single: list[int]


class _Opened(NamedTuple):
    """A decoded proof with its challenges."""

    inputs: list[Account]
    outputs: list[Account]
    points: list[Point]
    answers: _Answers
    drawn: _Challenges


def shuffled(group: Group, inputs: Sequence[Account], moves: Moves) -> list[Account]:
    """Return the outputs.

    Raises:
        ValueError: the moves are no permutation, or one of their scalars is zero.
    """
    if sorted(moves.sources) != list(range(len(inputs))):
        raise ValueError(f"{list(moves.sources)} is no order of {len(inputs)} accounts")
    return [update(group, inputs[source], rho, tau) for source, rho, tau in zip(*moves, strict=True)]


class Shuffles:
    """Makes and verifies proofs of shuffles with one backend."""

    def __init__(self, group: Group, most: int = MOST) -> None:
        """Derive the generators; they are the first of those for range proofs.

        Args:
            group: the backend.
            most: accounts in a shuffle at most.
        """
        self._group, self._most = group, most
        self._pedersen: Final[Pedersen] = pedersen(group)
        self._bases = chain(group, b"G", 0, most)

    def proof_size(self, count: int) -> int:
        """Return the bytes of a proof for so many accounts.

        Raises:
            Refused: MALFORMED for fewer than two; TOO_LARGE.
        """
        if count < FEWEST:
            raise Refused(Reason.MALFORMED, f"a shuffle has at least {FEWEST} accounts, not {count}")
        if count > self._most:
            raise Refused(Reason.TOO_LARGE, f"{count} accounts in a shuffle; at most {self._most}")
        return ENCODING_SIZE * (_POINTS + 7 * count - 2 + _SINGLE)

    def prove(
        self, transcript: FiatShamir, inputs: Sequence[Account], outputs: Sequence[Account], moves: Moves,
        entropy: bytes,
    ) -> bytes:
        """Return a proof. Not hardened against who measures time or power.

        Args:
            transcript: a new one, begun with what the proof is bound to.
            inputs: the accounts before.
            outputs: `shuffled(group, inputs, moves)`.
            moves: what is proven to exist.
            entropy: 32 fresh random bytes.

        Raises:
            Refused: UNPROVEN if the outputs are others; BAD_POINT if an identity is in an account; as `proof_size`.
        """
        self.proof_size(len(inputs))
        check_witness(self._group, inputs, outputs, moves)
        _begin(transcript, _encoded(inputs), _encoded(outputs))
        return self._prove(transcript, inputs, outputs, moves, entropy)

    def verify(self, claim: ShuffleClaim, entropy: bytes) -> None:
        """Verify one proof; `entropy` as in `verify_batch`.

        Raises:
            Refused: MALFORMED, TOO_LARGE, BAD_POINT, BAD_SCALAR; UNPROVEN if it does not hold.
        """
        self.verify_batch((claim,), entropy)

    def verify_batch(self, claims: Sequence[ShuffleClaim], entropy: bytes) -> None:
        """Verify many proofs as one sum with random weights.

        Args:
            claims: shuffles of any allowed number of accounts each, each with its own transcript.
            entropy: 32 random bytes that nobody knew when the proofs were made.

        Raises:
            Refused: as `verify`. UNPROVEN says that at least one does not hold, not which.
        """
        for claim in claims:
            self._check_sizes(claim)
        opened = [self._open(claim) for claim in claims]
        weights = batch_weights([claim.transcript for claim in claims], entropy, _EQUATIONS * len(claims))
        # The first equation of a proof has the weight of the proof alone.
        equations = [
            self._equation(proof, [1, *weights[at + 1 : at + _EQUATIONS]])
            for proof, at in zip(opened, range(0, len(weights), _EQUATIONS), strict=True)
        ]
        if not all_hold(Bases(self._pedersen, self._bases, ()), equations, weights[::_EQUATIONS]):
            raise Refused(Reason.UNPROVEN, "a shuffle proof does not hold")

    def _check_sizes(self, claim: ShuffleClaim) -> None:
        """Count before anything is computed."""
        size = self.proof_size(len(claim.inputs))
        if len(claim.outputs) != len(claim.inputs):
            raise Refused(Reason.MALFORMED, f"{len(claim.outputs)} accounts come out of {len(claim.inputs)}")
        if len(claim.proof) != size:
            raise Refused(Reason.MALFORMED, f"a proof for {len(claim.inputs)} accounts has {size} bytes")
        if any(len(account) != ACCOUNT_SIZE for account in (*claim.inputs, *claim.outputs)):
            raise Refused(Reason.MALFORMED, f"an account has {ACCOUNT_SIZE} bytes")

    def _prove(
        self, transcript: FiatShamir, inputs: Sequence[Account], outputs: Sequence[Account], moves: Moves,
        entropy: bytes,
    ) -> bytes:
        group, count, commit = self._group, len(inputs), self._commit
        a, tau, q = [source + 1 for source in moves.sources], list(moves.tau), invert_all(moves.rho)
        nonces = iter(secret_scalars(transcript, [*a, *tau, *q], entropy, _BLINDINGS + 7 * count - 2))
        r_a, r_tau, r_q, r_b, r_s, r_k = islice(nonces, 6)
        first = [commit(a, r_a), commit(tau, r_tau), commit(q, r_q)]
        x = _draw(transcript, _MOVES, first, b"x")[0]
        powers = group.powers(x, count + 1).integers()
        b = [powers[place] for place in a]
        s, k = products(b, tau), products(b, q)
        second = [commit(b, r_b), commit(s, r_s), commit(k, r_k)]
        y, z, v = _draw(transcript, _POWERS, second, b"y", b"z", b"v")

        d = [(y * place + power - z) % ORDER for place, power in zip(a, b, strict=True)]
        partial = [d[0]]
        for factor in d[1:]:
            partial.append(partial[-1] * factor % ORDER)
        e, delta = _take(nonces, count), [0, *_take(nonces, count - 2), 0]
        delta[0] = e[0]
        alpha, beta, gamma, omega, kappa = (_take(nonces, count) for _ in range(5))
        r_e, r_low, r_high, r_alpha, r_beta, r_gamma, r_omega, r_kappa, r_m1, r_m0 = nonces
        steps = range(count - 1)
        low = [-delta[i] * e[i + 1] for i in steps]
        high = [delta[i + 1] - d[i + 1] * delta[i] - partial[i] * e[i + 1] for i in steps]
        weights = group.powers(v, 2 * count).scale(v).integers()
        pairs = list(zip(weights, b * 2, alpha * 2, tau + q, beta + omega, gamma + kappa, strict=True))
        m_1 = sum(w * (left * q_right + q_left * right - q_both) for w, left, q_left, right, q_right, q_both in pairs)
        m_0 = sum(w * q_left * q_right for w, _, q_left, _, q_right, _ in pairs)
        third = [
            commit(e, r_e), commit(low, r_low), commit(high, r_high), commit(alpha, r_alpha), commit(beta, r_beta),
            commit(gamma, r_gamma), commit(omega, r_omega), commit(kappa, r_kappa),
            *self._announce(outputs, alpha, gamma, kappa),
            self._pedersen.commit(m_1, r_m1).encode(), self._pedersen.commit(m_0, r_m0).encode(),
        ]
        u = _draw(transcript, _NONCES, third, b"u")[0]
        secrets = [*d, *partial[1:-1], *b, *tau, *s, *q, *k, y * r_a + r_b, r_high, r_b, r_tau, r_s, r_q, r_k, r_m1]
        masks = [
            *e, *delta[1:-1], *alpha, *beta, *gamma, *omega, *kappa,
            r_e, r_low, r_alpha, r_beta, r_gamma, r_omega, r_kappa, r_m0,
        ]
        answers = [encode_scalar(u * secret + mask) for secret, mask in zip(secrets, masks, strict=True)]
        return b"".join([*first, *second, *third, *answers])

    def _announce(
        self, outputs: Sequence[Account], alpha: Sequence[int], gamma: Sequence[int], kappa: Sequence[int]
    ) -> Iterator[bytes]:
        """Yield the four equations on accounts, evaluated on nonces: alpha for b, gamma for s, kappa for k."""
        group, after = self._group, list(zip(*outputs, strict=True))
        for key in (0, 1):
            yield group.multiscalar(group.vector(kappa), after[key]).encode()
        both = group.vector(alpha).join(group.vector(gamma).scale(-1))
        for key in (0, 1):
            yield group.multiscalar(both, (*after[2 + key], *after[key])).encode()

    def _commit(self, values: Sequence[int], blinding: int) -> bytes:
        points = [self._pedersen.blinding_base, *self._bases[: len(values)]]
        return self._group.multiscalar(self._group.vector([blinding, *values]), points).encode()

    def _open(self, claim: ShuffleClaim) -> _Opened:
        """Decode a proof and draw its challenges; afterwards the transcript holds all of it."""
        transcript, group, count = claim.transcript, self._group, len(claim.inputs)
        parts = [claim.proof[at : at + ENCODING_SIZE] for at in range(0, len(claim.proof), ENCODING_SIZE)]
        scalars = iter([decode_scalar(part) for part in parts[_POINTS:]])
        points = [decode_nonzero(group, part) for part in parts[:_POINTS]]
        inputs, outputs = (
            [decode_account(group, account) for account in accounts] for accounts in (claim.inputs, claim.outputs)
        )
        _begin(transcript, claim.inputs, claim.outputs)
        end = len(_MOVES) + len(_POWERS)
        x = _draw(transcript, _MOVES, parts[: len(_MOVES)], b"x")[0]
        y, z, v = _draw(transcript, _POWERS, parts[len(_MOVES) : end], b"y", b"z", b"v")
        u = _draw(transcript, _NONCES, parts[end:_POINTS], b"u")[0]
        for part in parts[_POINTS:]:
            transcript.append(b"answer", part)
        lists = [_take(scalars, size) for size in (count, count - 2, *[count] * 5, _SINGLE)]
        return _Opened(inputs, outputs, points, _Answers(*lists), _Challenges(x, y, z, v, u))

    def _equation(self, proof: _Opened, weights: Sequence[int]) -> Equation:
        """Return the twelve equations of a proof, each times its weight, as one sum.

        Every one is "what was committed, times u, and the nonce's commitment, less what was answered".
        """
        group, answers, (x, y, z, v, u) = self._group, proof.answers, proof.drawn
        count = len(answers.d)
        w_d, w_steps, w_b, w_tau, w_s, w_q, w_k, w_m, *w_accounts = weights
        powers = group.powers(x, count).scale(x)
        partial = [answers.d[0], *answers.products, u * _product(powers.integers(), y, z) % ORDER]
        steps = [u * partial[i + 1] - partial[i] * answers.d[i + 1] for i in range(count - 1)]
        d, b, tau, s, q, k = (
            group.vector(values) for values in (answers.d, answers.b, answers.tau, answers.s, answers.q, answers.k)
        )
        shared = d.shift(u * z).scale(-w_d) + group.vector([*steps, 0]).scale(-w_steps)
        shared = shared + b.scale(-w_b) + tau.scale(-w_tau) + s.scale(-w_s) + q.scale(-w_q) + k.scale(-w_k)
        m = group.powers(v, 2 * count).scale(v).inner((b * tau + s.scale(-u)).join(b * q + k.scale(-u)))
        blinding = sum(weight * answer for weight, answer in zip(weights[:_SINGLE], answers.single, strict=True))
        committed = [
            w_d * u * y, w_tau * u, w_q * u,  # c_a, c_tau, c_q
            w_d * u + w_b * u, w_s * u, w_k * u,  # c_b, c_s, c_k
            w_d, w_steps, w_steps * u, w_b, w_tau, w_s, w_q, w_k,  # d, low, high, alpha, beta, gamma, omega, kappa
            *(-weight for weight in w_accounts), w_m * u, w_m,
        ]
        w_g, w_h, w_c, w_dd = w_accounts
        after = [k.scale(w_g) + s.scale(-w_c), k.scale(w_h) + s.scale(-w_dd), b.scale(w_c), b.scale(w_dd)]
        before = [powers.scale(-weight * u) for weight in w_accounts]
        own = [scalar for column in (*after, *before) for scalar in column.integers()]
        points = [account[part] for side in (proof.outputs, proof.inputs) for part in range(4) for account in side]
        none = group.vector(())
        return Equation(-w_m * m, -blinding, shared, none, committed + own, proof.points + points)


def check_witness(group: Group, inputs: Sequence[Account], outputs: Sequence[Account], moves: Moves) -> None:
    """Check that outputs are what the moves make of inputs.

    Raises:
        Refused: UNPROVEN.
    """
    expected = [account.encode() for account in shuffled(group, inputs, moves)]
    if expected != [account.encode() for account in outputs]:
        raise Refused(Reason.UNPROVEN, "the outputs are not what the moves make of the inputs")


def products(b: Sequence[int], moves: Sequence[int]) -> list[int]:
    """Return s for tau and k for q: b_i times it, for each output."""
    return [left * right % ORDER for left, right in zip(b, moves, strict=True)]


def _encoded(accounts: Sequence[Account]) -> list[bytes]:
    if any(point.encode() == IDENTITY for account in accounts for point in account):
        raise Refused(Reason.BAD_POINT, "the identity stands in an account")
    return [account.encode() for account in accounts]


def _begin(transcript: FiatShamir, inputs: Sequence[bytes], outputs: Sequence[bytes]) -> None:
    """Write the whole statement."""
    transcript.append(b"dom-sep", _DOMAIN)
    append_integer(transcript, b"n", len(inputs))
    for label, accounts in ((b"input", inputs), (b"output", outputs)):
        for account in accounts:
            transcript.append(label, account)


def _draw(transcript: FiatShamir, labels: Sequence[bytes], points: Sequence[bytes], *wanted: bytes) -> list[int]:
    """Write points, then draw challenges.

    Raises:
        Refused: BAD_POINT for an identity; UNPROVEN if a challenge is zero.
    """
    for label, point in zip(labels, points, strict=True):
        append_point(transcript, label, point)
    drawn = [transcript.challenge(label) for label in wanted]
    if not all(drawn):
        raise Refused(Reason.UNPROVEN, "a challenge of the shuffle proof is zero")
    return drawn


def _take(scalars: Iterator[int], count: int) -> list[int]:
    return list(islice(scalars, count))


def _product(powers: Sequence[int], y: int, z: int) -> int:
    """Return the product of y j + x^j - z over j from 1."""
    total = 1
    for place, power in enumerate(powers, 1):
        total = total * (y * place + power - z) % ORDER
    return total
