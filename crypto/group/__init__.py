"""The backends of `crypto.ristretto`, and the choice between them.

Each is loaded when it is first asked for: libsodium's wheel takes 0.2 s to unpack, and a node whose kernel is built
never needs it.
"""

import importlib
import importlib.util
import os
from functools import cache
from typing import Final

from crypto.ristretto import Group

SODIUM: Final = "sodium"
NATIVE: Final = "native"
SWITCH: Final = "NEXUS_NO_NATIVE"
"""Environment variable: set to anything but "" or "0", the native backend is left alone."""


def available() -> tuple[str, ...]:
    """Return the names of the backends that can be loaded here, the one to prefer first."""
    native = importlib.util.find_spec("nexus_native") is not None
    wanted = os.environ.get(SWITCH, "") in ("", "0")
    return (NATIVE, SODIUM) if native and wanted else (SODIUM,)


@cache
def load(name: str) -> Group:
    """Return a backend by name, one object for the life of the process."""
    group: Group = importlib.import_module(f"crypto.group.{name}").GROUP
    return group


@cache
def default() -> Group:
    """Return the backend to use: the native one if it is built and not switched off, else libsodium."""
    return load(available()[0])
