"""From the name of a key to its wallet of anonymous accounts, `wallet/NAME.anonymous` in the home, and to a node."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from crypto.errors import Reason
from node.anonymous.choosing import Renewed
from node.anonymous.index import AccountSet, AnonymousIndex, Kind, Move, Tell
from node.anonymous.insisting import Fate
from node.anonymous.keys import anonymous_keys
from node.anonymous.reading import read_accounts, read_renewed
from node.anonymous.search import AmountSearch
from node.api.methods import GetStatus, GetTransactionStatus
from node.cli.accounts import chain_point
from node.cli.session import Session
from node.cli.viewing import chain_of, own_seed, wallet_folder
from node.client import Client
from node.document import DiskDocument, Document
from node.keystore import KeyEntry
from node.wallet import EXPIRES_AFTER, ChainPoint
from state.types import Amount, Height, TxId

POLL: Final = 0.2
"""Seconds between two questions to a node."""
BLOCK_PATIENCE: Final = 5.0
"""Seconds without a block after which an attempt is made all the same."""
GONE: Final = 5
"""Times in a row that a node does not know a transaction before it counts as dropped."""


@dataclass(frozen=True, slots=True)
class AnonymousWallet:
    """An index, and the document in which it is kept."""

    index: AnonymousIndex
    document: Document

    def save(self) -> None:
        """Keep the index. Raises Refused(BAD_WALLET) if the disk fails."""
        self.document.replace(self.index.to_bytes())

    def expect(
        self, kind: Kind, amount: Amount, before: tuple[Amount, ...] = (), after: tuple[Amount, ...] = (),
        made: tuple[bytes, ...] = (),
    ) -> None:
        """Write down what a call is about to do; its txid is not known yet."""
        task = secrets.token_bytes(16)
        expiry = Height(self.index.height + EXPIRES_AFTER)
        self.index.expect(Move(kind, task, b"", amount, Amount(0), b"", before, after, made, expiry))

    def scan(self, client: Client, search: AmountSearch, tell: Tell) -> int:
        """Take in all accounts of the chain, and keep the index; return how many were looked at."""
        looked = self.index.take(read_accounts(client, tell), search, tell)
        self.save()
        return looked


def open_wallet(
    session: Session, client: Client, entry: KeyEntry, password: Callable[[], str], *, again: bool = False
) -> AnonymousWallet:
    """Return the wallet of anonymous accounts of a stored account key on the node's chain.

    Args:
        session: where the home is.
        client: of a node.
        entry: the key.
        password: returns the key's.
        again: begin anew.

    Raises:
        Refused: as `node.cli.viewing.own_seed`; BAD_WALLET.
    """
    document = DiskDocument(wallet_folder(session) / f"{entry.name}.anonymous", Reason.BAD_WALLET)
    index = AnonymousIndex(chain_of(client), anonymous_keys(own_seed(session, entry, password)))
    if not again:
        index.load(document.read())
    return AnonymousWallet(index, document)


class RemoteNode:
    """A node for `node.anonymous.insisting`, over its API.

    Args:
        client: of the node.
        tell: is told of long reading.
        timeout: seconds to wait until an accepted payment is in a block.
    """

    def __init__(self, client: Client, tell: Tell, timeout: float) -> None:
        self._client = client
        self._tell = tell
        self._timeout = timeout

    def accounts(self) -> AccountSet:
        """Return all accounts."""
        return read_accounts(self._client, self._tell)

    def renewed(self, above: Height, height: Height) -> tuple[Renewed, ...]:
        """Return the payments in the blocks above one up to another. Raises Refused(NOT_AVAILABLE)."""
        return read_renewed(self._client, above, height)

    def point(self) -> ChainPoint:
        """Return what a transaction made now must know of the chain."""
        return chain_point(self._client)

    def submit(self, raw: bytes) -> None:
        """Send a transaction, and return when it is accepted."""
        self._client.submit_one(raw, wait="accepted")

    def settled(self, txid: TxId) -> Fate:
        """Wait until an accepted transaction is in a block or no longer waits; return what is so in the end."""
        deadline, unknown = time.monotonic() + self._timeout, 0
        while True:
            view = self._client.ask(GetTransactionStatus(txid=txid.hex()))
            fate = Fate(view.status, Height(int(view.height or 0)))
            unknown = unknown + 1 if fate.status == "unknown" else 0
            if fate.status in ("succeeded", "failed") or unknown >= GONE or time.monotonic() > deadline:
                return fate
            time.sleep(POLL)

    def next_block(self, above: Height) -> None:
        """Wait until there is a block above a height, or for long enough."""
        deadline = time.monotonic() + BLOCK_PATIENCE
        while int(self._client.ask(GetStatus()).height) <= above and time.monotonic() < deadline:
            time.sleep(POLL)
