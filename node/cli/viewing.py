"""From the name of a key, or a view key, to a wallet: `wallet/NAME.view.json` and `wallet/NAME.index` in the home.

The viewing seed is derived from the account key when a wallet is first used, and kept sealed beside it: the account may
change its signing key, what was sent to it stays readable. The index is sealed under the view keys.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.keyfile import Preset, open_secret, seal_secret
from crypto.schemes import address_of
from node.api.methods import GetStatus
from node.cli.session import Session
from node.client import Client
from node.document import DiskDocument, Document
from node.hidden.index import WalletIndex, read_index
from node.hidden.viewing import Viewer, ViewKeys, decode_view_key, view_keys, viewing_seed
from node.home import PRIVATE_FOLDER, write_file
from node.keystore import MAX_KEY_FILE, KeyEntry, Keystore
from state.types import ChainId

Owner = Annotated[str, typer.Option("--from", envvar="NEXUS_FROM", help="Name of the account's key.")]
"""Whose wallet a command is about."""


@dataclass(frozen=True, slots=True)
class Wallet:
    """What a person can see: a viewer, and the document in which its index is kept."""

    viewer: Viewer
    document: Document

    def load(self) -> WalletIndex:
        """Return the index as it was saved last. Raises Refused(BAD_WALLET)."""
        return read_index(self.viewer, self.document.read())

    def save(self, index: WalletIndex) -> None:
        """Save the index. Raises Refused(BAD_WALLET) if the disk fails."""
        self.document.replace(index.to_bytes())


def own_keys(session: Session, entry: KeyEntry, password: Callable[[], str]) -> ViewKeys:
    """Return the view keys of a stored account key. Raises Refused as `own_seed`."""
    return view_keys(own_seed(session, entry, password))


def own_seed(session: Session, entry: KeyEntry, password: Callable[[], str]) -> bytes:
    """Return the viewing seed of a stored account key; the first time it is derived and stored.

    Raises:
        Refused: BAD_KEY for a multi-signature account, or if the key was changed before the wallet was first used;
            KEY_NOT_FOUND, BAD_KEY_FILE, WRONG_PASSWORD.
    """
    path = wallet_folder(session) / f"{entry.name}.view.json"
    if path.exists():
        return open_secret(path.read_bytes()[: MAX_KEY_FILE + 1], password())
    opened = Keystore(session.home / "keys").open(entry.name, password())
    if address_of(opened.key.public_key) != opened.address:
        raise Refused(Reason.BAD_KEY, f"{entry.name!r} has another key than its first one: recover that from its words")
    seed = viewing_seed(opened.key)
    write_file(path, seal_secret(seed, password(), cost=Preset.MODERATE, about={}))
    return seed


def own_wallet(session: Session, client: Client, entry: KeyEntry, keys: ViewKeys) -> Wallet:
    """Return the wallet of a stored account key on the node's chain."""
    viewer = Viewer(chain_of(client), entry.address, keys.incoming, keys.outgoing)
    return Wallet(viewer, _document(wallet_folder(session) / f"{entry.name}.index"))


def foreign_wallet(session: Session, client: Client, file: Path) -> Wallet:
    """Return what the view key in a file shows.

    Raises:
        Refused: BAD_KEY; WRONG_CHAIN if it is of another chain than the node's.
    """
    try:
        words = file.read_text("utf-8").split()
        viewer = decode_view_key(words[-1] if words else "")  # `wallet viewkey` writes a name in front of it
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(Reason.BAD_KEY, f"{file} cannot be read: {error}") from None
    if viewer.chain_id != chain_of(client):
        raise Refused(Reason.WRONG_CHAIN, "the view key is of another chain than the node's")
    name = digest(Label.WALLET_INDEX, viewer.box_key).hex()[:16]
    return Wallet(viewer, _document(wallet_folder(session) / f"{name}.index"))


def chain_of(client: Client) -> ChainId:
    """Return the node's chain."""
    return ChainId(bytes.fromhex(client.ask(GetStatus()).chain_id))


def wallet_folder(session: Session) -> Path:
    """Return the folder of what wallets keep in a home; it is made if need be."""
    folder = session.home / "wallet"
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    return folder


def _document(path: Path) -> Document:
    return DiskDocument(path, Reason.BAD_WALLET)
