"""Messages of the proofs module. Each is for the epoch of the block that holds it, and says which that is."""

from typing import Annotated, Final

from msgspec import Meta

from crypto.space import MAX_K, MIN_K, proof_size
from crypto.vdf import FORM_SIZE
from state.encoding import Codec, Record
from state.types import Unsigned

CHALLENGES: Final = 64
"""Challenges to each plot in an epoch."""
NEEDED: Final = 16
"""Of them an answer proves at least this many. A full plot has proofs for about 39; fewer than 16 come once in 10^9."""


class Proof(Record, frozen=True):
    """A proof for one of the epoch's challenges to a plot."""

    number: Annotated[int, Meta(ge=0, le=CHALLENGES - 1)]
    proof: Annotated[bytes, Meta(min_length=proof_size(MIN_K), max_length=proof_size(MAX_K))]


class Space(Record, frozen=True):
    """proofs/space: the sender's plot `index` of size `k` answers. Proofs in rising order of their challenges."""

    epoch: Unsigned
    index: Unsigned
    k: Annotated[int, Meta(ge=MIN_K, le=MAX_K)]
    proofs: Annotated[tuple[Proof, ...], Meta(min_length=NEEDED, max_length=CHALLENGES)]


class Work(Record, frozen=True):
    """proofs/work: a nonce with which the sender's hashcash against the epoch's challenge has the bits asked for."""

    epoch: Unsigned
    nonce: Unsigned


class Time(Record, frozen=True):
    """proofs/time: the delay function's output over the epoch's seed, and the proof of it. Gives the next beacon."""

    epoch: Unsigned
    output: Annotated[bytes, Meta(min_length=FORM_SIZE, max_length=FORM_SIZE)]
    proof: Annotated[bytes, Meta(min_length=FORM_SIZE, max_length=FORM_SIZE)]


space_codec: Final = Codec(Space)
work_codec: Final = Codec(Work)
time_codec: Final = Codec(Time)
