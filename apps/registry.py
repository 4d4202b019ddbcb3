"""The one table of modules. To add a module, write its folder and add its `MODULE` here; nothing else changes."""

from collections.abc import Mapping
from typing import Any, Final

from apps.anonymous import MODULE as ANONYMOUS
from apps.auth import MODULE as AUTH
from apps.chain import MODULE as CHAIN
from apps.confidential import MODULE as CONFIDENTIAL
from apps.module import MessageKind, Module, Query
from apps.proofs import MODULE as PROOFS
from apps.slashing import MODULE as SLASHING
from apps.staking import MODULE as STAKING
from apps.token import MODULE as TOKEN
from crypto.errors import Reason, Refused
from state.changes import Reader

MODULES: Final[tuple[Module, ...]] = (CHAIN, AUTH, TOKEN, CONFIDENTIAL, ANONYMOUS, PROOFS, STAKING, SLASHING)
"""In the order in which their block hooks run."""


def messages_of(modules: tuple[Module, ...]) -> dict[str, MessageKind]:
    """Return every message kind by its full name, "module/verb"."""
    return {f"{module.name}/{verb}": kind for module in modules for verb, kind in module.messages.items()}


def queries_of(modules: tuple[Module, ...]) -> dict[str, Query]:
    """Return every query by its full path, "module/name"."""
    return {f"{module.name}/{name}": query for module in modules for name, query in module.queries.items()}


TURNSTILES: Final = tuple(prefix for module in MODULES for prefix in module.turnstiles)
"""What raw keys begin with that count what cannot be added up."""
MESSAGES: Final[Mapping[str, MessageKind]] = messages_of(MODULES)
QUERIES: Final[Mapping[str, Query]] = queries_of(MODULES)


def answer_query(reader: Reader, path: str, parameters: Mapping[str, str]) -> Any:
    """Answer a query such as "token/balance" from the state that `reader` shows.

    Returns:
        Plain data (dict, list, str, int, bool, None), integers as ints.

    Raises:
        Refused: NOT_AVAILABLE for an unknown path; BAD_ARGUMENT or BAD_ADDRESS for wrong parameters.
    """
    query = QUERIES.get(path)
    if query is None:
        raise Refused(Reason.NOT_AVAILABLE, f"there is no query {path}; there are {', '.join(sorted(QUERIES))}")
    return query(reader, parameters)
