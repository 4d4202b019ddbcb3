"""Executing a block: a pure function from the state before it to changes, receipts and events.

A transaction that breaks a rule of validity makes the whole block invalid (`Refused`). A call whose message fails
spends its fee and its nonce, registers its sender's key, changes nothing else, and has a receipt that says why. The
proposer goes through its candidates by the same code and leaves out what is invalid.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from apps.chain.records import fee_pool, params, set_fee_pool
from apps.chain.upgrade import version_at
from apps.exempt import Exemption, exemption, needs_where
from apps.gas import BLOCK_ROOM, intrinsic_gas
from apps.module import BlockDraft, Context, GasMeter
from apps.moves import Move, apply_move, check_move
from apps.proofs.load import retarget
from apps.proofs.records import demands, use_free
from apps.prooftask import ProofCheck, ProofTask, proofs_hold
from apps.receipts import receipts_root
from apps.registry import MESSAGES, MODULES, TURNSTILES
from apps.supply import check_changes
from apps.validity import SignatureCheck, View, check_call, check_common, check_where, resolve_keys, stateless_check
from crypto.errors import Reason, Refused
from state.changes import Overlay, Reader
from state.ledger import debit, register_key, set_nonce
from state.receipt import BlockResult, Event, Receipt, Succession
from state.records import KEY
from state.transaction import Call, Decoded, decode_transaction
from state.types import NATIVE, Address

MAX_DETAIL = 512
"""Characters of the sentence in a receipt."""
MAX_TRANSACTIONS = 25_000
"""Transactions in a block: as many wtxids as a proposal may hold."""


class InvalidTransaction(Refused):
    """A transaction that cannot be in this block. `index` is its place there."""

    def __init__(self, index: int, cause: Refused) -> None:
        super().__init__(cause.reason, f"transaction {index}: {cause.detail}")
        self.index = index


class Skipped(NamedTuple):
    """A candidate that a proposer left out, and why. Later it may be valid: judge by `refused.reason.permanent`."""

    decoded: Decoded
    refused: Refused


@dataclass(frozen=True, slots=True)
class Selection:
    """What a proposer puts in its block, already executed."""

    transactions: tuple[Decoded, ...]
    result: BlockResult
    skipped: tuple[Skipped, ...]


class _Checked(NamedTuple):
    """A transaction that may be in the block at this place."""

    decoded: Decoded
    keys: tuple[bytes, ...]
    gas_wanted: int
    move: Move | None
    exemption: Exemption | None

    @property
    def proofs(self) -> ProofTask | None:
        """The proofs that it stands on, not verified yet."""
        return None if self.move is None else self.move.proofs(self.decoded.wtxid)


class _Outcome(NamedTuple):
    """What running a call's messages gave."""

    gas_used: int
    events: tuple[Event, ...]
    touched: set[Address]
    reason: str
    detail: str


class _Execution:
    """One block on its way: the state so far, and what came out of it."""

    def __init__(self, reader: Reader, draft: BlockDraft, is_verified: SignatureCheck) -> None:
        self.draft = draft
        self.is_verified = is_verified
        self.state = Overlay(reader)
        self.params = params(self.state)
        self.view = View(
            self.state, draft.chain_id, draft.height, self.params, version_at(self.state, draft.height),
            demands(self.state),
        )
        self.bytes = 0
        self.gas = 0
        self.fees = 0
        self.receipts: list[Receipt] = []
        self.touched: list[tuple[Address, ...]] = []
        self.events: list[Event] = []
        self.successions: list[Succession] = []
        for module in MODULES:
            module.begin_block(self.state, draft, self.events)

    def check(self, decoded: Decoded) -> _Checked:
        """Check that the transaction may come next, its proofs aside. Changes nothing. Raises Refused."""
        stateless_check(decoded, self.draft.chain_id, self.params, self.view.version)
        keys = resolve_keys(decoded, self.state)
        exempt = exemption(decoded, self.view)
        gas_wanted = check_common(decoded, keys, self.view, exempt=exempt is not None)
        payload = decoded.body.payload
        move: Move | None = None
        payers: set[Address] = set()
        if isinstance(payload, Call):
            check_call(payload, decoded.body.fee, self.state)
            payers = {payload.sender}
        else:
            move = check_move(payload, decoded, keys, self.view)
            payers = move.owners
        if exempt is None and needs_where(decoded):
            check_where(payers, decoded.body.sponsor, self.view)
        if not self.is_verified(decoded, keys):
            raise Refused(Reason.BAD_SIGNATURE, "a witness does not hold under the signer's current key")
        return _Checked(decoded, keys, gas_wanted, move, exempt)

    def check_room(self, decoded: Decoded, gas_wanted: int) -> None:
        """Check the caps of a block. Raises Refused(TOO_LARGE)."""
        if self.bytes + len(decoded.raw) > self.params.max_block_bytes:
            raise Refused(Reason.TOO_LARGE, f"a block holds at most {self.params.max_block_bytes} bytes")
        if self.gas + gas_wanted > self.params.max_block_gas:
            raise Refused(Reason.TOO_LARGE, f"a block holds at most {self.params.max_block_gas} gas")
        if len(self.receipts) >= MAX_TRANSACTIONS:
            raise Refused(Reason.TOO_LARGE, f"a block holds at most {MAX_TRANSACTIONS} transactions")

    def apply(self, checked: _Checked) -> None:
        """Run a transaction that `check` passed, and write its receipt."""
        decoded, keys, gas_wanted, move, exempt = checked
        body = decoded.body
        self._register_keys(decoded, keys)
        if move is not None:
            moved = apply_move(move, decoded, self.state, self.draft.height)
            self.successions += moved.successions
            outcome = _Outcome(gas_wanted, tuple(moved.events), moved.touched, "", "")
        elif isinstance(body.payload, Call):
            debit(self.state, body.payload.sender, NATIVE, body.fee)
            if exempt is not None:
                use_free(self.state, exempt.operator, exempt.name, self.view.demands.epoch)
            set_nonce(self.state, body.payload.sender, body.payload.nonce + 1)
            outcome = run_call(self.state, self.draft, body.payload, decoded, keys)
        else:
            raise TypeError("what is no call was checked first")
        self.bytes += len(decoded.raw)
        self.gas += gas_wanted
        self.fees += body.fee
        self.touched.append(tuple(sorted(outcome.touched)))
        self.receipts.append(Receipt(
            txid=decoded.txid,
            wtxid=decoded.wtxid,
            height=self.draft.height,
            index=len(self.receipts),
            reason=outcome.reason,
            detail=outcome.detail,
            fee=body.fee,
            gas_wanted=gas_wanted,
            gas_used=outcome.gas_used,
            events=outcome.events,
        ))

    def _register_keys(self, decoded: Decoded, keys: tuple[bytes, ...]) -> None:
        for witness, key in zip(decoded.transaction.witnesses, keys, strict=True):
            if witness.key and self.state.get(KEY + witness.signer) is None:
                register_key(self.state, witness.signer, key)

    def finish(self) -> BlockResult:
        """Collect the fees, run the block's end, and return everything."""
        if self.fees:
            set_fee_pool(self.state, fee_pool(self.state) + self.fees)
        retarget(self.state, self.draft.height, self.gas)
        for module in MODULES:
            module.end_block(self.state, self.draft, self.events)
        receipts = tuple(self.receipts)
        changes = self.state.changes()
        if any(key.startswith(TURNSTILES) for key in changes.entries):
            check_changes(changes)
        return BlockResult(
            changes, receipts, receipts_root(receipts), tuple(self.events), tuple(self.touched),
            tuple(self.successions),
        )


def run_call(state: Overlay, draft: BlockDraft, call: Call, decoded: Decoded, keys: tuple[bytes, ...]) -> _Outcome:
    """Run the messages of a call, all or none; fee and nonce are the caller's business."""
    gas = GasMeter(call.gas_wanted)
    branch = state.branch()
    context = Context(branch, draft, call.sender, decoded.txid, gas)
    try:
        gas.charge(intrinsic_gas(call, len(decoded.raw), keys))
        for index, message in enumerate(call.messages):
            context.message = index
            _run_message(context, message.name, message.value)
    except Refused as refused:
        detail = f"message {context.message}: {refused.detail}"[:MAX_DETAIL]
        return _Outcome(gas.used, (), {call.sender}, refused.reason.value, detail)
    state.merge(branch)
    return _Outcome(gas.used, tuple(context.events), {call.sender, *context.touched}, "", "")


def _run_message(context: Context, name: str, value: bytes) -> None:
    kind = MESSAGES.get(name)
    if kind is None:
        raise Refused(Reason.UNKNOWN_MESSAGE, f"no module has the message {name}")
    try:
        message = kind.codec.decode(value)
    except Refused as refused:
        # The decoder's own sentence comes from a library, and receipts are hashed: keep it out of them.
        raise Refused(refused.reason, f"the bytes are no {name}") from None
    context.gas.charge(kind.gas(message))
    kind.rule(context, message)


def execute_block(
    reader: Reader, draft: BlockDraft, transactions: Sequence[Decoded], is_verified: SignatureCheck,
    find_faults: ProofCheck = proofs_hold,
) -> BlockResult:
    """Execute a block on the state after its predecessor.

    The caller has checked header, last commit and the signatures in the evidence.

    Args:
        reader: the state after block `draft.height - 1`.
        draft: the block without its transactions.
        transactions: in block order.
        is_verified: tells whether a transaction's witnesses hold under the keys that are current at its place.
        find_faults: verifies the zero-knowledge proofs of the whole block in one batch, once all else holds.

    Raises:
        InvalidTransaction: a Refused with the index of the first invalid transaction; any reason of validity, or
            TOO_LARGE when the block passes a cap.
        Refused: BAD_EVIDENCE, UNKNOWN_VALIDATOR for one of its accusations.
    """
    execution = _Execution(reader, draft, is_verified)
    places: list[int] = []
    tasks: list[ProofTask] = []
    for index, decoded in enumerate(transactions):
        try:
            checked = execution.check(decoded)
            execution.check_room(decoded, checked.gas_wanted)
        except Refused as refused:
            raise InvalidTransaction(index, refused) from None
        if checked.proofs is not None:
            places.append(index)
            tasks.append(checked.proofs)
        execution.apply(checked)
    for fault in find_faults(tasks) if tasks else ():
        raise InvalidTransaction(places[fault.place], fault.refused)
    return execution.finish()


def select_transactions(
    reader: Reader,
    draft: BlockDraft,
    candidates: Iterable[Decoded],
    is_verified: SignatureCheck,
    *,
    max_bytes: int,
    max_gas: int,
    max_count: int = MAX_TRANSACTIONS,
    find_faults: ProofCheck = proofs_hold,
) -> Selection:
    """Fill a block: take candidates in the given order, leave out what is invalid now, stop when it is full.

    Args:
        reader: the state after block `draft.height - 1`.
        draft: the block without its transactions.
        candidates: in order of preference; a sender's calls by nonce.
        is_verified: as in `execute_block`.
        max_bytes: cap on wire bytes, besides the chain's own.
        max_gas: cap on gas wanted, besides the chain's own.
        max_count: cap on transactions, besides MAX_TRANSACTIONS.
        find_faults: verifies zero-knowledge proofs; it should know those of transactions that waited in the mempool.

    Raises:
        Refused: BAD_EVIDENCE, UNKNOWN_VALIDATOR for one of its accusations.
    """
    execution = _Execution(reader, draft, is_verified)
    byte_cap = min(max_bytes, execution.params.max_block_bytes)
    gas_cap = min(max_gas, execution.params.max_block_gas)
    chosen: list[Decoded] = []
    skipped: list[Skipped] = []
    for decoded in candidates:
        if len(chosen) >= min(max_count, MAX_TRANSACTIONS) or execution.gas + BLOCK_ROOM > gas_cap:
            break
        if execution.bytes + len(decoded.raw) > byte_cap:
            break
        try:
            checked = execution.check(decoded)
            if checked.proofs is not None:
                for fault in find_faults((checked.proofs,)):
                    raise fault.refused
        except Refused as refused:
            skipped.append(Skipped(decoded, refused))
            continue
        if execution.gas + checked.gas_wanted > gas_cap:
            break
        execution.apply(checked)
        chosen.append(decoded)
    return Selection(tuple(chosen), execution.finish(), tuple(skipped))


def simulate(reader: Reader, draft: BlockDraft, decoded: Decoded) -> Receipt:
    """Return the receipt that a transaction would get alone in this block; its signatures may be empty or wrong, and
    its zero-knowledge proofs too.

    Raises:
        Refused: any reason of validity but BAD_SIGNATURE and those of proofs.
    """
    execution = _Execution(reader, draft, lambda _decoded, _keys: True)
    execution.apply(execution.check(decoded))
    return execution.receipts[0]


def decode_block(transactions: Sequence[bytes]) -> tuple[Decoded, ...]:
    """Decode a block's transactions. Raises InvalidTransaction with the first that does not decode."""
    decoded = []
    for index, raw in enumerate(transactions):
        try:
            decoded.append(decode_transaction(raw))
        except Refused as refused:
            raise InvalidTransaction(index, refused) from None
    return tuple(decoded)
