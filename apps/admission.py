"""What a transaction must fulfil to wait in the mempool: validity for the next block, with room for what waits.

The mempool keeps the books of what is pending: conflicts, replacement, the order of nonces. Here a transaction is
held against the committed state alone, so an output that a pending transaction makes is not there yet
(OUTPUT_NOT_FOUND is temporary), and a call's nonce may be ahead.
"""

from typing import Final, NamedTuple

from apps.anonymous.messages import Close
from apps.anonymous.records import ACCOUNT, known_account
from apps.exempt import exemption, needs_where
from apps.gas import intrinsic_gas
from apps.moves import check_move
from apps.prooftask import ClosingClaim, ProofTask
from apps.registry import MESSAGES
from apps.token.messages import Withdraw
from apps.validity import View, check_common, check_fee_funds, check_where, resolve_keys, stateless_check
from crypto.accounts import Closing
from crypto.errors import Reason, Refused
from state.changes import Reader
from state.encoding import Codec
from state.ledger import nonce, output
from state.transaction import Call, Decoded, OutPoint
from state.types import Address

WITHDRAW: Final = "token/withdraw"
"""The message that turns coins into balance: it takes outputs, as a transfer does."""
CLOSE: Final = "anonymous/close"
"""The message that turns an anonymous account into balance."""
_withdraw_codec: Final = Codec(Withdraw)
_close_codec: Final = Codec(Close)


class Admission(NamedTuple):
    """What the mempool needs to know of a transaction that may wait.

    Attributes:
        gas: gas wanted, which its fee is for.
        keys: under which its signatures hold, in witness order: verify them with these before it is let in.
        next_nonce: of a call, the nonce that the state expects of its sender; 0 for a transfer.
        free: names validator and message of an exempt call, of which one may wait at a time; else empty.
        withdrawn: what a call turns into balance, each once: coins of the sender, and anonymous accounts by raw key,
            which are the sender's if `proofs` hold.
        proofs: what is to be verified besides the signatures; None if the transaction has no proofs.
    """

    gas: int
    keys: tuple[bytes, ...]
    next_nonce: int
    free: bytes
    withdrawn: tuple[OutPoint | bytes, ...]
    proofs: ProofTask | None = None


def check_for_admission(decoded: Decoded, view: View, pending_fees: int = 0) -> Admission:
    """Check everything but the signatures and the zero-knowledge proofs.

    Args:
        decoded: the transaction.
        view: the block that would come next, on the committed state: `apps.validity.view_after`.
        pending_fees: fees of other pending calls by the same sender, which its balance has to cover too.

    Raises:
        Refused: any reason of validity but NONCE_TOO_HIGH, BAD_SIGNATURE and those of proofs; UNKNOWN_MESSAGE,
            MALFORMED, NOT_CANONICAL or OUT_OF_GAS for a call that would fail for its form, whatever the state;
            ACCOUNT_NOT_FOUND for one that closes an anonymous account which is not there.
    """
    stateless_check(decoded, view.chain_id, view.params, view.version)
    keys = resolve_keys(decoded, view.reader)
    exempt = exemption(decoded, view)
    gas = check_common(decoded, keys, view, exempt=exempt is not None)
    payload = decoded.body.payload
    payers: set[Address] = set()
    expected = 0
    taken: tuple[OutPoint | bytes, ...] = ()
    proofs: ProofTask | None = None
    if not isinstance(payload, Call):
        move = check_move(payload, decoded, keys, view)
        payers = move.owners
        proofs = move.proofs(decoded.wtxid)
    else:
        expected = nonce(view.reader, payload.sender)
        if payload.nonce < expected:
            raise Refused(Reason.NONCE_TOO_LOW, f"nonce {payload.nonce} was used, the next is {expected}")
        check_fee_funds(payload.sender, decoded.body.fee + pending_fees, view.reader)
        check_messages(payload, len(decoded.raw), keys)
        closings = closed(payload, view)
        if closings:
            proofs = ProofTask(decoded.wtxid, closings=tuple(closings.values()))
        payers, taken = {payload.sender}, (*withdrawn(payload, view.reader), *closings)
    if exempt is None and needs_where(decoded):
        check_where(payers, decoded.body.sponsor, view)
    return Admission(gas, keys, expected, b"" if exempt is None else exempt.key, taken, proofs)


def withdrawn(call: Call, reader: Reader) -> tuple[OutPoint, ...]:
    """Return the coins of the sender that a call withdraws. Those of others are left out: the call fails on them."""
    named = [
        outpoint for message in call.messages if message.name == WITHDRAW
        for outpoint in _withdraw_codec.decode(message.value).inputs
    ]
    return tuple(dict.fromkeys(one for one in named if _owner(reader, one) == call.sender))


def closed(call: Call, view: View) -> dict[bytes, ClosingClaim]:
    """Return the anonymous accounts that a call closes, by raw key, with what it has to show for each.

    Raises:
        Refused: ACCOUNT_NOT_FOUND: others have hidden among the account meanwhile, and it has another id.
    """
    found = {}
    for message in call.messages:
        if message.name == CLOSE:
            asked = _close_codec.decode(message.value)
            account = known_account(view.reader, asked.account).account
            closing = Closing(view.chain_id, account, call.sender, asked.amount)
            found[ACCOUNT + asked.account] = ClosingClaim(closing, asked.proof)
    return found


def _owner(reader: Reader, outpoint: OutPoint) -> Address | None:
    found = output(reader, outpoint)
    return None if found is None else found.owner


def call_gas(call: Call, size: int, keys: tuple[bytes, ...]) -> int:
    """Return the gas that a call uses when all its messages succeed: what a wallet puts in `gas_wanted`.

    Args:
        call: the call; its own `gas_wanted` is not looked at.
        size: wire bytes of the whole transaction.
        keys: the public keys of its signers.

    Raises:
        Refused: UNKNOWN_MESSAGE, MALFORMED, NOT_CANONICAL, BAD_KEY.
    """
    gas = intrinsic_gas(call, size, keys)
    for message in call.messages:
        kind = MESSAGES.get(message.name)
        if kind is None:
            raise Refused(Reason.UNKNOWN_MESSAGE, f"no module has the message {message.name}")
        gas += kind.gas(kind.codec.decode(message.value))
    return gas


def check_messages(call: Call, size: int, keys: tuple[bytes, ...]) -> None:
    """Refuse a call that can only fail. It would be valid, but its sender would pay for nothing.

    Raises:
        Refused: UNKNOWN_MESSAGE, MALFORMED, NOT_CANONICAL, OUT_OF_GAS.
    """
    needed = call_gas(call, size, keys)
    if call.gas_wanted < needed:
        raise Refused(Reason.OUT_OF_GAS, f"gas wanted {call.gas_wanted}, the messages use {needed}")
