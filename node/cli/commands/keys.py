"""Make, list, move and change keys."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.keys import KeyTree, SecretKey, new_phrase
from crypto.schemes import address_of, multisig_public_key
from node.cli.passwords import KeyCost, KeyScheme, PasswordFile, cost_of, read_password, read_phrase, scheme_of
from node.cli.rotation import rotate as rotate_key
from node.cli.session import Session, command
from node.home import write_file
from node.keystore import MAX_KEY_FILE, KeyEntry, Keystore

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the key.")]


def _store(session: Session) -> Keystore:
    return Keystore(session.home / "keys")


def _shown(entry: KeyEntry) -> dict[str, Any]:
    return {"name": entry.name, "address": encode_address(entry.address), "scheme": entry.scheme}


@command(app)
def add(
    session: Session, name: Name,
    recover: Annotated[bool, typer.Option("--recover", help="Take the key from 24 words.")] = False,
    index: Annotated[int, typer.Option(min=0, help="Which account of the words.")] = 0,
    scheme: KeyScheme = "falcon",
    password_file: PasswordFile = None,
    key_cost: KeyCost = "moderate",
) -> None:
    """Make an account key. Prints the 24 words that give it again: write them down, they are not stored."""
    store, cost, kind = _store(session), cost_of(key_cost), scheme_of(scheme)
    if name in store.names():
        raise Refused(Reason.KEY_EXISTS, f"there is a key {name!r} already")
    phrase = read_phrase() if recover else new_phrase()
    key = KeyTree.from_phrase(phrase).account(index, kind)
    entry = store.add(name, key, read_password(password_file, f"key {name}", new=True), cost=cost)
    session.show({**_shown(entry), **({} if recover else {"phrase": phrase})})
    if not recover:
        session.note("Write the 24 words down: whoever has them has the key, and without them nobody restores it.")


@command(app)
def joint(
    session: Session, name: Name,
    members: Annotated[list[str], typer.Argument(help="Names of the members' keys, or hexadecimal public keys.")],
    threshold: Annotated[int, typer.Option(min=1, max=16, help="How many must sign.")],
) -> None:
    """Make a multi-signature account of several keys."""
    store = _store(session)
    keys = [bytes.fromhex(text) if _is_key(text) else store.entry(text).public_key for text in members]
    session.show(_shown(store.add_joint(name, multisig_public_key(threshold, keys))))


def _is_key(text: str) -> bool:
    return len(text) > 64 and all(digit in "0123456789abcdef" for digit in text)


@command(app, "list")
def list_keys(session: Session) -> None:
    """List the account keys of this home."""
    store = _store(session)
    session.show([_shown(store.entry(name)) for name in store.names()])


@command(app)
def show(session: Session, name: Name) -> None:
    """Show a key's account, scheme and public key."""
    entry = _store(session).entry(name)
    session.show({
        **_shown(entry), "key_address": encode_address(address_of(entry.public_key)),
        "public_key": entry.public_key.hex(),
    })  # fmt: skip


@command(app)
def export(
    session: Session, name: Name,
    to: Annotated[Path | None, typer.Option(help="File to write; by default standard output.")] = None,
) -> None:
    """Write a key file out as it is: sealed with its password."""
    raw = _store(session).export(name)
    if to is None:
        sys.stdout.write(raw.decode())
        return
    try:
        write_file(to, raw)
    except OSError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"{to} cannot be written: {error.strerror}") from None
    session.show({"exported": str(to)})


@command(app, "import")
def import_key(
    session: Session, name: Name, file: Annotated[Path, typer.Argument(help="A key file from `export`.")],
    password_file: PasswordFile = None,
) -> None:
    """Store a key file from elsewhere under a name. Its password must open it."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_KEY_FILE + 1)
    except OSError as error:
        raise Refused(Reason.BAD_KEY_FILE, f"{file} cannot be read: {error.strerror}") from None
    session.show(_shown(_store(session).import_file(name, raw, read_password(password_file, str(file)))))


@command(app)
def rotate(
    session: Session, name: Name,
    recover: Annotated[bool, typer.Option("--recover", help="Take the new key from 24 words.")] = False,
    index: Annotated[int, typer.Option(min=0, help="Which account of the words.")] = 0,
    scheme: KeyScheme = "falcon",
    password_file: PasswordFile = None,
    key_cost: KeyCost = "moderate",
) -> None:
    """Sign for an account with a new key from now on; the address stays. Needs a running node."""
    kind, cost = scheme_of(scheme), cost_of(key_cost)
    new = KeyTree.from_phrase(read_phrase()).account(index, kind) if recover else SecretKey.generate(kind)
    session.show(rotate_key(session, name, new, read_password(password_file, f"key {name}"), cost))


@command(app)
def delete(
    session: Session, name: Name, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Delete a key for good. Without its words or an export, what it owns is lost."""
    store = _store(session)
    store.entry(name)
    if not yes:
        if not sys.stdin.isatty():
            raise Refused(Reason.USAGE, "to delete a key without being asked, add --yes")
        typer.confirm(f"Delete the key {name!r} for good?", abort=True, err=True)
    store.delete(name)
    session.show({"deleted": name})
