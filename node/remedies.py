"""What an operator can do about each thing that stops a node: one sentence for each reason."""

from collections.abc import Mapping
from typing import Final

from crypto.errors import Reason, Refused

_KEYS: Final = "restore keys/ from a backup, or make the home again from its 24 words: nexus init MONIKER --recover"
_SIGN_STATE: Final = (
    "import the state that another machine exported (nexus validator sign-state import FILE), or restore the file from "
    "a backup made after the last stop; if both are lost, name a height that the network has passed, and nothing is "
    "signed up to it (nexus validator sign-state set --height H)"
)
REMEDIES: Final[Mapping[Reason, str]] = {
    Reason.CORRUPT_DATABASE: "restore data/ from a backup, or fetch the chain anew from the peers with: nexus reset "
    "--keep-keys; what this validator signed stays known, so it signs nothing twice",
    Reason.CORRUPT_LOG: "delete data/consensus.log and start again; what this validator signed stays known, so it "
    "signs nothing twice",
    Reason.BAD_SIGN_STATE: _SIGN_STATE,
    Reason.SIGN_STATE_EXPORTED: "if this machine is to sign again, stop the other one, export its state there, and "
    "import it here (nexus validator sign-state import FILE)",
    Reason.WRONG_VERSION: "run the version of nexus that wrote it, or fetch the chain anew with: nexus reset "
    "--keep-keys",
    Reason.BAD_GENESIS: "put back the genesis.json and genesis.hash that this home was made with",
    Reason.GENESIS_MISMATCH: "put back the genesis.json and genesis.hash that this home was made with, or delete the "
    "chain of the other network with: nexus reset --keep-keys",
    Reason.BAD_KEY_FILE: _KEYS,
    Reason.KEY_NOT_FOUND: _KEYS,
    Reason.BAD_CONFIG: "correct config.toml or the NEXUS_ variable; nexus init writes a fresh config.toml elsewhere",
    Reason.HOME_MISSING: "make the home with: nexus init MONIKER",
    Reason.HOME_IN_USE: "stop the other process first",
    Reason.PORT_IN_USE: "stop the other program, or set another port in config.toml",
    Reason.BAD_HEADER: "update nexus if the network runs another version, undo the last block with nexus rollback, "
    "or fetch the chain anew with: nexus reset --keep-keys",
}


class Explained(Refused):
    """A refusal whose sentence says itself what to do, which is not what its reason usually asks for."""


def advised(refused: Refused) -> Refused:
    """Return a refusal with the sentence that says what to do about it, if there is one and it does not say so."""
    remedy = None if isinstance(refused, Explained) else REMEDIES.get(refused.reason)
    return refused if remedy is None else Refused(refused.reason, f"{refused.detail}. To go on: {remedy}")
