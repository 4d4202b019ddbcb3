"""Long chains of headers for light clients, made in memory with the production code in a moment.

Every block is empty, so the state stays that of the genesis. A commit is signed when somebody asks for it: a light
client asks for a few of ten thousand. The headers name the empty commit as the one before, which is the one thing that
a light client never looks at and a full node would refuse.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from apps.chain.tip import genesis_tip
from consensus.block import make_header
from consensus.commit import make_commit
from consensus.effects import Signer
from consensus.light import LightBlock
from consensus.types import (
    EMPTY_COMMIT,
    Header,
    Tip,
    ValidatorSet,
    Vote,
    VoteKind,
    vote_sign_bytes,
)
from crypto.errors import Reason, Refused
from node.api import methods, shapes
from node.api.state_answers import height_from
from node.api.text import Decimal, to_json
from node.chain import Chain, open_chain
from state.encoding import encode
from state.genesis import Genesis, genesis_hash
from state.memory import MemoryStore
from state.types import Address, Height, Round

INTERVAL: Final = 1000
"""ms from one block to the next."""
Signing = Callable[[Height, ValidatorSet], Sequence[int]]
"""Which validators of a height's set sign its block, by index."""


def everybody(_height: Height, validators: ValidatorSet) -> Sequence[int]:
    """All sign."""
    return range(len(validators))


@dataclass(frozen=True)
class Forge:
    """What chains are made of.

    Attributes:
        genesis: whose validators vote first.
        signers: of every validator of any set, by address.
        changes: from a height on this set votes; it is named by the header before.
        signing: who signs.
        interval: ms between blocks.
    """

    genesis: Genesis
    signers: Mapping[Address, Signer]
    changes: Mapping[int, ValidatorSet] = field(default_factory=dict)
    signing: Signing = everybody
    interval: int = INTERVAL

    def chain(self, length: int) -> "ForgedChain":
        """Return a chain of so many blocks."""
        state = open_chain(MemoryStore(), self.genesis)
        tip = genesis_tip(state.store, genesis_hash(self.genesis), self.genesis.time, state.tip.state_root)
        grown = self._grow(tip._replace(next_validators=self.changes.get(2, tip.next_validators)), length)
        return ForgedChain(self, state, *grown)

    def fork(
        self, chain: "ForgedChain", height: int, length: int, *, state: Chain | None = None,
        validators: ValidatorSet | None = None,
    ) -> "ForgedChain":
        """Return another chain that shares all blocks below a height with one, and differs from there on.

        Args:
            chain: the first chain.
            height: of the first block that differs: it is a moment later.
            length: of the other chain.
            state: what it says the state is; by default the same.
            validators: who votes on it from that height on, whatever the header before says; by default the same.
        """
        state = chain.state if state is None else state
        voting = chain.sets[height - 1] if validators is None else validators
        before = chain.headers[height - 2]
        tip = Tip(
            chain_id=before.chain_id, height=before.height, block_id=before.block_id, time=before.time + 1,
            commit=EMPTY_COMMIT, state_root=state.tip.state_root, receipts_root=before.receipts_root,
            beacon=before.beacon, previous_validators=chain.sets[height - 2], validators=voting,
            next_validators=self.changes.get(height + 1, voting), priorities=(),
            needs_proof_block=False, version=before.version,
        )
        headers, sets = self._grow(tip, length - height + 1)
        return ForgedChain(self, state, chain.headers[: height - 1] + headers, chain.sets[: height - 1] + sets)

    def _grow(self, tip: Tip, count: int) -> tuple[list[Header], list[ValidatorSet]]:
        headers: list[Header] = []
        sets: list[ValidatorSet] = []
        for _ in range(count):
            proposer = tip.validators.validators[tip.height % len(tip.validators)].address
            header = make_header(
                tip, time=tip.time + self.interval, proposer=proposer, wtxids=(), last_commit=EMPTY_COMMIT
            )
            headers.append(header)
            sets.append(tip.validators)
            tip = tip._replace(
                height=header.height, block_id=header.block_id, time=header.time, validators=tip.next_validators,
                next_validators=self.changes.get(header.height + 2, tip.next_validators),
            )
        return headers, sets


@dataclass
class ForgedChain:
    """Headers from 1 on, and who votes on each. Commits are signed once and kept.

    Attributes:
        forge: what it was made of.
        state: what the state is after every block.
        headers: by height, the first at 0.
        sets: in the same order.
        signed: how many signatures were made.
    """

    forge: Forge
    state: Chain
    headers: list[Header]
    sets: list[ValidatorSet]
    signed: int = 0
    _blocks: dict[int, LightBlock] = field(default_factory=dict)

    @property
    def height(self) -> Height:
        """Of the last block."""
        return Height(len(self.headers))

    def until(self, height: int) -> "ForgedChain":
        """Return the chain as it was when that block was its last."""
        return ForgedChain(self.forge, self.state, self.headers[:height], self.sets[:height], 0, self._blocks)

    def light_block(self, height: int) -> LightBlock:
        """Return a block's header, commit and validators. Raises Refused(NOT_AVAILABLE)."""
        if not 1 <= height <= self.height:
            raise Refused(Reason.NOT_AVAILABLE, f"there is no block {height} here")
        if height not in self._blocks:
            self._blocks[height] = self._sign(self.headers[height - 1], self.sets[height - 1])
        return self._blocks[height]

    def _sign(self, header: Header, validators: ValidatorSet) -> LightBlock:
        message = vote_sign_bytes(header.chain_id, VoteKind.PRECOMMIT, header.height, Round(0), header.block_id)
        votes = []
        for index in self.forge.signing(header.height, validators):
            signature = self.forge.signers[validators.validators[index].address].sign(message)
            votes.append(Vote(VoteKind.PRECOMMIT, header.height, Round(0), header.block_id, index, signature))
            self.signed += 1
        return LightBlock(header, make_commit(header.height, Round(0), header.block_id, votes), validators)


class ForgedNode:
    """A node's API over a forged chain: what a light client asks.

    Args:
        url: how it is known.
        chain: what it has.

    Attributes:
        chain: may be replaced: then it changes its mind.
        asked: how many questions it answered.
        bytes: of all answers, as JSON on the wire.
        reports: evidence that it was handed.
        bend: called with each question and its answer; what it returns is said instead.
    """

    def __init__(self, url: str, chain: ForgedChain) -> None:
        self.url = url
        self.chain = chain
        self.asked = 0
        self.bytes = 0
        self.reports: list[bytes] = []
        self.bend: Callable[[Any, Any], Any] = lambda _ask, answer: answer

    async def ask(self, ask: Any) -> Any:
        """Answer as a node does. Raises Refused."""
        answer = self.bend(ask, self._answer(ask))
        self.asked += 1
        self.bytes += len(to_json(answer))
        return answer

    def _answer(self, ask: Any) -> Any:
        match ask:
            case methods.GetLightBlock(height=text):
                block = self.chain.light_block(self._height(text))
                return shapes.LightBlockView(height=Decimal(block.height), light_block=encode(block))
            case methods.GetHeaders(first=text, limit=limit):
                first = self._height(text)
                raws = [encode(header) for header in self.chain.headers[first - 1 : first - 1 + limit]]
                return shapes.HeadersView(first=Decimal(first), headers=raws)
            case methods.GetGenesis():
                genesis = self.chain.forge.genesis
                return shapes.GenesisView(chain_id=genesis_hash(genesis).hex(), document={}, raw=encode(genesis))
            case methods.GetProof(key=key, height=text):
                proof = self.chain.state.store.prove(bytes.fromhex(key), Height(0))
                return shapes.ProofView(height=Decimal(self._height(text)), key=key, proof=encode(proof))
            case methods.ReportEvidence(evidence=raw):
                self.reports.append(raw)
                return shapes.Reported(validator="", height=Decimal(0), known=False)
        raise Refused(Reason.UNKNOWN_METHOD, f"a forged node does not answer {type(ask).__name__}")

    def _height(self, text: str) -> Height:
        wanted = height_from(text)
        return self.chain.height if wanted is None else wanted
