"""Genesis documents: begin a chain together, check a document, make one out of a chain's state."""

from pathlib import Path
from typing import Annotated

import typer

from apps.genesis import init_genesis
from crypto.errors import Reason, Refused
from node.chain import open_chain
from node.cli import ceremony
from node.cli.commands.init import read_file, read_genesis
from node.cli.session import Form, Session, command
from node.export import export_genesis
from node.home import open_home, write_file
from node.node import load_genesis
from state.genesis import Genesis, all_faults, genesis_hash
from state.genesis_json import genesis_to_json, read_genesis_json
from state.leveldb import LevelDB
from state.types import Height

app = typer.Typer(no_args_is_help=True)
command(app)(ceremony.draft)
command(app, "add-account")(ceremony.add_account)
command(app)(ceremony.gentx)
command(app, "collect")(ceremony.collect_)
command(app)(ceremony.adopt)

File = Annotated[Path, typer.Argument(help="A genesis document.")]


@command(app)
def validate(
    session: Session,
    file: File,
    draft: Annotated[bool, typer.Option("--draft", help="It has no validators yet.")] = False,
) -> None:
    """Check a document: every field, that the supply adds up, and that a first state can be made of it.

    Says all that is wrong at once, and what would be right.
    """
    genesis, faults = read_genesis_json(read_file(file))
    if draft:
        faults = [fault for fault in faults if not fault.startswith("validators: ")]
        if genesis is not None and genesis.validators:
            faults.append(f"validators: {len(genesis.validators)}, a draft has none")
    if genesis is None or faults:
        raise _wrong(session, file, faults)
    if not draft:
        init_genesis(genesis)
    session.show(_shown(genesis))


def _wrong(session: Session, file: Path, faults: list[str]) -> Refused:
    """Return the refusal of a document, one line for each fault where a person reads it."""
    if session.output is Form.JSON:
        return all_faults(faults)
    lines = [f"\n  {fault}" for fault in faults]
    return Refused(Reason.BAD_GENESIS, f"{file} is wrong in {len(faults)} places:{''.join(lines)}\n")


@command(app, "hash")
def hash_(session: Session, file: File) -> None:
    """Show the chain id that a document gives."""
    session.show({"chain_id": genesis_hash(read_genesis(file)).hex()})


@command(app)
def export(
    session: Session,
    height: Annotated[int | None, typer.Option(min=0, help="The state after this block; by default the last.")] = None,
    output_file: Annotated[Path, typer.Option(help="Where to write the document.")] = Path("genesis.json"),
    name: Annotated[str, typer.Option(help="Name of the new chain; by default the old one's with the height.")] = "",
) -> None:
    """Write a genesis that takes over the state of this home's chain. The node must be stopped.

    Same balances, outputs, stakes and validators; another chain id, so that nothing that was signed for the old chain
    is valid on the new one. Everybody who exports the same height gets the same document.
    """
    home = open_home(session.home)
    genesis = load_genesis(home)
    store = LevelDB.open(home.chain)
    try:
        chain = open_chain(store, genesis)
        at = chain.height if height is None else Height(height)
        document = export_genesis(chain.store, genesis, at, name)
    finally:
        store.close()
    write_file(output_file, genesis_to_json(document))
    session.show({"file": str(output_file), "height": str(int(at)), **_shown(document)})


def _shown(genesis: Genesis) -> dict[str, str]:
    return {
        "chain_id": genesis_hash(genesis).hex(), "name": genesis.name, "version": str(genesis.version),
        "validators": str(len(genesis.validators)), "carried_records": str(len(genesis.carried)),
    }  # fmt: skip
