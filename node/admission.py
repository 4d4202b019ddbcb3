"""The way of a transaction from its wire bytes into the mempool, and on to the peers. No clock, no I/O.

A slice of at most SLICE transactions is decoded and checked against the state; what is left comes back as signatures
to verify, on threads or not; then it enters the mempool. Small slices keep consensus responsive: between any two
of them the driver serves votes. The node that a transaction was submitted to sends it to all its peers, once; who of
them passes it on is the core's to say.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from apps.admission import CLOSE, check_for_admission
from apps.admission import Admission as Admitted
from apps.prooftask import ProofTask
from apps.validity import View
from crypto.errors import Reason, Refused
from node.actions import Check, SubmitResult
from node.mempool import Entry, Mempool
from node.signatures import SignatureCache, Verdict, checks_of
from p2p.network import PeerId
from p2p.wire import transaction_frames
from state.transaction import Call, Decoded, Script, decode_transaction, wtx_id
from state.types import WtxId

GOSSIP: Final = PeerId(b"gossip")
"""The sender of transactions that gossip brought: nobody that could be blamed. What their bytes alone show was checked
before they were passed on."""
SLICE: Final = 32
"""Transactions checked in one go: about 5 ms of signatures."""
RELAY_BATCH: Final = 64
"""Submitted transactions that go out at once, without waiting for more."""
OWN_KEPT: Final = 8192
"""Submitted transactions after which those that are no longer pending are forgotten."""
FORM_FAULTS: Final = frozenset({
    Reason.MALFORMED, Reason.NOT_CANONICAL, Reason.TOO_LARGE, Reason.WRONG_CHAIN,
    Reason.DUPLICATE_INPUT, Reason.SURPLUS_SIGNATURE, Reason.AMOUNT_OUT_OF_RANGE,
    Reason.BAD_POINT, Reason.BAD_SCALAR, Reason.BAD_RANGE_PROOF, Reason.BAD_EXCESS, Reason.MISSING_PROOF,
    Reason.SURPLUS_PROOF, Reason.BAD_PROGRAM, Reason.PROGRAM_TOO_COSTLY, Reason.WRONG_SCRIPT, Reason.SCRIPT_FAILED,
    Reason.UNPROVEN, Reason.BAD_MOVEMENT, Reason.BAD_SHUFFLE, Reason.BAD_RING_SIGNATURE,
})
"""Reasons that lie in the bytes alone; those of what is spent count among them: outpoints name coins by their hash, ids
name anonymous accounts by theirs, and the ring coin of a number is the same wherever it is. Every other verdict may be
another one after the next block, on another node too: bytes are remembered as refused, and peers blamed for them, for
these alone."""


@dataclass(slots=True)
class Slice:
    """Transactions on their way through admission.

    Attributes:
        results: by place; None while the signatures are being verified.
        pending: place, transaction, and what the state says of it.
        faults: refusals that blame whoever sent the bytes.
        height: of the tip that they were checked against.
        local: submitted to this node; else a peer sent them.
        forward: to be passed on to the peers.
        heard: gossip brought them: to be passed on only to who takes no part in it.
    """

    results: list[SubmitResult | None]
    height: int
    local: bool
    forward: bool
    heard: bool = False
    pending: list[tuple[int, Decoded, Admitted]] = field(default_factory=list)
    faults: list[Refused] = field(default_factory=list)

    @property
    def has_proofs(self) -> bool:
        """Whether there is more to verify than signatures."""
        return any(admitted.proofs is not None for _, _, admitted in self.pending)

    @property
    def checks(self) -> tuple[tuple[Check | ProofTask, ...], ...]:
        """The signatures and proofs to verify, by pending transaction."""
        return tuple(
            (*checks_of(decoded, admitted.keys), *(() if admitted.proofs is None else (admitted.proofs,)))
            for _, decoded, admitted in self.pending
        )


def may_be_costly(decoded: Decoded) -> bool:
    """Return whether it takes more than signatures and look-ups to refuse a transaction."""
    payload = decoded.body.payload
    if isinstance(payload, Call):
        return any(message.name == CLOSE for message in payload.messages)
    return bool(decoded.transaction.proofs) or isinstance(payload, Script)


class Admission:
    """Checks what comes in, and keeps what is to be passed on.

    Args:
        mempool: where good transactions go.
        signatures: what is known to hold.
        view: returns the chain as the next block will see it.

    Attributes:
        refusals: how often each reason was given.
    """

    def __init__(self, mempool: Mempool, signatures: SignatureCache, view: Callable[[], View]) -> None:
        self._mempool = mempool
        self._signatures = signatures
        self._view = view
        self._checking: set[WtxId] = set()
        self._outbox: dict[WtxId, bytes] = {}
        self._heard: list[bytes] = []
        self._own: dict[WtxId, None] = {}
        self.refusals: dict[Reason, int] = {}

    def begin(
        self, raws: Sequence[bytes], *, local: bool, forward: bool, heard: bool = False, costly: bool = True
    ) -> Slice:
        """Decode and check against the state. The result lists what is refused; the rest waits for its signatures.

        Args:
            raws: wire bytes.
            local: submitted to this node.
            forward: to be passed on.
            heard: gossip brought them.
            costly: take what has proofs, too, or runs a program.
        """
        view = self._view()
        batch = Slice([None] * len(raws), view.height, local, forward, heard)
        for index, raw in enumerate(raws):
            try:
                decoded = decode_transaction(raw)
                if not costly and may_be_costly(decoded):
                    raise Refused(Reason.RATE_LIMITED, "too many wrong proofs came by gossip in a short time")
                admitted = self._check(decoded, view)
                if admitted.proofs is not None:  # they cost most: nobody has them verified for nothing
                    self._mempool.pushed_out(_entry(decoded, admitted), admitted.next_nonce)
            except Refused as refused:
                batch.results[index] = self._refuse(refused)
                if heard and refused.reason is Reason.ALREADY_KNOWN:
                    self._heard_of(WtxId(wtx_id(raw)))
                if refused.reason in FORM_FAULTS:
                    self._blame(batch, WtxId(wtx_id(raw)), refused)
                continue
            proven = admitted.proofs is None or self._signatures.proven(decoded.wtxid)
            if proven and self._signatures.knows(decoded.wtxid, admitted.keys):
                self._signatures.hits += 1
                batch.results[index] = self._enter(decoded, admitted, batch)
            else:
                self._checking.add(decoded.wtxid)
                batch.pending.append((index, decoded, admitted))
        return batch

    def finish(self, batch: Slice, verdicts: Sequence[Verdict]) -> tuple[SubmitResult, ...]:
        """Take the verdicts on the pending signatures and proofs; good transactions enter the mempool."""
        view = self._view()
        for (index, decoded, admitted), verdict in zip(batch.pending, verdicts, strict=True):
            self._checking.discard(decoded.wtxid)
            self._signatures.misses += 1
            if verdict is not True:
                batch.results[index] = self._refuse(self._fault(batch, decoded, verdict))
                continue
            self._signatures.add(decoded.wtxid, admitted.keys)
            if admitted.proofs is not None:
                self._signatures.add_proven(decoded.wtxid)
            try:
                if view.height != batch.height:  # a block came in between
                    admitted = check_for_admission(decoded, view, self._pending_fees(decoded))
            except Refused as refused:
                batch.results[index] = self._refuse(refused)
                continue
            batch.results[index] = self._enter(decoded, admitted, batch)
        return tuple(result for result in batch.results if result is not None)

    def _fault(self, batch: Slice, decoded: Decoded, verdict: Verdict) -> Refused:
        """Return why a transaction is refused after verification; blame its sender, unless it could not know better."""
        if isinstance(verdict, Refused):
            self._blame(batch, decoded.wtxid, verdict)
            return verdict
        refused = Refused(Reason.BAD_SIGNATURE, "a witness's signature does not verify")
        if all(witness.key for witness in decoded.transaction.witnesses):  # no rotation can mend it
            self._blame(batch, decoded.wtxid, refused)
        return refused

    def turn_away(self, count: int) -> None:
        """Count transactions that nobody looked at, since too many of the same sender wait."""
        self.refusals[Reason.RATE_LIMITED] = self.refusals.get(Reason.RATE_LIMITED, 0) + count

    def _check(self, decoded: Decoded, view: View) -> Admitted:
        self._mempool.check_new(decoded.wtxid)
        if decoded.wtxid in self._checking:
            raise Refused(Reason.ALREADY_KNOWN, "the same bytes are being checked")
        return check_for_admission(decoded, view, self._pending_fees(decoded))

    def _pending_fees(self, decoded: Decoded) -> int:
        payload = decoded.body.payload
        return self._mempool.pending_fees(payload.sender) if isinstance(payload, Call) else 0

    def _enter(self, decoded: Decoded, admitted: Admitted, batch: Slice) -> SubmitResult:
        try:
            removed = self._mempool.add(_entry(decoded, admitted), admitted.next_nonce)
        except Refused as refused:
            return self._refuse(refused)
        for gone, _ in removed:
            self._own.pop(gone.wtxid, None)
        if batch.local:
            self._own[decoded.wtxid] = None
        if batch.forward and batch.heard:
            self._heard.append(decoded.raw)
        elif batch.forward:
            self._outbox[decoded.wtxid] = decoded.raw
        return decoded.txid

    def _heard_of(self, wtxid: WtxId) -> None:
        """Gossip brings what was about to be passed on to everybody: others were faster."""
        raw = self._outbox.pop(wtxid, None)
        if raw is not None:
            self._heard.append(raw)

    def _refuse(self, refused: Refused) -> Refused:
        self.refusals[refused.reason] = self.refusals.get(refused.reason, 0) + 1
        return refused

    def _blame(self, batch: Slice, wtxid: WtxId, refused: Refused) -> None:
        self._mempool.remember_refused(wtxid, refused)
        batch.faults.append(refused)

    # ---- passing on

    @property
    def outbox(self) -> int:
        """How many transactions wait to be passed on."""
        return len(self._outbox) + len(self._heard)

    def take_outbox(self) -> Iterator[bytes]:
        """Yield the frames with what waits to be passed on to everybody, and forget it."""
        raws, self._outbox = self._outbox, {}
        if len(self._own) > OWN_KEPT:
            self._forget_gone()
        return transaction_frames(raws.values())

    def take_heard(self) -> Iterator[bytes]:
        """Yield the frames with what waits to be passed on to who takes no part in gossip, and forget it."""
        raws, self._heard = self._heard, []
        return transaction_frames(raws)

    def own_frames(self) -> Iterator[bytes]:
        """Yield frames with every pending transaction that was submitted here: for a peer that has just connected."""
        self._forget_gone()
        entries = (self._mempool.get(wtxid) for wtxid in self._own)
        return transaction_frames(entry.decoded.raw for entry in entries if entry is not None)

    def _forget_gone(self) -> None:
        self._own = {wtxid: None for wtxid in self._own if wtxid in self._mempool}


def _entry(decoded: Decoded, admitted: Admitted) -> Entry:
    return Entry(decoded, admitted.gas, admitted.keys, admitted.free, admitted.withdrawn)
