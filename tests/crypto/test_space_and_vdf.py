"""Proofs of space and of time: real ones hold, and no bytes at all do anything but be refused."""

import random

import chiavdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import Reason, Refused
from crypto.space import MAX_K, MIN_K, check_space, plot_id, proof_size, space_challenge
from crypto.vdf import FORM_SIZE, GENERATOR, beacon_of, check_time, time_challenge

CHALLENGE = time_challenge(bytes(32), 0, bytes(32))
ITERATIONS = 2000


def evaluate(bits: int) -> tuple[bytes, bytes]:
    both = chiavdf.prove(CHALLENGE, GENERATOR, bits, ITERATIONS, "")
    return both[:FORM_SIZE], both[FORM_SIZE:]


OUTPUTS = {bits: evaluate(bits) for bits in (256, 512, 1024)}


@pytest.mark.parametrize("bits", OUTPUTS)
def test_a_real_output_holds_for_its_challenge_size_and_iterations_alone(bits: int) -> None:
    output, proof = OUTPUTS[bits]
    check_time(CHALLENGE, bits, ITERATIONS, output, proof)
    for challenge, size, iterations, shown, shown_proof in (
        (bytes(32), bits, ITERATIONS, output, proof),
        (CHALLENGE, bits - 8, ITERATIONS, output, proof),
        (CHALLENGE, bits, ITERATIONS - 1, output, proof),
        (CHALLENGE, bits, 0, output, proof),
        (CHALLENGE, bits, -1, output, proof),
        (CHALLENGE[:-1], bits, ITERATIONS, output, proof),
        (CHALLENGE, 4096, ITERATIONS, output, proof),
        (CHALLENGE, bits + 1, ITERATIONS, output, proof),
        (CHALLENGE, bits, ITERATIONS, output[:-1], proof),
        (CHALLENGE, bits, ITERATIONS, output, proof + b"\x00"),
        (CHALLENGE, bits, ITERATIONS, proof, output),
        (CHALLENGE, bits, ITERATIONS, bytes(FORM_SIZE), proof),
        (CHALLENGE, bits, ITERATIONS, GENERATOR, proof),
    ):
        with pytest.raises(Refused) as caught:
            check_time(challenge, size, iterations, shown, shown_proof)
        assert caught.value.reason is Reason.BAD_TIME_PROOF


@pytest.mark.parametrize(("bits", "step"), [(256, 1), (512, 3), (1024, 13)])
def test_there_is_one_way_to_write_an_output(bits: int, step: int) -> None:
    """The library itself takes some others: spare bits of a form's last byte."""
    output, proof = OUTPUTS[bits]
    for place in range(0, 8 * FORM_SIZE, step):
        changed = bytearray(output)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(Refused):
            check_time(CHALLENGE, bits, ITERATIONS, bytes(changed), proof)
    assert len({beacon_of(one) for one, _ in OUTPUTS.values()}) == len(OUTPUTS)


@settings(max_examples=40)
@given(st.binary(min_size=FORM_SIZE, max_size=FORM_SIZE), st.integers(0, 2**32), st.sampled_from(sorted(OUTPUTS)))
def test_hostile_forms_are_refused_and_do_no_harm(noise: bytes, seed: int, bits: int) -> None:
    output, proof = OUTPUTS[bits]
    rng = random.Random(seed)
    mixed = bytearray(output)
    for _ in range(rng.randint(1, 8)):
        mixed[rng.randrange(FORM_SIZE)] = rng.randrange(256)
    shown = bytes(mixed)
    for one, other in ((noise, proof), (output, noise), (noise, noise), (shown, proof)):
        if (one, other) != (output, proof):
            with pytest.raises(Refused):
                check_time(CHALLENGE, bits, ITERATIONS, one, other)


@settings(max_examples=200)
@given(st.integers(MIN_K, MAX_K), st.integers(0, 2**32), st.sampled_from(["noise", "zero", "ones", "repeat"]))
def test_hostile_space_proofs_are_refused_and_do_no_harm(k: int, seed: int, kind: str) -> None:
    rng = random.Random(seed)
    size = proof_size(k)
    proof = {
        "noise": rng.randbytes(size), "zero": bytes(size), "ones": b"\xff" * size,
        "repeat": rng.randbytes(8) * (size // 8),
    }[kind]  # fmt: skip
    plot = plot_id(bytes(32), bytes(32), seed)
    with pytest.raises(Refused) as caught:
        check_space(plot, k, space_challenge(bytes(32), plot, seed % 64), proof)
    assert caught.value.reason is Reason.BAD_SPACE


def test_space_proofs_of_impossible_sizes_never_reach_the_library() -> None:
    plot = bytes(32)
    for k, size in ((17, 136), (51, 408), (0, 0), (-1, 0), (18, 143), (18, 152), (18, 0), (2**40, 144)):
        with pytest.raises(Refused) as caught:
            check_space(plot, k, plot, bytes(size))
        assert caught.value.reason is Reason.BAD_SPACE
    for wrong in (b"", bytes(31), bytes(33)):
        for one, other in ((wrong, plot), (plot, wrong)):
            with pytest.raises(Refused):
                check_space(one, 18, other, bytes(144))


def test_plots_and_challenges_are_bound_to_chain_owner_index_beacon_and_number() -> None:
    one, other = bytes(32), b"\x01" * 32
    ids = {plot_id(chain, owner, index) for chain in (one, other) for owner in (one, other) for index in (0, 1)}
    assert len(ids) == 8
    asked = {space_challenge(beacon, plot, number) for beacon in (one, other) for plot in ids for number in (0, 63)}
    assert len(asked) == 32
