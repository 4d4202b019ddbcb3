"""Passwords and phrases: from a file, the environment or the keyboard, never from the command line's words."""

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from crypto.errors import Reason, Refused
from crypto.keyfile import Preset
from crypto.schemes import Scheme

PASSWORD_VARIABLE: Final = "NEXUS_PASSWORD"
MAX_PASSWORD_FILE: Final = 4096

PasswordFile = Annotated[Path | None, typer.Option(help="File with the password; else NEXUS_PASSWORD or a prompt.")]
KeyCost = Annotated[str, typer.Option(help="Cost of one guess of the password: quick, interactive, moderate.")]

KeyScheme = Annotated[str, typer.Option(help="falcon, or hybrid: Falcon and Ed25519, both must sign.")]


def scheme_of(name: str) -> Scheme:
    """Return a scheme that a new key may have, by its name. Raises Refused(USAGE)."""
    schemes = {scheme.name.lower(): scheme for scheme in (Scheme.FALCON, Scheme.HYBRID)}
    if name not in schemes:
        raise Refused(Reason.USAGE, f"{name!r} is no key scheme; there are {', '.join(schemes)}")
    return schemes[name]


def read_password(file: Path | None, what: str, *, new: bool = False) -> str:
    """Return a password.

    Args:
        file: its first line, if given.
        what: whose it is, for the prompt.
        new: ask twice.

    Raises:
        Refused: USAGE if there is no file, no variable and nobody to ask, or the file cannot be read.
    """
    if file is not None:
        return _from_file(file)
    found = os.environ.get(PASSWORD_VARIABLE)
    if found is not None:
        return found
    if not sys.stdin.isatty():
        raise Refused(Reason.USAGE, f"the password of {what} is needed: --password-file FILE or {PASSWORD_VARIABLE}")
    password: str = typer.prompt(f"Password of {what}", hide_input=True, confirmation_prompt=new, err=True)
    return password


def read_phrase() -> str:
    """Return 24 words from the keyboard, or one line of stdin."""
    if sys.stdin.isatty():
        phrase: str = typer.prompt("The 24 words", err=True)
        return phrase
    return sys.stdin.readline().strip()


def cost_of(name: str) -> Preset:
    """Return a preset by its name. Raises Refused(USAGE)."""
    try:
        return Preset[name.upper()]
    except KeyError:
        names = ", ".join(preset.name.lower() for preset in Preset)
        raise Refused(Reason.USAGE, f"{name!r} is no key cost; there are {names}") from None


def _from_file(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_PASSWORD_FILE + 1)
        text = raw.decode().split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(Reason.USAGE, f"the password file cannot be read: {error}") from None
    if not text or len(raw) > MAX_PASSWORD_FILE:
        raise Refused(Reason.USAGE, f"the first line of {file} is no password")
    return text
