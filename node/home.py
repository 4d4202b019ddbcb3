"""A node's home directory: where each file is, and how files are written so that a crash leaves the old or the new.

    config.toml       settings (node.config)
    genesis.json      the genesis document, canonical JSON
    genesis.hash      the chain id that this home was made for, as hexadecimal
    keys/             encrypted or plain key files (node.keystore)
    keys/consensus_key.state   what the consensus key signed last (node.last_sign); outlives data/
    plots/            plots for the proof of space (node.proving.plots)
    data/chain/       LevelDB: blocks, state, indexes; its LOCK file keeps a second process out
    data/chain.new/   the LevelDB of a snapshot that is being restored; it takes the place of data/chain/ in the end
    data/chain.old/   what was in that place, for a moment
    data/snapshots/   snapshots that peers are served from
    data/consensus.log   own votes and what led to them, for the height in progress
    data/votes.0, data/votes.1   votes of past heights, for accountability; they take turns
    data/evidence     proofs of double signing that are not on chain yet
    data/peers        the address book: who was met where, and who is shut out
    data/admin.sock   where `nexus peers` talks with the running node; only the owner may
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from crypto.errors import Reason, Refused

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


@dataclass(frozen=True, slots=True)
class Home:
    """Paths under one root. Nothing is read or written by making it."""

    root: Path

    @property
    def config(self) -> Path:
        """Settings in TOML."""
        return self.root / "config.toml"

    @property
    def genesis(self) -> Path:
        """The genesis document."""
        return self.root / "genesis.json"

    @property
    def genesis_hash(self) -> Path:
        """The chain id this home belongs to, in hexadecimal."""
        return self.root / "genesis.hash"

    @property
    def keys(self) -> Path:
        """Folder of key files."""
        return self.root / "keys"

    @property
    def sign_state(self) -> Path:
        """What the consensus key signed last: with the key, so that it is not lost with the data."""
        return self.keys / "consensus_key.state"

    @property
    def plots(self) -> Path:
        """Folder of plots: large, and made again from nothing."""
        return self.root / "plots"

    @property
    def data(self) -> Path:
        """Folder of everything that the node writes while it runs."""
        return self.root / "data"

    @property
    def chain(self) -> Path:
        """The LevelDB folder."""
        return self.data / "chain"

    @property
    def new_chain(self) -> Path:
        """The LevelDB folder of a chain that is being restored."""
        return self.data / "chain.new"

    @property
    def old_chain(self) -> Path:
        """Where the LevelDB folder goes when another takes its place."""
        return self.data / "chain.old"

    @property
    def snapshots(self) -> Path:
        """Folder of snapshots."""
        return self.data / "snapshots"

    @property
    def consensus_log(self) -> Path:
        """The log of the height in progress."""
        return self.data / "consensus.log"

    @property
    def vote_archive(self) -> tuple[Path, Path]:
        """The votes of past heights."""
        return self.data / "votes.0", self.data / "votes.1"

    @property
    def evidence(self) -> Path:
        """Proofs of double signing that wait for a block."""
        return self.data / "evidence"

    @property
    def peers(self) -> Path:
        """The address book."""
        return self.data / "peers"

    @property
    def admin(self) -> Path:
        """The socket for the operator's commands."""
        return self.data / "admin.sock"


def init_home(root: Path) -> Home:
    """Make an empty home, readable by its owner only.

    Raises:
        Refused: HOME_EXISTS if there is one already, BAD_ARGUMENT if the path cannot be made.
    """
    home = Home(root)
    if home.config.exists():
        raise Refused(Reason.HOME_EXISTS, f"{root} already holds a node home")
    if home.genesis.exists() or home.data.exists():
        raise Refused(
            Reason.HOME_EXISTS, f"{root} holds parts of a node home: nexus init did not finish it, or its config.toml "
            "is gone; put that back, or delete the folder if it holds no key of worth",
        )
    try:
        for folder in (home.root, home.keys, home.data):
            folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"cannot make {root}: {error.filename} is a file, not a folder") from None
    except OSError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"cannot make {root}: {error.strerror}") from None
    return home


def open_home(root: Path) -> Home:
    """Return the home at `root`.

    Raises:
        Refused: HOME_MISSING with the command that makes one.
    """
    home = Home(root)
    if not home.config.is_file():
        raise Refused(Reason.HOME_MISSING, f"{root} is no node home; make one with: nexus init MONIKER --home {root}")
    home.data.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    return home


def write_file(path: Path, content: bytes, mode: int = PRIVATE_FILE) -> None:
    """Replace a file in one step: a crash leaves the old content or the new, on disk and complete."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and new names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
