"""What a testnet remembers of itself: `testnet.json` in its folder.

    testnet.json         this manifest
    node0/ node1/ ...    homes of the nodes, as `nexus init` makes them; node.log beside their data
    wallets/             a home that holds keys alone: the funded wallets, for `nexus --home ... keys` and `tx`
    senders              keys of the accounts that `nexus testnet load` sends from
"""

from pathlib import Path
from typing import Final

import msgspec

from crypto.errors import Reason, Refused
from node.home import write_file
from state.version import PROTOCOL_VERSION
from testnet.processes import ProcessId

VERSION: Final = 1


class Member(msgspec.Struct, frozen=True):
    """One node. `process` is the last one started, or None; `behaviours` are how it lies, see testnet.byzantine.
    `release` is the newest protocol version that its program knows, see testnet.lab.release.
    """

    name: str
    peer_id: str
    listen_port: int
    api_port: int
    metrics_port: int
    process: ProcessId | None = None
    behaviours: tuple[str, ...] = ()
    release: int = PROTOCOL_VERSION

    @property
    def url(self) -> str:
        """Where its API answers."""
        return f"http://[::1]:{self.api_port}"


class Manifest(msgspec.Struct, frozen=True):
    """The whole network."""

    version: int
    chain_id: str
    members: tuple[Member, ...]


def manifest_path(root: Path) -> Path:
    """Return where the manifest of a testnet lies."""
    return root / "testnet.json"


def load_manifest(root: Path) -> Manifest:
    """Read the manifest.

    Raises:
        Refused: HOME_MISSING if there is no testnet, BAD_CONFIG if the file is damaged.
    """
    try:
        raw = manifest_path(root).read_bytes()
    except FileNotFoundError:
        why = f"{root} holds no testnet; make one with: nexus testnet up --home {root}"
        raise Refused(Reason.HOME_MISSING, why) from None
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(Reason.BAD_CONFIG, f"{manifest_path(root)} is damaged: {error}") from None
    if manifest.version != VERSION:
        raise Refused(Reason.BAD_CONFIG, f"{manifest_path(root)} is of version {manifest.version}, not {VERSION}")
    return manifest


def save_manifest(root: Path, manifest: Manifest) -> None:
    """Write the manifest in one step."""
    write_file(manifest_path(root), msgspec.json.format(msgspec.json.encode(manifest), indent=2))
