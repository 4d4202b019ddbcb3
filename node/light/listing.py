"""Answers that are lists, or whole blocks: each entry is proven, and what cannot be proven about the list is said.

The block of a height is complete: its header commits to its transactions and its evidence. The outputs of an owner and
the transactions of an address are another matter. Every entry that is given is proven; that none is held back cannot
be, because no index by owner is part of the state: such an answer says `complete: false`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from consensus.block import evidence_root, transactions_root
from consensus.light import LightBlock
from consensus.types import Evidence, Header
from crypto.errors import Reason, Refused
from node.api import methods, shapes, views
from node.api.state_answers import address_from
from node.api.text import Decimal
from node.light.proving import Proven, evaluation, prove
from node.light.source import Source
from state.encoding import Codec
from state.genesis import Genesis
from state.proof import StateProof
from state.receipt import Receipt
from state.transaction import Decoded, decode_transaction
from state.types import Address, Height

MOST: Final = 500
"""Entries that one proven list may have."""
evidence_codec: Final[Codec[tuple[Evidence, ...]]] = Codec(tuple[Evidence, ...], max_size=16 << 20)


@dataclass(frozen=True, slots=True)
class Body:
    """A block's transactions and evidence, all of them."""

    transactions: tuple[Decoded, ...]
    evidence: tuple[Evidence, ...]


async def fetch_body(source: Source, block: LightBlock) -> Body:
    """Return the body that a verified header commits to. Raises Refused: BAD_PROOF, MALFORMED, TOO_LARGE."""
    told = await source.ask(methods.GetBody(height=str(block.height)))
    body = Body(tuple(decode_transaction(raw) for raw in told.transactions), evidence_codec.decode(told.evidence))
    roots = transactions_root([one.wtxid for one in body.transactions]), evidence_root(body.evidence)
    if roots != (block.header.transactions_root, block.header.evidence_root):
        raise Refused(
            Reason.BAD_PROOF, f"{source.url} sent another body than block {block.height} has; ask another node"
        )
    return body


async def fetch_block(source: Source, block: LightBlock) -> tuple[shapes.BlockView, Body]:
    """Return a block as the API shows it, and its body. Raises as `fetch_body`."""
    body = await fetch_body(source, block)
    view = shapes.BlockView(
        header=views.header_view(block.header),
        transactions=[
            shapes.TransactionId(txid=one.txid.hex(), wtxid=one.wtxid.hex()) for one in body.transactions
        ],
        size=Decimal(sum(len(one.raw) for one in body.transactions)), evidence=len(body.evidence),
        commit=views.commit_view(block.commit),
    )
    return view, body


async def prove_outputs(
    source: Source, header: Header, ask: methods.GetOutputs, genesis: Genesis
) -> tuple[shapes.OutputsView, Mapping[bytes, StateProof]]:
    """Return outputs of an owner that a node lists and that are there after the block below a verified header.

    The node lists those of its newest state: what was made since is left out.

    Raises:
        Refused: BAD_PROOF if one of them is another's, or of another kind; those of `prove`.
    """
    if ask.limit > MOST:
        raise Refused(Reason.TOO_LARGE, f"a proven list has at most {MOST} entries: ask for fewer at a time")
    listed = await source.ask(ask)
    height = Height(header.height - 1)
    found: list[shapes.OutputView] = []
    proofs: dict[bytes, StateProof] = {}
    for one in listed.outputs[: ask.limit]:
        question = methods.GetOutput(txid=one.txid, index=one.index)
        proven: Proven = await prove(source, header, evaluation(question, height, genesis))
        if proven.outcome.refused is not None:
            continue
        output = proven.outcome.unwrap()
        if output.owner != ask.address:
            raise Refused(Reason.BAD_PROOF, f"{source.url} lists an output of somebody else; ask another node")
        if ask.kind not in ("any", output.kind):
            raise Refused(Reason.BAD_PROOF, f"{source.url} lists a {output.kind} among the {ask.kind}s; ask another")
        found.append(output)
        proofs |= proven.proofs
    view = shapes.OutputsView(outputs=found, height=Decimal(height), next=listed.next, complete=False)
    return view, proofs


def takes_part(address: Address, text: str, decoded: Decoded, receipt: Receipt) -> bool:
    """Tell whether a transaction shows that an address takes part: as signer, in its body, or in an event."""
    named = {value for event in receipt.events for _, value in event.attributes}
    return address in decoded.signers or bytes(address) in decoded.raw or text in named or address.hex() in named


def listed_of(
    ask: methods.GetTransactionsOf, proven: Sequence[tuple[Decoded, Receipt]], next_: str | None
) -> shapes.TransactionRefs:
    """Return those of some proven transactions in which an address shows that it takes part."""
    address = address_from(ask.address)
    refs = [
        shapes.TransactionRef(txid=receipt.txid.hex(), height=Decimal(receipt.height), index=receipt.index)
        for decoded, receipt in proven
        if takes_part(address, ask.address, decoded, receipt)
    ]
    return shapes.TransactionRefs(transactions=refs, next=next_, complete=False)
