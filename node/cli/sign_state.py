"""What the consensus key signed last: show it, hand it to another machine, take it over."""

from pathlib import Path
from typing import Annotated, Any

import typer

from crypto.address import encode_address
from crypto.errors import Reason, Refused
from node.cli.passwords import PasswordFile, read_password
from node.cli.session import Session, command
from node.home import Home, open_home
from node.keystore import CONSENSUS_KEY, is_sealed, load_node_key
from node.last_sign import SignState
from node.node import load_genesis
from node.sign_export import export_state, import_state, read_state, set_state
from state.genesis import genesis_hash
from state.types import Address

app = typer.Typer(no_args_is_help=True, help="What the consensus key signed last, and who may sign on.")
File = Annotated[Path, typer.Argument(help="The exported state.")]


@command(app)
def show(session: Session) -> None:
    """Show where this validator signed last, and whether it may sign on."""
    session.show(_view(read_state(open_home(session.home))))


@command(app)
def export(session: Session, file: File) -> None:
    """Hand the state to another machine. From then on this one refuses to sign. The node must be stopped."""
    session.show(_view(export_state(open_home(session.home), file)))
    session.note(f"this machine signs no more; on the other one: nexus start --standby --sign-state {file.name}")


@command(app, "import")
def import_(session: Session, file: File, password_file: PasswordFile = None) -> None:
    """Take over an exported state: from then on this machine signs. Make sure that no other one has it."""
    session.show(_view(take_over(open_home(session.home), file, password_file)))


@command(app, "set")
def set_(
    session: Session,
    height: Annotated[int, typer.Option(min=0, help="A height that the network has passed.")],
    password_file: PasswordFile = None,
) -> None:
    """Begin a new state, if the old one is lost for good: nothing is signed up to this height."""
    home = open_home(session.home)
    session.show(_view(set_state(home, height, _own_key(home, password_file), genesis_hash(load_genesis(home)))))


def take_over(home: Home, file: Path, password_file: Path | None) -> SignState:
    """Import a state into a home. Raises Refused, as `import_state`, KEY_NOT_FOUND, and for a wrong password."""
    return import_state(home, file, _own_key(home, password_file), genesis_hash(load_genesis(home)))


def _own_key(home: Home, password_file: Path | None) -> Address:
    path = home.keys / f"{CONSENSUS_KEY}.json"
    if not path.exists():
        raise Refused(Reason.KEY_NOT_FOUND, f"{path} is missing: this home has no consensus key")
    password = read_password(password_file, "the node's keys") if is_sealed(path) else None
    return Address(load_node_key(path, password).address)


def _view(state: SignState) -> dict[str, Any]:
    return {
        "key": encode_address(state.key),
        "chain_id": state.chain_id.hex(),
        "height": state.height,
        "round": state.round,
        "step": state.step.name.lower(),
        "block_id": state.block_id.hex(),
        "exported": state.exported,
    }
