"""The light client: an answer of one untrusted node, with everything that proves it, checked here.

`fetch` asks a node for the way from the root of trust to a recent header and for proofs against that header;
`verify_answer` is pure and judges such an answer, fetched now or recorded. The root of trust is the chain id alone
while the genesis is younger than its own trust period (the genesis document names the first validators), else a
height and block id younger than that, learned from somebody whom the user trusts.

The state after block h stands in header h + 1, and so do the receipts of block h.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from apps.chain.rules import genesis_validators
from consensus.commit import signed_power, verify_commit
from consensus.effects import Verifier
from consensus.light import (
    LightBlock,
    TrustParams,
    check_first,
    check_light_block,
    light_block_codec,
    middle_height,
    verify_light,
)
from consensus.types import Header
from crypto.errors import Reason, Refused
from crypto.merkle import NEXUS
from node.api.methods import GetGenesis, GetLightBlock, GetProof, GetReceipt, GetStatus
from node.client import Client
from state.encoding import Codec, Record
from state.genesis import MAX_GENESIS, Genesis, decode_genesis, genesis_hash
from state.proof import StateProof, proof_codec, verify_state_proof
from state.receipt import Receipt, receipt_codec
from state.types import BlockId, ChainId, Hash32, Height, TxId

DEFAULT_TRUST_PERIOD: Final = 14 * 86_400_000
"""ms; that of a chain whose genesis says nothing else."""
MAX_STEPS: Final = 64
"""Headers between the root of trust and the answer: bisection needs about the logarithm of the distance."""
MAX_ANSWER: Final = MAX_GENESIS + (256 << 20)
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class GenesisRoot:
    """Trust in the chain id alone."""

    chain_id: ChainId


@dataclass(frozen=True, slots=True)
class HeaderRoot:
    """Trust in one block: its height and id. `period` in ms."""

    height: Height
    block_id: BlockId
    period: int = DEFAULT_TRUST_PERIOD


Root = GenesisRoot | HeaderRoot


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: the records with these raw keys, or, with a txid, the receipt of a transaction."""

    keys: tuple[bytes, ...] = ()
    txid: TxId | None = None


class PathStep(Record, frozen=True):
    """A sibling on the way from a receipt to the root, and whether it stands on the left."""

    left: bool
    sibling: Hash32


class ReceiptEvidence(Record, frozen=True):
    """A receipt and its way to the receipts root. It leaves out the number of receipts, which proves nothing."""

    receipt: bytes
    path: Annotated[tuple[PathStep, ...], Meta(max_length=63)]


class LightAnswer(Record, frozen=True):
    """An answer with all that proves it. Every byte of it is checked: none can be changed unnoticed.

    `genesis` is the canonical document, or nothing if the root of trust is a header. `blocks` lead from the root to
    the header that the proofs are against, rising. `proofs` has one state proof for each key of the question, or
    `receipts` the one receipt.
    """

    genesis: Annotated[tuple[bytes, ...], Meta(max_length=1)]
    blocks: Annotated[tuple[LightBlock, ...], Meta(min_length=1, max_length=MAX_STEPS)]
    proofs: Annotated[tuple[StateProof, ...], Meta(max_length=16)]
    receipts: Annotated[tuple[ReceiptEvidence, ...], Meta(max_length=1)]


answer_codec: Final = Codec(LightAnswer, max_size=MAX_ANSWER)


@dataclass(frozen=True, slots=True)
class Verified:
    """What was proven, and by what.

    Attributes:
        height: the block after which the records had these values, or in which the transaction is.
        header: of the block above it.
        values: a value for each key, None for a record that does not exist.
        receipt: of the transaction asked for.
        signatures: checked on the last header, of `validators` in all, with `power` of `total_power`.
        age: of the last header in ms.
        steps: headers verified from the root of trust on.
    """

    height: Height
    header: Header
    values: tuple[bytes | None, ...]
    receipt: Receipt | None
    signatures: int
    validators: int
    power: int
    total_power: int
    age: int
    steps: int


class RememberingVerifier:
    """Checks each signature once, however often it is asked."""

    def __init__(self, inner: Verifier) -> None:
        self._inner = inner
        self._known: dict[tuple[bytes, bytes, bytes], bool] = {}

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Return whether the signature holds."""
        asked = public_key, message, signature
        if asked not in self._known:
            self._known[asked] = self._inner.verify(*asked)
        return self._known[asked]


# ---- judging, without a network


def verify_answer(root: Root, question: Question, answer: LightAnswer, now: int, verifier: Verifier) -> Verified:
    """Check an answer from end to end. The hashes come before the signatures: what is cheap to refuse, is.

    Args:
        root: what is trusted; never from the node that answered.
        question: what was asked.
        answer: from anybody.
        now: our clock, ms since 1970.
        verifier: checks signatures.

    Raises:
        Refused: TRUST_EXPIRED, UNTRUSTED, WRONG_CHAIN, BAD_HEADER, BAD_COMMIT, BAD_SIGNATURE, BAD_TIME, WRONG_HEIGHT,
            BAD_PROOF, BAD_GENESIS, MALFORMED.
    """
    remembering = verifier if isinstance(verifier, RememberingVerifier) else RememberingVerifier(verifier)
    last = answer.blocks[-1]
    values, receipt = _check_proofs(question, answer, last.header)
    params = _check_root(root, answer, now, remembering)
    for trusted, new in zip(answer.blocks, answer.blocks[1:], strict=False):
        verify_light(trusted, new, now, params, remembering)
    for block in answer.blocks:  # signatures above two thirds add nothing to the proof, and still none may be wrong
        verify_commit(
            params.chain_id, block.validators, block.height, block.header.block_id, block.commit, remembering
        )
    return Verified(
        height=Height(last.height - 1), header=last.header, values=values, receipt=receipt,
        signatures=len(last.commit.signatures), validators=len(last.validators),
        power=signed_power(last.validators, last.commit), total_power=last.validators.total_power,
        age=now - last.header.time, steps=len(answer.blocks),
    )


def _check_root(root: Root, answer: LightAnswer, now: int, verifier: Verifier) -> TrustParams:
    """Check the first block of an answer against the root of trust, and return what the rest is judged by."""
    first = answer.blocks[0]
    if isinstance(root, GenesisRoot):
        genesis = _trusted_genesis(root, answer, now)
        check_first(first, genesis_validators(genesis), root.chain_id, verifier)
        params = TrustParams(root.chain_id, genesis.security.trust_period)
    else:
        if answer.genesis:
            raise Refused(Reason.MALFORMED, "a genesis where the root of trust is a header")
        if first.height != root.height:
            raise Refused(Reason.WRONG_HEIGHT, f"the answer begins at {first.height}, the trust at {root.height}")
        if first.header.block_id != root.block_id:
            raise Refused(Reason.BAD_HEADER, f"block {root.height} has another id than the trusted one")
        params = TrustParams(first.header.chain_id, root.period)
        check_light_block(first, params.chain_id, verifier)
    if first.header.time > now + params.clock_drift:
        raise Refused(Reason.BAD_TIME, "the header is from the future")
    if first.header.time + params.trust_period <= now:
        raise Refused(Reason.TRUST_EXPIRED, "the root of trust is older than the trust period; name a newer block")
    return params


def _trusted_genesis(root: GenesisRoot, answer: LightAnswer, now: int) -> Genesis:
    if not answer.genesis:
        raise Refused(Reason.MALFORMED, "the answer has no genesis")
    genesis = decode_genesis(answer.genesis[0])
    if genesis_hash(genesis) != root.chain_id:
        raise Refused(Reason.WRONG_CHAIN, "the genesis is not that of the trusted chain id")
    if genesis.time + genesis.security.trust_period <= now:
        raise Refused(
            Reason.TRUST_EXPIRED,
            "the genesis is older than the trust period: name a newer block with --trust-height and --trust-hash",
        )
    return genesis


def _check_proofs(
    question: Question, answer: LightAnswer, header: Header
) -> tuple[tuple[bytes | None, ...], Receipt | None]:
    if len(answer.proofs) != len(question.keys) or len(answer.receipts) != (question.txid is not None):
        raise Refused(Reason.MALFORMED, "the answer is to another question")
    values = tuple(
        verify_state_proof(header.state_root, key, proof)
        for key, proof in zip(question.keys, answer.proofs, strict=True)
    )
    if question.txid is None:
        return values, None
    return values, _check_receipt(answer.receipts[0], question.txid, header)


def _check_receipt(evidence: ReceiptEvidence, txid: TxId, header: Header) -> Receipt:
    digest = NEXUS.leaf(evidence.receipt)
    for step in evidence.path:
        digest = NEXUS.node(step.sibling + digest if step.left else digest + step.sibling)
    if digest != header.receipts_root:
        raise Refused(Reason.BAD_PROOF, "the receipt's proof leads to another root")
    receipt = receipt_codec.decode(evidence.receipt)
    if receipt.txid != txid:
        raise Refused(Reason.BAD_PROOF, "the receipt is of another transaction")
    if receipt.height != header.height - 1:
        raise Refused(Reason.BAD_PROOF, "the receipt is of another height")
    return receipt


# ---- asking


def fetch(
    client: Client, root: Root, question: Question, now: int, verifier: Verifier, progress: Progress
) -> LightAnswer:
    """Ask an untrusted node, going through as few headers as the trust allows.

    Args:
        client: the node.
        root: what is trusted.
        question: what to ask.
        now: our clock, ms since 1970.
        verifier: checks signatures; what bisection verified need not be verified again if it remembers.
        progress: is told of each step.

    Raises:
        Refused: what the node refuses, or what is wrong with what it says; NOT_AVAILABLE if the chain is too short.
    """
    proofs, receipts, height = _fetch_proofs(client, question)
    genesis: tuple[bytes, ...] = ()
    if isinstance(root, GenesisRoot):
        progress("genesis")
        genesis = (client.ask(GetGenesis()).raw,)
        start = Height(1)
    else:
        start = root.height
    if start > height:
        raise Refused(Reason.NOT_AVAILABLE, f"the answer is of height {height}, before the trusted {start}")
    progress(f"header {start}")
    blocks = [_fetch_block(client, start)]
    params = _check_root(root, LightAnswer(genesis, tuple(blocks), proofs, receipts), now, verifier)
    if height > start:
        blocks += _bisect(client, blocks[0], height, params, now, verifier, progress)
    return LightAnswer(genesis, tuple(blocks), proofs, receipts)


def _bisect(
    client: Client, trusted: LightBlock, height: Height, params: TrustParams, now: int, verifier: Verifier,
    progress: Progress,
) -> list[LightBlock]:
    """Return verified blocks that lead from a trusted one to a height."""
    way: list[LightBlock] = []
    wanted = [_fetch_block(client, height)]
    while wanted:
        progress(f"header {wanted[-1].height}")
        try:
            verify_light(trusted, wanted[-1], now, params, verifier)
        except Refused as refused:
            if refused.reason is not Reason.UNTRUSTED:
                raise
            if len(wanted) + len(way) >= MAX_STEPS:
                raise Refused(Reason.UNTRUSTED, f"no way to height {height} in {MAX_STEPS} steps") from None
            wanted.append(_fetch_block(client, middle_height(trusted.height, wanted[-1].height)))
            continue
        trusted = wanted.pop()
        way.append(trusted)
    return way


def _fetch_block(client: Client, height: Height) -> LightBlock:
    block = light_block_codec.decode(client.ask(GetLightBlock(height=str(height))).light_block)
    if block.height != height:
        raise Refused(Reason.WRONG_HEIGHT, f"asked for header {height}, got {block.height}")
    return block


def _fetch_proofs(
    client: Client, question: Question
) -> tuple[tuple[StateProof, ...], tuple[ReceiptEvidence, ...], Height]:
    """Return state proofs or a receipt, and the height of the header that they lead to."""
    if question.txid is not None:
        evidence, height = _fetch_receipt(client, question.txid)
        return (), (evidence,), height
    if not question.keys:
        return (), (), Height(client.ask(GetStatus()).height)
    proofs: list[StateProof] = []
    wanted = "latest"
    for key in question.keys:  # all at the height of the first
        answer = client.ask(GetProof(key=key.hex(), height=wanted))
        wanted = str(answer.height)
        proofs.append(proof_codec.decode(answer.proof))
    return tuple(proofs), (), Height(int(wanted) + 1)


def _fetch_receipt(client: Client, txid: TxId) -> tuple[ReceiptEvidence, Height]:
    answer = client.ask(GetReceipt(txid=txid.hex()))
    receipt = receipt_codec.decode(answer.raw)
    path = _sides(receipt.index, answer.proof_size, answer.proof_path)
    return ReceiptEvidence(answer.raw, path), Height(receipt.height + 1)


def _sides(index: int, size: int, siblings: Sequence[bytes]) -> tuple[PathStep, ...]:
    """Return for each sibling of an inclusion proof on which side it stands (RFC 9162 section 2.1.3.2)."""
    steps: list[PathStep] = []
    left = list(siblings)
    last = size - 1
    while last > 0 and left:
        if index & 1 or index < last:
            steps.append(PathStep(bool(index & 1), left.pop(0)))
        index >>= 1
        last >>= 1
    return tuple(steps)
