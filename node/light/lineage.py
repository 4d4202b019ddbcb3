"""The history of a State, proven step by step: from the first version to the one that is there, or that was the last.

    version n                     the body of the transaction that made it, by its hash: its txid is in the outpoint
    n -> n + 1                    that transaction spends version n, by its body; it is in a block, by its receipt
    the last is unspent           its record, proven against the newest header's state root
    the last was spent for good   the transaction that spends it without a successor, in a block likewise

So a node can neither invent, change, swap nor leave out a version, nor stop before the end; what it can do is not to
answer. What blocks made after the state that is proven is left out. A node that has pruned one of the transactions, or
whose index begins later, proves nothing: NOT_AVAILABLE, ask one that keeps more.
"""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import msgspec

from apps.transfer import SpentOutput, successions
from consensus.types import Header
from crypto.errors import Reason, Refused
from node.amounts import parse_outpoint
from node.api import methods, shapes, views
from node.api.state_answers import txid_from
from node.api.text import Decimal
from node.light.listing import MOST
from node.light.source import Source
from state.receipt import Receipt, Succession
from state.transaction import Decoded, OutPoint, Output, Script, State, Transfer, decode_transaction, made_by
from state.types import Height, TxId

SPENT: Final = "output/spent"
"""The event that names an output which a transaction spends."""
GetReceipt = Callable[[TxId], Awaitable[Receipt]]
"""Returns a proven receipt. Raises Refused."""
IsUnspent = Callable[[OutPoint], Awaitable[bool]]
"""Returns whether an output is there after the block below the newest header, which is proven either way."""


class Link(NamedTuple):
    """A version, and the height of the block that made it."""

    outpoint: OutPoint
    state: State
    height: Height


class Told(NamedTuple):
    """What a node says: the versions' outpoints with their heights, and who ended the contract.

    Nothing of it is believed: of what it calls younger than the proven state, the version before has to be unspent.
    """

    versions: tuple[tuple[OutPoint, int], ...]
    end: TxId | None


class History:
    """Proves what a node tells of a State.

    Args:
        source: an untrusted node.
        header: verified, the newest.
        receipt: proves receipts.
        is_unspent: proves records.
    """

    def __init__(self, source: Source, header: Header, receipt: GetReceipt, is_unspent: IsUnspent) -> None:
        self._source = source
        self._header = header
        self._receipt = receipt
        self._is_unspent = is_unspent
        self._bodies: dict[TxId, Decoded] = {}

    async def prove(self, ask: methods.GetStateHistory) -> shapes.StateHistory:
        """Return the history that was asked for, all of it proven.

        Raises:
            Refused: BAD_PROOF; TOO_LARGE for more than MOST versions; NOT_AVAILABLE; OUTPUT_NOT_FOUND if the node says
                that there is no such State; those of receipts and records.
        """
        told = await self._ask(ask)
        chain, end = await self._follow(told)
        wanted = OutPoint(txid_from(ask.txid), ask.index)
        if wanted not in [link.outpoint for link in chain]:
            if any(wanted == outpoint for outpoint, _ in told.versions):
                raise Refused(Reason.NOT_AVAILABLE, "that State is younger than the newest header; ask in a moment")
            raise self._wrong("sent the history of another State")
        first = int(ask.first)
        page = [link for link in chain if link.state.nonce >= first]
        following = page[ask.limit].state.nonce if len(page) > ask.limit else None
        last = chain[-1].outpoint
        return shapes.StateHistory(
            versions=[self._view(link, end is None and link.outpoint == last) for link in page[: ask.limit]],
            ended=end, complete=True, next=None if following is None else Decimal(following),
        )

    async def _ask(self, ask: methods.GetStateHistory) -> Told:
        """Return what the node tells from the first version on."""
        question = msgspec.structs.replace(ask, first="0", limit=methods.MAX_VERSIONS)
        versions: list[tuple[OutPoint, int]] = []
        while True:
            page = await self._source.ask(question)
            versions += [(OutPoint(txid_from(one.txid), one.index), one.height or 0) for one in page.versions]
            if len(versions) > MOST:
                raise Refused(Reason.TOO_LARGE, f"a proven history has at most {MOST} versions")
            if page.next is None or not page.versions:
                return Told(tuple(versions), None if page.ended is None else txid_from(page.ended.txid))
            question = msgspec.structs.replace(question, first=str(int(page.next)))

    async def _follow(self, told: Told) -> tuple[list[Link], shapes.StateEnd | None]:
        """Return the versions that blocks below the newest header made, and how the contract ended, if it did."""
        if not told.versions:
            raise self._wrong("sent an empty history")
        chain: list[Link] = []
        for outpoint, height in told.versions:
            if height >= self._header.height:
                break  # its receipt stands in a header that is yet to come, and so does its record
            receipt = await self._receipt(outpoint.txid)
            state = _state_at(await self._body(outpoint.txid, receipt), outpoint)
            if state is None:
                raise self._wrong("calls something a State that is none")
            if chain:
                await self._check_follows(chain[-1], outpoint, receipt)
            elif state.nonce:
                raise Refused(
                    Reason.NOT_AVAILABLE, f"{self._source.url} knows this contract from nonce {state.nonce} on alone; "
                    "ask a node that has followed the chain for longer",
                )
            chain.append(Link(outpoint, state, receipt.height))
        if not chain:
            raise Refused(Reason.NOT_AVAILABLE, "that State is younger than the newest header; ask in a moment")
        if await self._is_unspent(chain[-1].outpoint):
            return chain, None
        return chain, await self._check_ended(chain[-1], told.end)

    async def _check_follows(self, before: Link, outpoint: OutPoint, receipt: Receipt) -> None:
        become = await self._fate(before, receipt)
        if become.made != outpoint:
            raise self._wrong(f"names another State than the one that follows nonce {before.state.nonce}")

    async def _check_ended(self, last: Link, end: TxId | None) -> shapes.StateEnd:
        """Check who spent the last version; its record is not there."""
        if end is None:
            raise self._wrong(f"leaves out what became of nonce {last.state.nonce}, which is spent")
        receipt = await self._receipt(end)
        if (await self._fate(last, receipt)).made is not None:
            raise self._wrong(f"leaves out what followed nonce {last.state.nonce}")
        return shapes.StateEnd(txid=end.hex(), height=Decimal(receipt.height))

    async def _fate(self, link: Link, receipt: Receipt) -> Succession:
        """Return what a transaction that is in a block makes of a version. Raises BAD_PROOF if it does not spend it."""
        decoded = await self._body(receipt.txid, receipt)
        payload = decoded.body.payload
        if isinstance(payload, Transfer | Script):
            named = {
                value for event in receipt.events if event.name == SPENT and ("type", "state") in event.attributes
                for name, value in event.attributes if name == "outpoint"
            }
            states = {parse_outpoint(text) for text in named}
            spent = [SpentOutput(b"", one, await self._made(one)) for one in payload.inputs if one in states]
            for found in successions(spent, made_by(payload), decoded.txid):
                if found.spent == link.outpoint:
                    return found
        raise self._wrong(f"says that a transaction spends nonce {link.state.nonce} which does not")

    async def _made(self, outpoint: OutPoint) -> Output:
        """Return a State that a transaction in a block spends, by the transaction that made it."""
        state = _state_at(await self._body(outpoint.txid), outpoint)
        if state is None:
            raise self._wrong("sent another transaction")
        return state

    async def _body(self, txid: TxId, receipt: Receipt | None = None) -> Decoded:
        """Return a transaction, whose body its id proves, and its witnesses its receipt."""
        if txid not in self._bodies:
            decoded = decode_transaction((await self._source.ask(methods.GetTransaction(txid=txid.hex()))).raw)
            if decoded.txid != txid:
                raise self._wrong("sent another transaction")
            self._bodies[txid] = decoded
        found = self._bodies[txid]
        if receipt is not None and (receipt.wtxid != found.wtxid or receipt.reason):
            raise self._wrong("sent a transaction that is not the one in the block")
        return found

    @staticmethod
    def _view(link: Link, unspent: bool) -> shapes.StateVersion:
        outpoint, state = link.outpoint, link.state
        return shapes.StateVersion(
            nonce=Decimal(state.nonce), txid=outpoint.txid.hex(), index=outpoint.index, height=Decimal(link.height),
            unspent=unspent, variables=[variable.hex() for variable in state.variables],
            output=views.output_view(outpoint, state),
        )

    def _wrong(self, what: str) -> Refused:
        return Refused(Reason.BAD_PROOF, f"{self._source.url} {what}; ask another node")


def _state_at(decoded: Decoded, outpoint: OutPoint) -> State | None:
    """Return the State that a transaction makes at a place, if it does."""
    made = made_by(decoded.body.payload)
    output = made[outpoint.index] if outpoint.index < len(made) else None
    return output if isinstance(output, State) else None
