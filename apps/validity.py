"""When a transaction may be in a block. A block that holds one that breaks these rules is invalid as a whole.

    stateless_check   needs the bytes, the chain id and the parameters; done once, before anything else
    resolve_keys      the public key of each witness: the registered one, or the one that the witness reveals
    check_common      anchor, hashcash, expiry, gas and fee
    check_where       space record
    check_call        nonce, fee funds
    apps/moves.py     what everything else needs besides

Which message a call carries and whether it succeeds is no matter of validity: see apps/execution.py.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from apps.anonymous.form import check_anonymous_form
from apps.chain.records import Anchor, anchor
from apps.chain.upgrade import version_at
from apps.gas import gas_wanted, intrinsic_gas
from apps.hidden import check_proof_form
from apps.proofs.records import Demands, demands, has_space
from crypto.errors import Reason, Refused
from crypto.ristretto import IDENTITY
from crypto.schemes import address_of, check_public_key, verify
from crypto.work import meets
from state.changes import Reader
from state.ledger import balance, nonce
from state.params import ChainParams
from state.records import KEY, asset_text
from state.transaction import (
    Anonymous,
    Call,
    Coin,
    Decoded,
    HiddenCoin,
    Output,
    Script,
    Transfer,
    made_by,
    sign_digest,
    work_digest,
)
from state.types import HASH_SIZE, MAX_AMOUNT, NATIVE, Address, BlockId, ChainId, Height

SignatureCheck = Callable[[Decoded, tuple[bytes, ...]], bool]
"""Tells whether the witnesses of a transaction hold under these public keys, in witness order. It must give the same
answer as `signatures_hold`; it may remember answers, by wtxid and keys."""


def signatures_hold(decoded: Decoded, keys: tuple[bytes, ...]) -> bool:
    """Verify every witness, now."""
    message = sign_digest(decoded.transaction.body)
    return all(
        verify(key, message, witness.signature)
        for key, witness in zip(keys, decoded.transaction.witnesses, strict=True)
    )


@dataclass(slots=True)
class View:
    """The chain as a transaction in the block at `height` sees it.

    Attributes:
        reader: the state before that transaction.
        height: of the block that the transaction is or would be in.
        version: protocol version of that block.
        demands: what the chain asks of a transaction besides.
        anchors: anchors looked up so far; only recent blocks get in.
    """

    reader: Reader
    chain_id: ChainId
    height: Height
    params: ChainParams
    version: int
    demands: Demands
    anchors: dict[bytes, Anchor] = field(default_factory=dict)

    def anchor(self, block_id: bytes) -> Anchor:
        """Return what is known of one of the last A blocks. Raises Refused(UNKNOWN_ANCHOR)."""
        found = self.anchors.get(block_id)
        if found is None:
            found = anchor(self.reader, block_id)
            if found is not None:
                self.anchors[block_id] = found
        if found is None or found.height < self.height - self.params.anchor_window:
            raise Refused(Reason.UNKNOWN_ANCHOR, f"the anchor is none of the last {self.params.anchor_window} blocks")
        return found


def view_after(reader: Reader, params: ChainParams, chain_id: ChainId, height: Height, block_id: BlockId) -> View:
    """Return the view of the block that would follow the last executed one (its height and id)."""
    version = version_at(reader, height + 1)
    asked = demands(reader)
    last = Anchor(height, asked.difficulty)
    return View(reader, chain_id, Height(height + 1), params, version, asked, {block_id: last})


# ---- without state


def stateless_check(decoded: Decoded, chain_id: ChainId, params: ChainParams, version: int) -> None:
    """Check everything that needs no account, no output and no height.

    Raises:
        Refused: WRONG_VERSION, WRONG_CHAIN, SURPLUS_SIGNATURE, MISSING_SIGNATURE,
            TOO_LARGE, DUPLICATE_INPUT, AMOUNT_OUT_OF_RANGE, UNKNOWN_ASSET, BAD_ARGUMENT; MISSING_PROOF,
            SURPLUS_PROOF or MALFORMED for proofs; as `check_anonymous_form`.
    """
    body = decoded.body
    if body.version != version:
        raise Refused(Reason.WRONG_VERSION, f"version {body.version}, in force is {version}")
    if body.chain_id != chain_id:
        raise Refused(Reason.WRONG_CHAIN, f"the transaction is for the chain {body.chain_id.hex()}")
    payload = body.payload
    witnesses = decoded.transaction.witnesses
    if len(witnesses) > 1 and any(one.signer >= next_one.signer for one, next_one in pairwise(witnesses)):
        raise Refused(Reason.SURPLUS_SIGNATURE, "the witnesses are not in rising order of signer")
    if len(body.sponsor) not in (0, HASH_SIZE):
        raise Refused(Reason.BAD_ADDRESS, f"a sponsor's address has {HASH_SIZE} bytes")
    if not witnesses and not isinstance(payload, Anonymous):
        raise Refused(Reason.MISSING_SIGNATURE, "nobody signed")
    for output in made_by(payload):
        check_output_form(output)
    if isinstance(payload, Anonymous):
        check_anonymous_form(payload, decoded)
        return
    if isinstance(payload, Call):
        check_signers((payload.sender,), decoded)
    elif len(set(payload.inputs)) != len(payload.inputs):
        raise Refused(Reason.DUPLICATE_INPUT, "an output is spent twice")
    if isinstance(payload, Script):
        check_script_form(payload, body.expiry)
    check_proof_form(decoded)
    if not isinstance(payload, Transfer) and payload.gas_wanted > params.max_block_gas:
        raise Refused(Reason.TOO_LARGE, f"gas wanted {payload.gas_wanted}, a block has {params.max_block_gas}")


def check_output_form(output: Output) -> None:
    """Check one new output by itself.

    Raises:
        Refused: AMOUNT_OUT_OF_RANGE, UNKNOWN_ASSET, BAD_POINT, BAD_ARGUMENT.
    """
    if isinstance(output, Coin):
        if not 0 < output.amount <= MAX_AMOUNT:
            raise Refused(Reason.AMOUNT_OUT_OF_RANGE, f"a coin holds 1 to {MAX_AMOUNT}")
        check_asset_form(output.asset)
    elif isinstance(output, HiddenCoin):
        check_asset_form(output.asset)
        if output.commitment == IDENTITY:
            raise Refused(Reason.BAD_POINT, "a commitment is the identity")
    else:
        check_asset_form(output.asset)
        if output.not_before > output.not_after:
            raise Refused(Reason.BAD_ARGUMENT, "the time bounds of an output are in the wrong order")


def check_script_form(script: Script, expiry: Height) -> None:
    """Check a script transaction by itself. Raises Refused(BAD_ARGUMENT, SURPLUS_SIGNATURE)."""
    if script.not_before > expiry:
        raise Refused(Reason.BAD_ARGUMENT, f"not before height {script.not_before}, and expired after {expiry}")
    if any(one >= next_one for one, next_one in pairwise(script.signers)):
        raise Refused(Reason.SURPLUS_SIGNATURE, "the further signers are not in rising order")


def check_asset_form(asset: bytes) -> None:
    """Check the length of an asset id. Raises Refused(UNKNOWN_ASSET)."""
    if len(asset) not in (0, HASH_SIZE):
        raise Refused(Reason.UNKNOWN_ASSET, f"an asset id has {HASH_SIZE} bytes, or none for the native token")


# ---- who signs


def check_signers(needed: Sequence[Address], decoded: Decoded) -> None:
    """Check that exactly these (in rising order) and the sponsor, if the body names one, signed.

    Raises:
        Refused: MISSING_SIGNATURE, SURPLUS_SIGNATURE.
    """
    signers = decoded.signers
    if decoded.body.sponsor:
        needed = sorted({*needed, Address(decoded.body.sponsor)})
    if signers == tuple(needed):
        return
    missing = set(needed).difference(signers)
    if missing:
        raise Refused(Reason.MISSING_SIGNATURE, f"{min(missing).hex()} did not sign")
    raise Refused(Reason.SURPLUS_SIGNATURE, "somebody signed whose signature is not needed")


def resolve_keys(decoded: Decoded, reader: Reader) -> tuple[bytes, ...]:
    """Return the current public key of each witness's signer, in witness order.

    Raises:
        Refused: UNKNOWN_KEY if the key is neither on chain nor in the witness; BAD_KEY if the witness carries another
            key than the registered one, or one that is no key of this address.
    """
    keys = []
    for witness in decoded.transaction.witnesses:
        registered = reader.get(KEY + witness.signer)
        if registered is not None:
            if witness.key and witness.key != registered:
                raise Refused(Reason.BAD_KEY, f"{witness.signer.hex()} has another key on chain")
            keys.append(registered)
            continue
        if not witness.key:
            raise Refused(Reason.UNKNOWN_KEY, f"{witness.signer.hex()} has no key on chain, and the witness has none")
        if address_of(witness.key) != witness.signer:
            raise Refused(Reason.BAD_KEY, f"the key in the witness is not that of {witness.signer.hex()}")
        check_public_key(witness.key)
        keys.append(witness.key)
    return tuple(keys)


# ---- against the state


def check_common(decoded: Decoded, keys: tuple[bytes, ...], view: View, *, exempt: bool = False) -> int:
    """Check what calls and transfers share, and return the gas wanted.

    Args:
        decoded: the transaction.
        keys: the public keys of its signers.
        view: the chain.
        exempt: it needs no hashcash and no fee.

    Raises:
        Refused: UNKNOWN_ANCHOR, INSUFFICIENT_WORK (for the anchor's difficulty), EXPIRED, EXPIRY_TOO_FAR, OUT_OF_GAS
            (wants less than its bytes and signatures use), FEE_TOO_LOW, BAD_KEY.
    """
    body = decoded.body
    params = view.params
    anchored, difficulty = view.anchor(body.anchor)
    if difficulty and not exempt and not meets(work_digest(decoded.transaction.body), difficulty):
        raise Refused(Reason.INSUFFICIENT_WORK, f"the hashcash needs {difficulty} leading zero bits")
    if body.expiry < view.height:
        raise Refused(Reason.EXPIRED, f"expired at height {body.expiry}, the block is of height {view.height}")
    if body.expiry > anchored + params.expiry_window:
        raise Refused(Reason.EXPIRY_TOO_FAR, f"at most {params.expiry_window} heights after the anchor's {anchored}")
    intrinsic = intrinsic_gas(body.payload, len(decoded.raw), keys, decoded.excesses)
    wanted = gas_wanted(body.payload, intrinsic)
    if wanted < intrinsic:
        raise Refused(Reason.OUT_OF_GAS, f"gas wanted {wanted}, the transaction alone uses {intrinsic}")
    if not exempt and body.fee < wanted * params.min_gas_price:
        raise Refused(Reason.FEE_TOO_LOW, f"the fee for {wanted} gas is at least {wanted * params.min_gas_price} unxs")
    return wanted


def check_call(call: Call, fee: int, reader: Reader) -> None:
    """Check the nonce and that the sender can pay the fee.

    Raises:
        Refused: NONCE_TOO_LOW, NONCE_TOO_HIGH, INSUFFICIENT_FEE_FUNDS.
    """
    expected = nonce(reader, call.sender)
    if call.nonce < expected:
        raise Refused(Reason.NONCE_TOO_LOW, f"nonce {call.nonce} was used, the next is {expected}")
    if call.nonce > expected:
        raise Refused(Reason.NONCE_TOO_HIGH, f"nonce {call.nonce}, the next is {expected}")
    check_fee_funds(call.sender, fee, reader)


def check_fee_funds(payer: Address, fee: int, reader: Reader) -> None:
    """Check that an account can pay. Raises Refused(INSUFFICIENT_FEE_FUNDS)."""
    held = balance(reader, payer, NATIVE)
    if held < fee:
        raise Refused(Reason.INSUFFICIENT_FEE_FUNDS, f"the balance is {held} {asset_text(NATIVE)}, the fee {fee}")


def check_where(payers: Iterable[Address], sponsor: bytes, view: View) -> None:
    """Check that the sponsor, or without one some payer, has a space record, if the chain asks for it.

    Raises:
        Refused: MISSING_WHERE.
    """
    if not view.demands.where:
        return
    places = (Address(sponsor),) if sponsor else payers
    if not any(has_space(view.reader, place, view.demands.epoch) for place in places):
        whose = "the sponsor has no space record" if sponsor else "the payer has no space record, and names no sponsor"
        raise Refused(Reason.MISSING_WHERE, f"{whose}: send proofs/space from a plot, or let somebody who did co-sign")
