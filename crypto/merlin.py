"""Merlin transcripts (merlin.cool, version 1.0) on STROBE-128, in plain Python.

This is the form in which the Bulletproofs of others were made: published vectors are checked with it. A permutation
takes a millisecond here, so our own proofs use `crypto.transcript.Transcript`.

Sources: FIPS 202, section 3.2 (Keccak-p); Hamburg, "The STROBE protocol framework", version 1.0.2, sections 6 and 7.
"""

from itertools import pairwise
from typing import Final, Self

from crypto.ristretto import UNIFORM_SIZE, scalar_from_uniform

_RATE: Final = 166
"""STROBE-128: 200 bytes of state, less 32 of capacity and 2 of padding."""
_STATE_SIZE: Final = 200
_INBOUND, _APPLICATION, _CIPHER, _META, _KEY = 1, 2, 4, 16, 32
_LENGTH_SIZE: Final = 4
_MASK: Final = 2**64 - 1


def _round_constants() -> tuple[int, ...]:
    """FIPS 202, algorithm 5: bits of a linear feedback register of eight bits."""
    register, constants = 1, []
    for _ in range(24):
        constant = 0
        for place in range(7):
            if register & 1:
                constant |= 1 << (1 << place) - 1
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return tuple(constants)


def _walk() -> tuple[tuple[int, int], ...]:
    """Return (lane, rotation) in the order in which rho and pi move the lanes, from lane 1 back to it."""
    x, y, steps = 1, 0, []
    for step in range(24):
        steps.append((x + 5 * y, (step + 1) * (step + 2) // 2 % 64))
        x, y = y, (2 * x + 3 * y) % 5
    return tuple(steps)


_CONSTANTS: Final = _round_constants()
_WALK: Final = _walk()


def _rotate(lane: int, places: int) -> int:
    return (lane << places | lane >> 64 - places) & _MASK


def keccak(state: bytes) -> bytes:
    """Return Keccak-f[1600] of 200 bytes."""
    lanes = [int.from_bytes(state[at : at + 8], "little") for at in range(0, _STATE_SIZE, 8)]
    for constant in _CONSTANTS:
        parity = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
        for x in range(5):
            change = parity[x - 1] ^ _rotate(parity[(x + 1) % 5], 1)
            for row in range(0, 25, 5):
                lanes[row + x] ^= change
        moved = lanes.copy()
        for (lane, places), (target, _) in pairwise((*_WALK, _WALK[0])):
            moved[target] = _rotate(lanes[lane], places)
        for row in range(0, 25, 5):
            for x in range(5):
                lanes[row + x] = moved[row + x] ^ (~moved[row + (x + 1) % 5] & moved[row + (x + 2) % 5])
        lanes[0] ^= constant
    return b"".join((lane & _MASK).to_bytes(8, "little") for lane in lanes)


class Merlin:
    """A transcript whose challenges are those of the Rust crate `merlin`."""

    __slots__ = ("_begin", "_position", "_state")

    def __init__(self, label: bytes) -> None:
        head = bytes([1, _RATE + 2, 1, 0, 1, 96]) + b"STROBEv1.0.2"
        self._state = bytearray(keccak(head.ljust(_STATE_SIZE, b"\0")))
        self._position = self._begin = 0
        self._operate(_META | _APPLICATION)
        self._absorb(b"Merlin v1.0")
        self.append(b"dom-sep", label)

    def append(self, label: bytes, message: bytes) -> None:
        """Write a message."""
        self._frame(label, len(message))
        self._operate(_APPLICATION)
        self._absorb(message)

    def challenge_bytes(self, label: bytes, count: int) -> bytes:
        """Draw bytes that depend on everything written so far."""
        self._frame(label, count)
        self._operate(_INBOUND | _APPLICATION | _CIPHER)
        drawn = bytearray()
        for _ in range(count):
            drawn.append(self._state[self._position])
            self._state[self._position] = 0
            self._step()
        return bytes(drawn)

    def challenge(self, label: bytes) -> int:
        """Draw a scalar that depends on everything written so far."""
        return scalar_from_uniform(self.challenge_bytes(label, UNIFORM_SIZE))

    def fork(self) -> Self:
        """Return a transcript that goes its own way from here on."""
        other = object.__new__(type(self))
        other._state, other._position, other._begin = self._state.copy(), self._position, self._begin
        return other

    def _frame(self, label: bytes, length: int) -> None:
        self._operate(_META | _APPLICATION)
        self._absorb(label + length.to_bytes(_LENGTH_SIZE, "little"))

    def _operate(self, flags: int) -> None:
        previous, self._begin = self._begin, self._position + 1
        self._absorb(bytes([previous, flags]))
        if flags & (_CIPHER | _KEY) and self._position:
            self._permute()

    def _absorb(self, data: bytes) -> None:
        for byte in data:
            self._state[self._position] ^= byte
            self._step()

    def _step(self) -> None:
        self._position += 1
        if self._position == _RATE:
            self._permute()

    def _permute(self) -> None:
        self._state[self._position] ^= self._begin
        self._state[self._position + 1] ^= 4
        self._state[_RATE + 1] ^= 0x80
        self._state = bytearray(keccak(bytes(self._state)))
        self._position = self._begin = 0
