"""The API's own answers, over records that were proven.

The function that a node answers a question with (`node.api.state_answers`) is run here over a reader that knows only
records whose proofs were checked against a verified header. Where it asks for another record, that record's proof is
fetched and the function is run again. So one table serves the node and the light client, and every query that reads
records by their keys, of whatever module, has a form that carries proofs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from consensus.types import Header
from crypto.errors import Reason, Refused
from node.api.methods import BY_ASK, Ask, GetProof
from node.api.state_answers import STATE_ANSWERS
from node.light.source import Source
from state.genesis import Genesis
from state.proof import StateProof, proof_codec, verify_state_proof
from state.types import Height

MAX_KEYS: Final = 512
"""Records that one answer may follow from."""
Evaluate = Callable[["ProvenRecords"], Any]


class MissingRecord(Exception):
    """An answer needs a record that was not proven yet. Never leaves the light client.

    Attributes:
        key: raw key of the record.
    """

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.key = key


class ProvenRecords:
    """A `state.changes.Reader` over proven records.

    Attributes:
        read: keys that were asked for.
    """

    def __init__(self, values: Mapping[bytes, bytes | None]) -> None:
        self._values = values
        self.read: set[bytes] = set()

    def get(self, key: bytes) -> bytes | None:
        """Return the record's value, or None if it is proven that there is none. Raises MissingRecord."""
        if key not in self._values:
            raise MissingRecord(key)
        self.read.add(key)
        return self._values[key]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an answer came to: the API's answer, or its refusal, which is proven just as well."""

    value: Any
    refused: Refused | None

    def unwrap(self) -> Any:
        """Return the answer. Raises the refusal."""
        if self.refused is not None:
            raise self.refused
        return self.value


@dataclass(frozen=True, slots=True)
class Proven:
    """An outcome and the records that it follows from."""

    outcome: Outcome
    proofs: Mapping[bytes, StateProof]


def has_proof(ask: Ask[Any]) -> bool:
    """Tell whether a question's answer follows from the state."""
    return BY_ASK[type(ask)].name in STATE_ANSWERS


def evaluation(ask: Ask[Any], height: Height, genesis: Genesis) -> Evaluate:
    """Return what answers a question from the records after a block.

    Raises:
        Refused: NOT_VERIFIABLE if the answer does not follow from the state.
    """
    name = BY_ASK[type(ask)].name
    function = STATE_ANSWERS.get(name)
    if function is None:
        raise Refused(Reason.NOT_VERIFIABLE, f"nothing in the state proves an answer to {name}")
    return lambda records: function(records, height, ask, genesis)


def evaluate(function: Evaluate, values: Mapping[bytes, bytes | None]) -> tuple[Outcome, set[bytes]]:
    """Return what an answer comes to, and the keys that it read. Raises MissingRecord."""
    records = ProvenRecords(values)
    try:
        outcome = Outcome(function(records), None)
    except Refused as refused:
        outcome = Outcome(None, refused)
    return outcome, records.read


async def prove(source: Source, header: Header, function: Evaluate) -> Proven:
    """Fetch and check the records that an answer follows from, until it does.

    Args:
        source: an untrusted node.
        header: verified; its state root is that after the block before it.
        function: from `evaluation`.

    Raises:
        Refused: BAD_PROOF, MALFORMED, NOT_CANONICAL, TOO_LARGE; WRONG_HEIGHT; NOT_AVAILABLE if the node no longer
            proves records of that height.
    """
    values: dict[bytes, bytes | None] = {}
    proofs: dict[bytes, StateProof] = {}
    for _ in range(MAX_KEYS):
        try:
            outcome, _read = evaluate(function, values)
        except MissingRecord as missing:
            key = missing.key
            proofs[key] = await fetch_proof(source, key, Height(header.height - 1))
            try:
                values[key] = verify_state_proof(header.state_root, key, proofs[key])
            except Refused as refused:
                detail = f"{source.url} sent a wrong proof: {refused.detail}; ask another node"
                raise Refused(refused.reason, detail) from None
            continue
        return Proven(outcome, proofs)
    raise Refused(Reason.TOO_LARGE, f"the answer follows from more than {MAX_KEYS} records")


async def fetch_proof(source: Source, key: bytes, height: Height) -> StateProof:
    """Return a node's proof of a record after a block, unchecked."""
    answer = await source.ask(GetProof(key=key.hex(), height=str(height)))
    return proof_codec.decode(answer.proof)
