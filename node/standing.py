"""Where a home's own chain stands, and from what the headers above it may be verified without believing anybody."""

from dataclasses import dataclass
from typing import Final

from apps.chain.records import validators_at
from consensus.light import LightBlock
from consensus.types import Tip
from node.chain import Chain, open_chain
from node.home import Home
from node.light.roots import GenesisRoot, HeaderRoot, Root
from node.restore import settle
from state.genesis import Genesis, genesis_hash
from state.leveldb import LevelDB
from state.types import Height

FAR: Final = 1000
"""Blocks behind the peers from which on a snapshot is worth it."""
FRESH: Final = 60_000
"""ms: a tip that is younger is not far behind anybody."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a chain stands, and what is trusted.

    Attributes:
        height: of the tip; 0 for a chain that has only its genesis.
        root: what is trusted.
        first: the trusted block itself, if it is our own tip.
        insists: the operator named the root.
        far: blocks behind the peers from which on a snapshot is worth it.
    """

    height: Height
    root: Root
    first: LightBlock | None
    insists: bool
    far: int = FAR


@dataclass(frozen=True, slots=True)
class Look:
    """What a look into a home that does not run gives.

    Attributes:
        tip: of its chain.
        place: from where it may join by a snapshot; None if it need not, or if nothing is trusted.
        expired: it is far in the past, and nothing that is here is young enough to be trusted.
    """

    tip: Tip
    place: Standing | None
    expired: bool


def look_into(home: Home, genesis: Genesis, own_key: bytes | None, named: HeaderRoot | None, now: int) -> Look:
    """Look whether a home may need a snapshot, without asking anybody.

    A validator of the present set begins at once: it shows while it runs whether it is far behind.

    Args:
        home: exists; its node does not run.
        genesis: of its chain.
        own_key: our public consensus key, or None.
        named: the block that the operator trusts.
        now: our clock, ms since 1970.

    Raises:
        Refused: HOME_IN_USE, CORRUPT_DATABASE, GENESIS_MISMATCH.
    """
    settle(home)
    store = LevelDB.open(home.chain)
    try:
        chain = open_chain(store, genesis)
        votes = own_key is not None and any(
            one.public_key == own_key for one in validators_at(chain.store, Height(chain.height + 1)).validators
        )
        if named is not None:
            return Look(chain.tip, Standing(chain.height, named, None, True, 1), False)
        if votes or (chain.height and now - chain.tip.time < FRESH):
            return Look(chain.tip, None, False)
        place = standing_of(chain, now)
        return Look(chain.tip, place, place is None)
    finally:
        store.close()


def standing_of(chain: Chain, now: int) -> Standing | None:
    """Return from where a chain may be joined anew by what it vouches for itself; None if all of that is too old.

    Args:
        chain: opened.
        now: our clock, ms since 1970.
    """
    tip, genesis = chain.tip, chain.genesis
    period = genesis.security.trust_period
    if chain.height and now - tip.time < period:
        own = chain.light_block(chain.height)
        return Standing(chain.height, HeaderRoot(chain.height, tip.block_id), own, False)
    if now - genesis.time < period:
        return Standing(chain.height, GenesisRoot(genesis_hash(genesis)), None, False)
    return None
