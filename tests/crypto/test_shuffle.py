"""Shuffles of accounts: true ones are proven, and a prover who cheats in any one way is refused.

A cheat runs the real prover with its check of the witness switched off, so that all but the lie is as it should be.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import shuffle
from crypto.batch import find_faults
from crypto.elgamal import Account, decrypt, new_account, owns, update
from crypto.errors import Reason, Refused
from crypto.generators import chain
from crypto.group import available, load
from crypto.pedersen import pedersen
from crypto.ristretto import IDENTITY, ORDER, Group, Point
from crypto.shuffle import Moves, ShuffleClaim, Shuffles, shuffled
from crypto.transcript import FiatShamir, Transcript
from tests.crypto.refusals import reason_of

ENTROPY = b"e" * 32
SIZES = (2, 3, 9)


@pytest.fixture(params=available())
def group(request: pytest.FixtureRequest) -> Group:
    return load(str(request.param))


def begun() -> Transcript:
    return Transcript(b"test", bytes(32))


def secret_of(place: int) -> int:
    return 2**200 + place


def base_of(place: int) -> int:
    return 2**201 + 3 * place


def accounts(group: Group, count: int) -> list[Account]:
    """Return accounts that hold 10, 11, 12 ..."""
    return [new_account(group, secret_of(n), base_of(n), 10 + n, 2**202 + n) for n in range(count)]


def turned(count: int) -> Moves:
    """Return moves by which each account goes one place up."""
    return Moves(
        [(place - 1) % count for place in range(count)], [2**199 + 3 * n for n in range(count)],
        [2**203 + n for n in range(count)],
    )


def claim(
    inputs: Sequence[Account], outputs: Sequence[Account], proof: bytes, transcript: FiatShamir | None = None
) -> ShuffleClaim:
    before, after = ([account.encode() for account in side] for side in (inputs, outputs))
    return ShuffleClaim(transcript or begun(), before, after, proof)


def test_true_shuffles(group: Group) -> None:
    proofs, made = Shuffles(group), []
    for count in SIZES:
        inputs, moves = accounts(group, count), turned(count)
        outputs = shuffled(group, inputs, moves)
        proof = proofs.prove(begun(), inputs, outputs, moves, ENTROPY)
        assert len(proof) == proofs.proof_size(count) == 32 * (7 * count + 26)
        proofs.verify(claim(inputs, outputs, proof), ENTROPY)
        made.append((inputs, outputs, proof))
        for place, account in enumerate(outputs):
            source = moves.sources[place]
            assert owns(group, secret_of(source), account)
            held = group.multiply(10 + source, group.base)
            assert decrypt(group, secret_of(source), account).encode() == held.encode()
    proofs.verify_batch([claim(*one) for one in made], ENTROPY)
    proofs.verify_batch([], ENTROPY)


@settings(max_examples=5, deadline=None)
@given(st.permutations(range(5)), st.integers(1, ORDER - 1), st.binary(min_size=32, max_size=32))
def test_every_order(sources: list[int], rho: int, entropy: bytes) -> None:
    group = load(available()[0])
    moves = Moves(sources, [rho, rho, 5, 4, ORDER - 1], [7, 7, 8, 9, rho])
    proofs, inputs = Shuffles(group, 5), accounts(group, 5)
    outputs = shuffled(group, inputs, moves)
    proofs.verify(claim(inputs, outputs, proofs.prove(begun(), inputs, outputs, moves, entropy)), entropy)


def test_both_backends_make_the_same_bytes() -> None:
    made = set()
    for name in available():
        group, moves = load(name), turned(3)
        inputs = accounts(group, 3)
        made.add(Shuffles(group).prove(begun(), inputs, shuffled(group, inputs, moves), moves, ENTROPY))
    assert len(made) == 1


def test_wrong_witness_is_not_proven(group: Group) -> None:
    proofs, inputs, moves = Shuffles(group), accounts(group, 3), turned(3)
    outputs = shuffled(group, inputs, moves)
    for wrong in (moves._replace(rho=[5, 6, 7]), moves._replace(sources=[0, 1, 2]), moves._replace(tau=[1, 2, 3])):
        assert reason_of(proofs.prove, begun(), inputs, outputs, wrong, ENTROPY) is Reason.UNPROVEN


@pytest.mark.parametrize(
    "moves", [Moves([0, 0, 2], [1] * 3, [1] * 3), Moves([0, 1], [1] * 2, [1] * 2), Moves([1, 2, 3], [1] * 3, [1] * 3),
              Moves([0, 1, 2], [1] * 3, [1] * 2), Moves([0, 1, 2], [1] * 2, [1] * 3),
              Moves([0, 1, 2], [1, 0, 1], [1] * 3), Moves([0, 1, 2], [1] * 3, [1, ORDER, 1])]
)  # fmt: skip
def test_no_moves(group: Group, moves: Moves) -> None:
    with pytest.raises(ValueError):
        shuffled(group, accounts(group, 3), moves)


def test_proof_is_bound_to_its_context(group: Group) -> None:
    proofs, inputs, moves = Shuffles(group), accounts(group, 3), turned(3)
    outputs = shuffled(group, inputs, moves)
    proof = proofs.prove(begun(), inputs, outputs, moves, ENTROPY)
    for elsewhere in (Transcript(b"test", b"\x01" * 32), Transcript(b"tess", bytes(32))):
        assert reason_of(proofs.verify, claim(inputs, outputs, proof, elsewhere), ENTROPY) is Reason.UNPROVEN
    assert reason_of(proofs.verify, claim(outputs, inputs, proof), ENTROPY) is Reason.UNPROVEN


def test_one_false_proof_spoils_the_batch(group: Group) -> None:
    proofs, inputs, moves = Shuffles(group), accounts(group, 3), turned(3)
    outputs = shuffled(group, inputs, moves)
    proof = proofs.prove(begun(), inputs, outputs, moves, ENTROPY)
    sides = [outputs, outputs, outputs[::-1], outputs]
    found = find_faults(
        sides, lambda some: proofs.verify_batch([claim(inputs, after, proof) for after in some], ENTROPY)
    )
    assert [(fault.place, fault.refused.reason) for fault in found] == [(2, Reason.UNPROVEN)]


def test_sizes_are_counted_first(group: Group) -> None:
    proofs, inputs, moves = Shuffles(group, 4), accounts(group, 3), turned(3)
    outputs = shuffled(group, inputs, moves)
    proof = proofs.prove(begun(), inputs, outputs, moves, ENTROPY)
    true = claim(inputs, outputs, proof)
    wrong = [
        (true._replace(proof=proof[:-1]), Reason.MALFORMED),
        (true._replace(proof=proof + bytes(32)), Reason.MALFORMED),
        (true._replace(proof=b""), Reason.MALFORMED),
        (true._replace(outputs=true.outputs[:-1]), Reason.MALFORMED),
        (true._replace(inputs=true.inputs[:-1]), Reason.MALFORMED),
        (true._replace(inputs=[*true.inputs[:-1], b"\xff" * 127]), Reason.MALFORMED),
        (true._replace(inputs=true.inputs[:1], outputs=true.outputs[:1]), Reason.MALFORMED),
        (true._replace(inputs=[], outputs=[]), Reason.MALFORMED),
        (true._replace(inputs=[b"\xff"] * 5, outputs=[b"\xff"] * 5), Reason.TOO_LARGE),
    ]
    for spoilt, reason in wrong:
        assert reason_of(proofs.verify, spoilt, ENTROPY) is reason
    assert reason_of(proofs.prove, begun(), inputs[:1], outputs[:1], turned(1), ENTROPY) is Reason.MALFORMED


def test_every_point_and_scalar_is_checked(group: Group) -> None:
    proofs, inputs, moves = Shuffles(group), accounts(group, 2), turned(2)
    outputs = shuffled(group, inputs, moves)
    proof = proofs.prove(begun(), inputs, outputs, moves, ENTROPY)
    points = 20 * 32
    for at in range(0, len(proof), 32):
        scalar = int.from_bytes(proof[at : at + 32], "little")
        bad = IDENTITY if at < points else (scalar + ORDER).to_bytes(32, "little")
        given = claim(inputs, outputs, proof[:at] + bad + proof[at + 32 :])
        assert reason_of(proofs.verify, given, ENTROPY) is (Reason.BAD_POINT if at < points else Reason.BAD_SCALAR)
    first = inputs[0].encode()
    for at in range(0, 128, 32):
        given = claim(inputs, outputs, proof)
        given = given._replace(inputs=[first[:at] + IDENTITY + first[at + 32 :], *given.inputs[1:]])
        assert reason_of(proofs.verify, given, ENTROPY) is Reason.BAD_POINT
    nothing = group.subtract(group.base, group.base)
    poor = [inputs[0]._replace(d=nothing), inputs[1]]
    assert reason_of(proofs.prove, begun(), poor, shuffled(group, poor, moves), moves, ENTROPY) is Reason.BAD_POINT


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(min_size=126, max_size=129), max_size=3), st.lists(st.binary(max_size=128), max_size=3),
       st.one_of(st.binary(max_size=40), st.binary(min_size=1280, max_size=1280)))  # fmt: skip
def test_hostile_bytes_are_refused(inputs: list[bytes], outputs: list[bytes], proof: bytes) -> None:
    proofs = Shuffles(load(available()[0]), 2)
    assert reason_of(proofs.verify, ShuffleClaim(begun(), inputs, outputs, proof), ENTROPY) is not Reason.INTERNAL


def test_equations_of_the_protocol_document(group: Group) -> None:
    """The proof, verified line by line as docs/protocol.md writes it, without the code that verifies proofs."""
    n, inputs, moves = 4, accounts(group, 4), turned(4)
    outputs = shuffled(group, inputs, moves)
    proof = Shuffles(group).prove(begun(), inputs, outputs, moves, ENTROPY)
    parts = [proof[at : at + 32] for at in range(0, len(proof), 32)]
    transcript = begun()
    transcript.append(b"dom-sep", b"account shuffle v1")
    transcript.append(b"n", n.to_bytes(8, "little"))
    for side, several in ((b"input", inputs), (b"output", outputs)):
        for account in several:
            transcript.append(side, account.encode())
    drawn: dict[str, int] = {}
    points: dict[str, Point] = {}
    given = iter(parts)
    for names, challenges in (
        ("c_a c_tau c_q", "x"), ("c_b c_s c_k", "yzv"),
        ("d low high alpha beta gamma omega kappa A_g A_h A_c A_d M_1 M_0", "u"),
    ):  # fmt: skip
        for name in names.split():
            encoding = next(given)
            transcript.append(name.encode(), encoding)
            points[name] = group.decode(encoding)
        drawn |= {name: transcript.challenge(name.encode()) for name in challenges}
    x, y, z, v, u = (drawn[name] for name in "xyzvu")
    scalars = iter([int.from_bytes(part, "little") for part in given])
    d, p, b, tau, s, q, k = (list(islice(scalars, count)) for count in (n, n - 2, n, n, n, n, n))
    r_d, r_high, r_b, r_tau, r_s, r_q, r_k, r_m = scalars
    p = [d[0], *p, u * prod(y * j + x**j - z for j in range(1, n + 1))]
    bases = pedersen(group)

    def total(factors: Sequence[int], of: Sequence[Point]) -> Point:
        return group.multiscalar(group.vector(factors), of)

    def com(values: Sequence[int], blinding: int) -> Point:
        return total([blinding, *values], [bases.blinding_base, *chain(group, b"G", 0, len(values))])

    def committed(factors: dict[str, int]) -> Point:
        return total(list(factors.values()), [points[name] for name in factors])

    m = sum(v ** (i + 1) * (b[i] * tau[i] - u * s[i]) + v ** (n + i + 1) * (b[i] * q[i] - u * k[i]) for i in range(n))
    powers = [-u * x**j for j in range(1, n + 1)]
    before, after = zip(*inputs, strict=True), list(zip(*outputs, strict=True))
    g, h, c, dd = (total(powers, column) for column in before)
    minus = [-value for value in s]
    for left, right in (
        (committed({"c_a": u * y, "c_b": u, "d": 1}), com([value + u * z for value in d], r_d)),
        (committed({"low": 1, "high": u}), com([u * p[i + 1] - p[i] * d[i + 1] for i in range(n - 1)], r_high)),
        (committed({"c_b": u, "alpha": 1}), com(b, r_b)), (committed({"c_tau": u, "beta": 1}), com(tau, r_tau)),
        (committed({"c_s": u, "gamma": 1}), com(s, r_s)), (committed({"c_q": u, "omega": 1}), com(q, r_q)),
        (committed({"c_k": u, "kappa": 1}), com(k, r_k)), (committed({"M_1": u, "M_0": 1}), bases.commit(m, r_m)),
        (points["A_g"], group.add(total(k, after[0]), g)), (points["A_h"], group.add(total(k, after[1]), h)),
        (points["A_c"], group.add(total([*b, *minus], [*after[2], *after[0]]), c)),
        (points["A_d"], group.add(total([*b, *minus], [*after[3], *after[1]]), dd)),
    ):  # fmt: skip
        assert left.encode() == right.encode()


EQUATIONS = ("d", "steps", "b", "tau", "s", "q", "k", "product", "g", "h", "c", "d of accounts")
"""Of a proof, in the order of their weights."""


def failing(monkeypatch: pytest.MonkeyPatch, proofs: Shuffles, given: Callable[[], ShuffleClaim]) -> set[str]:
    """Return which equations of a proof do not hold; the first is weighed in beside each."""
    found: set[str] = set()
    for place, name in enumerate(EQUATIONS):
        weights = [int(other in (0, place)) for other in range(len(EQUATIONS))]
        with monkeypatch.context() as patched:
            patched.setattr(shuffle, "batch_weights", lambda *_, weights=weights: weights)
            try:
                proofs.verify(given(), ENTROPY)
            except Refused:
                found.add(name)
    return found


def cheat(
    monkeypatch: pytest.MonkeyPatch, group: Group, inputs: list[Account], outputs: list[Account], moves: Moves
) -> set[str]:
    """Return the equations that refuse a prover who believes these moves."""
    monkeypatch.setattr(shuffle, "check_witness", lambda *_: None)
    proofs = Shuffles(group)
    proof = proofs.prove(begun(), inputs, outputs, moves, ENTROPY)
    assert reason_of(proofs.verify, claim(inputs, outputs, proof), ENTROPY) is Reason.UNPROVEN
    return failing(monkeypatch, proofs, lambda: claim(inputs, outputs, proof))


def test_moved_value(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, moves = accounts(group, 4), turned(4)
    outputs = shuffled(group, inputs, moves)
    outputs[0] = outputs[0]._replace(d=group.add(outputs[0].d, group.base))
    outputs[1] = outputs[1]._replace(d=group.subtract(outputs[1].d, group.base))
    assert cheat(monkeypatch, group, inputs, outputs, moves) == {"d of accounts"}


def test_duplicate_in_the_permutation(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, moves = accounts(group, 4), turned(4)._replace(sources=[0, 1, 1, 3])
    outputs = [update(group, inputs[source], rho, tau) for source, rho, tau in zip(*moves, strict=True)]
    assert cheat(monkeypatch, group, inputs, outputs, moves) == {"steps", "g", "h", "c", "d of accounts"}


def test_account_under_another_rho(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, moves = accounts(group, 4), turned(4)
    outputs = shuffled(group, inputs, moves)
    outputs[2] = update(group, inputs[moves.sources[2]], moves.rho[2] + 1, moves.tau[2])
    assert cheat(monkeypatch, group, inputs, outputs, moves) == {"g", "h"}


def test_keys_of_a_known_ratio_have_another_one_afterwards(group: Group) -> None:
    """Else who has an account under a multiple of the key of another one would recognise that one, too."""
    inputs, ratio = accounts(group, 3), 12345
    key = group.multiply(ratio, inputs[0].g)
    inputs[1] = inputs[1]._replace(g=key, h=group.multiply(secret_of(1), key))
    outputs = shuffled(group, inputs, turned(3))
    mine = next(one for one in outputs if owns(group, secret_of(1), one))
    assert not any(group.multiply(ratio, one.g).encode() == mine.g.encode() for one in outputs)


def test_swapped_outputs(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, moves = accounts(group, 4), turned(4)
    outputs = shuffled(group, inputs, moves)
    outputs[:2] = outputs[1::-1]
    assert cheat(monkeypatch, group, inputs, outputs, moves) == {"g", "h", "c", "d of accounts"}


def test_another_owner(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, moves = accounts(group, 4), turned(4)
    outputs = shuffled(group, inputs, moves)
    thief = group.multiply(secret_of(9), outputs[0].g)
    tau = group.subtract(group.multiply(moves.tau[0], thief), group.multiply(moves.tau[0], outputs[0].h))
    outputs[0] = outputs[0]._replace(h=thief, d=group.add(outputs[0].d, tau))
    assert cheat(monkeypatch, group, inputs, outputs, moves) == {"h"}


def test_owner_of_two_accounts_cannot_make_up_for_money(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever knows two secrets finds s for which every equation on accounts holds; the product refuses it."""
    gain, inputs = 1_000_000, accounts(group, 2)
    moves = Moves([0, 1], [2**199 + 3, 2**199 + 9], [2**203, 2**204])
    outputs = shuffled(group, inputs, moves)
    outputs[0] = outputs[0]._replace(d=group.add(outputs[0].d, group.multiply(gain, group.base)))
    logarithms = [rho * base_of(place) for place, rho in enumerate(moves.rho)]

    def forged(b: Sequence[int], factors: Sequence[int]) -> list[int]:
        true = [left * right % ORDER for left, right in zip(b, factors, strict=True)]
        if factors != moves.tau:
            return true
        first = b[0] * gain * pow(logarithms[0] * (secret_of(0) - secret_of(1)), -1, ORDER)
        second = -first * logarithms[0] * pow(logarithms[1], -1, ORDER)
        return [(true[0] + first) % ORDER, (true[1] + second) % ORDER]

    assert cheat(monkeypatch, group, inputs, outputs, moves) == {"d of accounts"}
    monkeypatch.setattr(shuffle, "products", forged)
    assert cheat(monkeypatch, group, inputs, outputs, moves) == {"product"}


def test_owner_of_two_accounts_cannot_take_keys_apart(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with k: an account is given a key of another owner, and the product refuses it."""
    inputs, moves = accounts(group, 2), Moves([0, 1], [2**199 + 3, 2**199 + 9], [2**203, 2**204])
    outputs = shuffled(group, inputs, moves)
    bases, thief = [base_of(place) for place in range(2)], secret_of(9)
    moved = group.multiply(bases[0] * moves.rho[0], group.base)
    stolen = group.multiply(thief, moved)
    blinding = group.multiply(moves.tau[0], group.subtract(stolen, outputs[0].h))
    outputs[0] = outputs[0]._replace(h=stolen, d=group.add(outputs[0].d, blinding))
    after = [bases[place] * rho for place, rho in enumerate(moves.rho)]

    def forged(b: Sequence[int], factors: Sequence[int]) -> list[int]:
        true = [left * right % ORDER for left, right in zip(b, factors, strict=True)]
        if factors == moves.tau:
            return true
        # k_0 g'_0 + k_1 g'_1 and k_0 h'_0 + k_1 h'_1 are to be what they were: two equations, two unknowns.
        g = sum(power * base for power, base in zip(b, bases, strict=True))
        h = sum(power * base * secret_of(place) for place, (power, base) in enumerate(zip(b, bases, strict=True)))
        first = (h - secret_of(1) * g) * pow((thief - secret_of(1)) * after[0], -1, ORDER)
        second = (g - first * after[0]) * pow(after[1], -1, ORDER)
        return [first % ORDER, second % ORDER]

    assert cheat(monkeypatch, group, inputs, outputs, moves) == {"h"}
    monkeypatch.setattr(shuffle, "products", forged)
    assert cheat(monkeypatch, group, inputs, outputs, moves) == {"product"}
