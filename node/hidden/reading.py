"""From a node's API into a wallet's index. It asks by the account's address: the node learns whose wallet it serves."""

from collections.abc import Iterator

from crypto.address import encode_address
from crypto.errors import Reason, Refused
from node.api.methods import GetOutputs, GetStatus, GetTransaction, GetTransactionsOf
from node.api.shapes import TransactionRef
from node.client import Client
from node.hidden.index import Placed, WalletIndex
from state.encoding import Codec
from state.transaction import OutPoint, Output, decode_transaction
from state.types import Address, Height, TxId

PAGE = 1000
_output_codec: Codec[Output] = Codec(Output)  # type: ignore[arg-type]


def scan(client: Client, owner: Address, index: WalletIndex) -> int:
    """Take in everything since the last scan; return how many transactions that were.

    Raises:
        Refused: of the client.
    """
    height = Height(int(client.ask(GetStatus()).height))
    found = 0
    for ref in reversed(list(_since(client, owner, index.height))):
        if int(ref.height) > height:
            continue  # came in after we asked how far the chain is
        try:
            raw = client.ask(GetTransaction(txid=ref.txid)).raw
        except Refused as refused:
            if refused.reason is Reason.NOT_AVAILABLE:
                continue  # the node deleted this block: its unspent coins come below
            raise
        index.take(Placed(Height(int(ref.height)), ref.index, decode_transaction(raw)))
        found += 1
    index.settle(unspent_of(client, owner), height)
    return found


def _since(client: Client, owner: Address, height: int) -> Iterator[TransactionRef]:
    """Yield the account's transactions above a height, newest first."""
    before = ""
    while True:
        page = client.ask(GetTransactionsOf(address=encode_address(owner), limit=PAGE, before=before))
        for ref in page.transactions:
            if int(ref.height) <= height:
                return
            yield ref
        if page.next is None:
            return
        before = page.next


def unspent_of(client: Client, owner: Address) -> Iterator[tuple[OutPoint, Output]]:
    """Yield the unspent outputs of an account."""
    after = ""
    while True:
        page = client.ask(GetOutputs(address=encode_address(owner), limit=PAGE, after=after))
        for one in page.outputs:
            yield OutPoint(TxId(bytes.fromhex(one.txid)), one.index), _output_codec.decode(one.raw)
        if page.next is None:
            return
        after = page.next
