"""Hidden amounts: what a transaction that moves them has to show, and the turnstile between hidden and clear.

They lie in hidden coins, and in the commitments of Memos and States. Asset and owner are public, the amount is a
Pedersen commitment. For each asset alone the commitments
spent, less those made, less what leaves in clear (the fee among it), commit to zero: a signature under that excess
shows it, and one range proof shows that no new amount is negative. Both are bound to the digest that the owners sign,
so to the whole body. They stand beside the witnesses: outside the txid, inside the wtxid and every cap on size.

These proofs are sound only while discrete logarithms are hard. So the pool of each asset is counted in clear: what went
in less what came out. Forged coins can come out only at the expense of others in the pool, never above its count.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from crypto.confidential import Balance, Claim, default_proofs
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from state.changes import Overlay, Reader
from state.ledger import pool, set_pool
from state.records import asset_text
from state.transaction import (
    MAX_HIDDEN,
    Call,
    Coin,
    Decoded,
    Held,
    HiddenCoin,
    Output,
    Script,
    Spend,
    TransferProof,
    held,
    made_by,
    sign_digest,
)
from state.types import NATIVE, AssetId

_NOTHING_SHOWN: Final = TransferProof(b"", ())


class Movement(NamedTuple):
    """What a transfer moves.

    Attributes:
        claim: what it has to show; None if it spends and makes no hidden coin.
        flows: by asset, what enters the pool of hidden coins (above 0) or leaves it (below); nothing where it is 0.
    """

    claim: Claim | None
    flows: Mapping[AssetId, int]


def note_info(chain_id: bytes, coin: HiddenCoin, index: int) -> bytes:
    """Return what names a hidden coin in its note: chain, asset, owner, commitment, and its place among the outputs."""
    asset = bytes([len(coin.asset)]) + coin.asset
    return chain_id + asset + coin.owner + coin.commitment + index.to_bytes(4, "big")


# ---- without state


def check_proof_form(decoded: Decoded) -> None:
    """Check that a transfer, script or call carries proofs where it may, and that they have the right size.

    Raises:
        Refused: SURPLUS_PROOF, MISSING_PROOF, MALFORMED, TOO_LARGE.
    """
    payload, shown = decoded.body.payload, decoded.shown
    made = len(held_by(made_by(payload)))
    if made > MAX_HIDDEN:
        raise Refused(Reason.TOO_LARGE, f"a transaction makes at most {MAX_HIDDEN} hidden amounts, not {made}")
    if shown is None:
        if decoded.transaction.proofs:
            raise Refused(Reason.SURPLUS_PROOF, "the proof is one of an anonymous payment")
        if made:
            raise Refused(Reason.MISSING_PROOF, "new hidden amounts come without proofs")
        return
    if isinstance(payload, Call):
        raise Refused(Reason.SURPLUS_PROOF, "calls carry no proofs")
    if shown.program and not isinstance(payload, Script):
        raise Refused(Reason.SURPLUS_PROOF, "a proof of a program, and none is run")
    if not shown.program and not shown.excesses:
        raise Refused(Reason.SURPLUS_PROOF, "the proofs show nothing")
    default_proofs().check_range_size(made, shown.ranges)


def held_by(outputs: Sequence[Output]) -> tuple[Held, ...]:
    """Return the hidden amounts that outputs hold, in order."""
    return tuple([found for output in outputs if (found := held(output)) is not None])


def check_ranges(decoded: Decoded) -> None:
    """Verify the range proof of a transaction whose form was checked: what the bytes alone show of its hidden amounts.

    Raises:
        Refused: BAD_POINT, BAD_SCALAR, BAD_RANGE_PROOF.
    """
    if decoded.shown is not None:
        seed = digest(Label.BATCH_WEIGHTS, decoded.wtxid)
        made = tuple(found.commitment for found in held_by(made_by(decoded.body.payload)))
        default_proofs().verify_ranges(sign_digest(decoded.transaction.body), made, decoded.shown.ranges, seed)


# ---- against the state


def movement(spend: Spend, decoded: Decoded, spent: Sequence[Output], reader: Reader) -> Movement:
    """Check what is public of a transaction's sums; return what is left to prove, and what passes the turnstile.

    Args:
        spend: the payload.
        decoded: the transaction.
        spent: the outputs that it spends.
        reader: the state before it.

    Raises:
        Refused: UNBALANCED for an asset that moves in clear alone, UNKNOWN_ASSET for a new hidden amount of an asset
            that is not spent, SURPLUS_PROOF, MISSING_PROOF, TURNSTILE_OVERDRAWN.
    """
    surplus: dict[AssetId, int] = {}
    for output in spent:
        if isinstance(output, Coin):
            surplus[output.asset] = surplus.get(output.asset, 0) + output.amount
    for output in spend.outputs:
        if isinstance(output, Coin):
            surplus[output.asset] = surplus.get(output.asset, 0) - output.amount
    surplus[NATIVE] = surplus.get(NATIVE, 0) - decoded.body.fee
    hidden = _hidden_balances(spend, spent, surplus)
    flows = {asset: rest for asset, rest in surplus.items() if rest}
    for asset, rest in flows.items():
        if asset not in hidden:
            more = "more" if rest > 0 else "less"
            raise Refused(Reason.UNBALANCED, f"the inputs hold {abs(rest)} {asset_text(asset)} {more} than needed")
        if rest < 0 and pool(reader, asset) < -rest:
            raise Refused(
                Reason.TURNSTILE_OVERDRAWN,
                f"{-rest} {asset_text(asset)} would leave the pool of hidden amounts, which is {pool(reader, asset)}",
            )
    shown = decoded.shown or _NOTHING_SHOWN
    if len(shown.excesses) != len(hidden):
        reason = Reason.MISSING_PROOF if len(shown.excesses) < len(hidden) else Reason.SURPLUS_PROOF
        raise Refused(reason, f"{len(shown.excesses)} signatures for {len(hidden)} assets with hidden amounts")
    if not hidden:
        return Movement(None, flows)
    made = tuple(found.commitment for found in held_by(spend.outputs))
    balances = tuple(hidden[asset] for asset in sorted(hidden))
    context = sign_digest(decoded.transaction.body)
    return Movement(Claim(context, made, shown.ranges, balances, shown.excesses), flows)


def _hidden_balances(
    spend: Spend, spent: Sequence[Output], surplus: Mapping[AssetId, int]
) -> dict[AssetId, Balance]:
    """Return what has to be shown of each asset with hidden amounts."""
    held_before, held_after = held_by(spent), held_by(spend.outputs)
    if not held_before and not held_after:
        return {}
    before: dict[AssetId, list[bytes]] = {}
    after: dict[AssetId, list[bytes]] = {}
    for amounts, found in ((held_before, before), (held_after, after)):
        for asset, commitment in amounts:
            found.setdefault(asset, []).append(commitment)
    known = before.keys() | {output.asset for output in spent if isinstance(output, Coin)}
    for asset in after:
        if asset not in known:
            raise Refused(Reason.UNKNOWN_ASSET, f"a new hidden amount of {asset_text(asset)}, and none of it is spent")
    return {
        asset: Balance(asset, tuple(before.get(asset, ())), tuple(after.get(asset, ())), -surplus.get(asset, 0))
        for asset in before.keys() | after.keys()
    }


def turn(flows: Mapping[AssetId, int], state: Overlay) -> None:
    """Count at the turnstile what `movement` allowed to pass."""
    for asset, flow in flows.items():
        set_pool(state, asset, pool(state, asset) + flow)
