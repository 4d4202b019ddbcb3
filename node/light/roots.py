"""The root of trust: what the user says to be true, from which everything else is derived.

Three forms. A *block* whose height and id somebody told whom the user trusts, younger than the trust period. The
*genesis hash* of a chain that is younger than that. Or the genesis hash of an older chain, where every header from the
first on is checked: that is safe only against those who never held two thirds of the power of any old validator set,
since keys that were sold when their stake was gone can sign another past.
"""

from dataclasses import dataclass

from apps.chain.rules import genesis_validators
from consensus.effects import Verifier
from consensus.light import LightBlock, TrustParams, check_first, check_light_block
from crypto.errors import Reason, Refused
from state.genesis import Genesis, decode_genesis, genesis_hash
from state.types import BlockId, ChainId, Height

CLOCK_DRIFT = 10_000
"""ms by which a header may be ahead of our clock."""


@dataclass(frozen=True, slots=True)
class GenesisRoot:
    """Trust in the chain id alone. `every_header` goes through a chain that is older than its trust period."""

    chain_id: ChainId
    every_header: bool = False

    @property
    def height(self) -> Height:
        """Where the way begins: the first block."""
        return Height(1)

    def __str__(self) -> str:
        return f"genesis {self.chain_id.hex()[:16]}"


@dataclass(frozen=True, slots=True)
class HeaderRoot:
    """Trust in one block: its height and id. `period` in ms; 0 takes that of the chain's genesis document."""

    height: Height
    block_id: BlockId
    period: int = 0

    def __str__(self) -> str:
        return f"block {self.height} {self.block_id.hex()[:16]}"


Root = GenesisRoot | HeaderRoot


def trusted_genesis(raw: bytes, chain_id: ChainId) -> Genesis:
    """Return the genesis document that a chain id names. Raises Refused(WRONG_CHAIN | BAD_GENESIS)."""
    genesis = decode_genesis(raw)
    if genesis_hash(genesis) != chain_id:
        raise Refused(
            Reason.WRONG_CHAIN, f"the node has another genesis: its chain id is {genesis_hash(genesis).hex()}, "
            f"expected {chain_id.hex()}; ask a node of your network",
        )
    return genesis


def check_identity(root: Root, first: LightBlock) -> ChainId:
    """Check that a block is the one that the root names, as far as it names one, and return the chain's id.

    Raises:
        Refused: WRONG_HEIGHT, BAD_HEADER.
    """
    if first.height != root.height:
        raise Refused(Reason.WRONG_HEIGHT, f"the answer begins at {first.height}, the trust at {root.height}")
    if isinstance(root, GenesisRoot):
        return root.chain_id
    if first.header.block_id != root.block_id:
        raise Refused(
            Reason.BAD_HEADER,
            f"block {root.height} has the id {first.header.block_id.hex()} here, not the trusted one: either the "
            "height and hash that you were given are wrong, or this node is on another chain",
        )
    return first.header.chain_id


def check_root(root: Root, first: LightBlock, genesis: Genesis, now: int, verifier: Verifier) -> TrustParams:
    """Check the first block of a way against the root of trust.

    Args:
        root: what the user trusts.
        first: the block of `root.height`, from anybody.
        genesis: the document whose hash is the chain id in `first`, checked by the caller.
        now: our clock, ms since 1970.
        verifier: checks signatures.

    Returns:
        What the rest of the way is judged by.

    Raises:
        Refused: WRONG_HEIGHT, BAD_HEADER, WRONG_CHAIN, BAD_TIME, TRUST_EXPIRED, BAD_COMMIT, BAD_SIGNATURE.
    """
    own = genesis.security.trust_period
    if isinstance(root, GenesisRoot):
        params = TrustParams(root.chain_id, own, CLOCK_DRIFT)
        if genesis.time + own <= now and not root.every_header:
            raise Refused(
                Reason.TRUST_EXPIRED,
                f"the genesis is {_days(now - genesis.time)} old and vouches for {_days(own)}: name a newer block that "
                "you trust (--trust-height and --trust-hash, or --checkpoint), or go through every header "
                "(--every-header)",
            )
        check_first(first, genesis_validators(genesis), root.chain_id, verifier)
    else:
        params = TrustParams(first.header.chain_id, min(root.period or own, own), CLOCK_DRIFT)
        check_identity(root, first)
        check_light_block(first, params.chain_id, verifier)
    if first.header.time > now + params.clock_drift:
        raise Refused(Reason.BAD_TIME, "the root of trust is from the future: check this machine's clock")
    if not (isinstance(root, GenesisRoot) and root.every_header):
        check_age(first, now, params)
    return params


def check_age(trusted: LightBlock, now: int, params: TrustParams) -> None:
    """Refuse a trusted block that vouches for nothing any more. Raises Refused(TRUST_EXPIRED)."""
    if trusted.header.time + params.trust_period <= now:
        raise Refused(
            Reason.TRUST_EXPIRED,
            f"the trusted block {trusted.height} is {_days(now - trusted.header.time)} old, more than the trust "
            f"period of {_days(params.trust_period)}: ask somebody you trust for a newer height and hash, and give "
            "them with --trust-height and --trust-hash",
        )


def age_warning(trusted: LightBlock, now: int, params: TrustParams) -> str:
    """Return what to tell a person whose trusted block grows old, or nothing while more than a third is left."""
    left = trusted.header.time + params.trust_period - now
    if 3 * left > params.trust_period:
        return ""
    return (
        f"the newest trusted block, {trusted.height}, is {_days(now - trusted.header.time)} old and expires in "
        f"{_days(max(0, left))}: let the light client follow the chain before then, or it needs a new root of trust"
    )


def _days(duration: int) -> str:
    """Return a duration in ms for people."""
    for unit, size in (("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000)):
        if duration >= 2 * size:
            return f"{duration / size:.3g} {unit}"
    return f"{duration / 1000:.3g} s"
