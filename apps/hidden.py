"""Transfers with hidden coins: what they have to show, and the turnstile between hidden and clear.

Asset and owner of a hidden coin are public, its amount is a Pedersen commitment. For each asset alone the commitments
spent, less those made, less what leaves in clear (the fee among it), commit to zero: a signature under that excess
shows it, and one range proof shows that no new amount is negative. Both are bound to the digest that the owners sign,
so to the whole body. They stand beside the witnesses: outside the txid, inside the wtxid and every cap on size.

These proofs are sound only while discrete logarithms are hard. So the pool of each asset is counted in clear: what went
in less what came out. Forged coins can come out only at the expense of others in the pool, never above its count.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from crypto.confidential import Balance, Claim, Fault, default_proofs
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from state.changes import Overlay, Reader
from state.ledger import pool, set_pool
from state.records import asset_text
from state.transaction import MAX_HIDDEN, Coin, Decoded, HiddenCoin, Output, Transfer, sign_digest
from state.types import NATIVE, AssetId, WtxId


class ProofTask(NamedTuple):
    """Proofs that a transaction stands on and that are not verified yet.

    A wtxid names them with all that they are about: body and proofs, and by their outpoints the coins spent.
    """

    wtxid: WtxId
    claim: Claim


ProofCheck = Callable[[Sequence[ProofTask]], Sequence[Fault]]
"""Verifies the proofs of a block's transactions at once and returns what does not hold, by place and in order. It must
give the same answer as `proofs_hold`; it may remember answers, by wtxid."""


class Movement(NamedTuple):
    """What a transfer moves.

    Attributes:
        claim: what it has to show; None if it spends and makes no hidden coin.
        flows: by asset, what enters the pool of hidden coins (above 0) or leaves it (below); nothing where it is 0.
    """

    claim: Claim | None
    flows: Mapping[AssetId, int]


def proofs_hold(tasks: Sequence[ProofTask]) -> tuple[Fault, ...]:
    """Verify every proof, now, in one batch. The weights follow from the transactions and from all that they weigh."""
    seed = digest(Label.BATCH_WEIGHTS, b"".join(task.wtxid for task in tasks))
    return default_proofs().faults([task.claim for task in tasks], seed)


def note_info(chain_id: bytes, coin: HiddenCoin, index: int) -> bytes:
    """Return what names a hidden coin in its note: chain, asset, owner, commitment, and its place among the outputs."""
    asset = bytes([len(coin.asset)]) + coin.asset
    return chain_id + asset + coin.owner + coin.commitment + index.to_bytes(4, "big")


# ---- without state


def check_proof_form(decoded: Decoded) -> None:
    """Check that a transaction carries proofs where it may, and that they have the right size.

    Raises:
        Refused: SURPLUS_PROOF, MISSING_PROOF, MALFORMED, TOO_LARGE.
    """
    payload, proofs = decoded.body.payload, decoded.transaction.proofs
    made = sum(isinstance(output, HiddenCoin) for output in payload.outputs) if isinstance(payload, Transfer) else 0
    if made > MAX_HIDDEN:
        raise Refused(Reason.TOO_LARGE, f"a transfer makes at most {MAX_HIDDEN} hidden coins, not {made}")
    if not proofs:
        if made:
            raise Refused(Reason.MISSING_PROOF, "new hidden coins come without proofs")
        return
    if not isinstance(payload, Transfer):
        raise Refused(Reason.SURPLUS_PROOF, "only transfers carry proofs")
    default_proofs().check_range_size(made, proofs[0].ranges)


def check_ranges(decoded: Decoded) -> None:
    """Verify the range proof of a transaction whose form was checked: what the bytes alone show of its hidden coins.

    Raises:
        Refused: BAD_POINT, BAD_SCALAR, BAD_RANGE_PROOF.
    """
    payload = decoded.body.payload
    if decoded.transaction.proofs and isinstance(payload, Transfer):
        seed = digest(Label.BATCH_WEIGHTS, decoded.wtxid)
        [proof] = decoded.transaction.proofs
        default_proofs().verify_ranges(
            sign_digest(decoded.transaction.body), commitments_made(payload), proof.ranges, seed
        )


def commitments_made(transfer: Transfer) -> tuple[bytes, ...]:
    """Return the commitments of the hidden coins that a transfer makes, in order."""
    return tuple(output.commitment for output in transfer.outputs if isinstance(output, HiddenCoin))


# ---- against the state


def movement(transfer: Transfer, decoded: Decoded, spent: Sequence[Output], reader: Reader) -> Movement:
    """Check what is public of a transfer's sums; return what is left to prove, and what passes the turnstile.

    Raises:
        Refused: UNBALANCED for an asset that moves in clear alone, UNKNOWN_ASSET for a new hidden coin of an asset that
            is not spent, SURPLUS_PROOF, MISSING_PROOF, TURNSTILE_OVERDRAWN.
    """
    surplus: dict[AssetId, int] = {}
    for output in spent:
        if isinstance(output, Coin):
            surplus[output.asset] = surplus.get(output.asset, 0) + output.amount
    for output in transfer.outputs:
        if isinstance(output, Coin):
            surplus[output.asset] = surplus.get(output.asset, 0) - output.amount
    surplus[NATIVE] = surplus.get(NATIVE, 0) - decoded.body.fee
    hidden = _hidden_balances(transfer, spent, surplus)
    flows = {asset: rest for asset, rest in surplus.items() if rest}
    for asset, rest in flows.items():
        if asset not in hidden:
            more = "more" if rest > 0 else "less"
            raise Refused(Reason.UNBALANCED, f"the inputs hold {abs(rest)} {asset_text(asset)} {more} than needed")
        if rest < 0 and pool(reader, asset) < -rest:
            raise Refused(
                Reason.TURNSTILE_OVERDRAWN,
                f"{-rest} {asset_text(asset)} would leave the pool of hidden coins, which holds {pool(reader, asset)}",
            )
    proofs = decoded.transaction.proofs
    if not hidden:
        if proofs:
            raise Refused(Reason.SURPLUS_PROOF, "a proof, and no hidden coin moves")
        return Movement(None, flows)
    if not proofs:
        raise Refused(Reason.MISSING_PROOF, "hidden coins move without a proof")
    if len(proofs[0].excesses) != len(hidden):
        reason = Reason.MISSING_PROOF if len(proofs[0].excesses) < len(hidden) else Reason.SURPLUS_PROOF
        raise Refused(reason, f"{len(proofs[0].excesses)} signatures for {len(hidden)} assets with hidden coins")
    balances = tuple(hidden[asset] for asset in sorted(hidden))
    context = sign_digest(decoded.transaction.body)
    return Movement(Claim(context, commitments_made(transfer), proofs[0].ranges, balances, proofs[0].excesses), flows)


def _hidden_balances(
    transfer: Transfer, spent: Sequence[Output], surplus: Mapping[AssetId, int]
) -> dict[AssetId, Balance]:
    """Return what has to be shown of each asset with hidden coins."""
    before: dict[AssetId, list[bytes]] = {}
    after: dict[AssetId, list[bytes]] = {}
    for outputs, found in ((spent, before), (transfer.outputs, after)):
        for output in outputs:
            if isinstance(output, HiddenCoin):
                found.setdefault(output.asset, []).append(output.commitment)
    held = {output.asset for output in spent if isinstance(output, Coin | HiddenCoin)}
    for asset in after:
        if asset not in held:
            raise Refused(Reason.UNKNOWN_ASSET, f"a new hidden coin of {asset_text(asset)}, and none of it is spent")
    return {
        asset: Balance(asset, tuple(before.get(asset, ())), tuple(after.get(asset, ())), -surplus.get(asset, 0))
        for asset in before.keys() | after.keys()
    }


def turn(flows: Mapping[AssetId, int], state: Overlay) -> None:
    """Count at the turnstile what `movement` allowed to pass."""
    for asset, flow in flows.items():
        set_pool(state, asset, pool(state, asset) + flow)


def task_of(decoded: Decoded, movement: Movement) -> ProofTask | None:
    """Return what is to be verified of a transaction, or None if it has no proofs."""
    return None if movement.claim is None else ProofTask(decoded.wtxid, movement.claim)
