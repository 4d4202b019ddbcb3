"""Gives a validator's proofs in each epoch: looks up the plot, searches the hashcash, evaluates the delay function.

The messages are calls by the account of the consensus key, which a validator may send for free once in an epoch
(`apps/exempt.py`), and expire with it. Other nodes see the proofs in blocks alone.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from apps.chain.records import beacon, security, validators_at
from apps.proofs.identity import credited, validator_of
from apps.proofs.messages import CHALLENGES, NEEDED, Proof, Space, Time, Work
from apps.proofs.records import epoch, free_used, given, proof_params, space_record
from apps.proofs.rules import work_prefix
from apps.staking.records import find_operator
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.hashing import Label
from crypto.keys import SecretKey
from crypto.vdf import MAX_BITS, time_challenge
from node.home import Home
from node.logs import logger
from node.proving.plots import answer_challenges, find_plots
from node.proving.tasks import run_job
from node.proving.worker import TimeJob, WorkJob
from node.service import NodeService
from node.wallet import Account, ChainPoint, Signed, call, message
from state.encoding import Record
from state.ledger import public_key
from state.params import ProofParams
from state.types import Address, Height

STAGGER: Final = 2.0
"""Seconds that each validator leaves the one before it to show the delay function's output: one message is enough."""
RETRY: Final = 1.0
"""Seconds before a message is tried again."""
COMMIT_TIMEOUT: Final = 15.0
"""Seconds to wait for a message's block before looking again."""

_log = logger("proof")


@dataclass(frozen=True, slots=True)
class Turn:
    """One epoch of one validator: what is asked, and by when.

    Attributes:
        number: of the epoch.
        beacon: its challenge.
        seed: where the delay function begins.
        last: height of its last block.
        operator: for whom the proofs count.
        rules: what the chain asks for.
    """

    number: int
    beacon: bytes
    seed: bytes
    last: Height
    operator: Address
    rules: ProofParams


Make = Callable[[Turn], Awaitable[Record]]


class Prover:
    """Proves for one validator while it runs.

    Args:
        service: the node.
        home: where the plots are.
        key: the consensus key.
    """

    def __init__(self, service: NodeService, home: Home, key: SecretKey) -> None:
        self._service = service
        self._home = home
        self._key = key
        self._address = Address(key.address)
        self._sending = trio.Lock()

    async def run(self) -> None:
        """Prove until cancelled. Failures are logged; none of them ends the node."""
        rules = proof_params(self._service.reader())
        if not (rules.space_k or rules.work_bits or rules.vdf_iterations):
            return
        if rules.vdf_iterations and rules.vdf_bits < MAX_BITS:
            _log.warning("the delay function of this chain is of a size for tests", bits=rules.vdf_bits)
        current: Turn | None = None
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            while True:
                turn = self._turn()
                if turn is not None and turn != current:
                    scope.cancel()
                    current, scope = turn, trio.CancelScope()
                    nursery.start_soon(self._prove, turn, scope)
                await self._next_block()

    async def _next_block(self) -> None:
        with self._service.feed.subscribe() as events:
            async for _ in events:
                return

    def _turn(self) -> Turn | None:
        """Return what is to be proven now; None while this node is behind or stands for no validator."""
        service = self._service
        state = service.reader()
        operator = credited(state, self._address)
        if find_operator(state, operator) is None or service.status().catching_up:
            return None
        now = epoch(state)
        return Turn(
            now.number, beacon(state), now.seed or service.chain.tip.block_id,
            Height((now.number + 1) * security(state).epoch_length), operator, proof_params(state),
        )

    async def _prove(self, turn: Turn, scope: trio.CancelScope) -> None:
        asked = [
            (turn.rules.space_k, "space", self._space),
            (turn.rules.work_bits, "work", self._work),
            (turn.rules.vdf_iterations, "time", self._time),
        ]
        with scope:
            async with trio.open_nursery() as nursery:
                for parameter, kind, make in asked:
                    if parameter:
                        nursery.start_soon(self._give, kind, turn, make)

    async def _give(self, kind: str, turn: Turn, make: Make) -> None:
        """Make one proof and see it into a block; whatever goes wrong is one line in the log."""
        try:
            if self._is_given(kind, turn):
                return
            value = await make(turn)
            if not self._is_given(kind, turn):
                await self._bring(kind, turn, value)
                _log.info("proof given", kind=kind, epoch=turn.number)
        except Refused as refused:
            _log.error("no proof", kind=kind, epoch=turn.number, reason=refused.reason.value, detail=refused.detail)

    def _is_given(self, kind: str, turn: Turn) -> bool:
        state = self._service.reader()
        if kind == "time":
            return bool(epoch(state).beacon)
        if kind == "work":
            found = given(state, turn.operator)
            return found is not None and found.work == turn.number + 1
        record = space_record(state, turn.operator)
        return record is not None and record.epoch == turn.number

    # ---- making

    async def _space(self, turn: Turn) -> Space:
        plots = find_plots(self._home, self._service.chain_id, turn.operator, turn.rules.space_k)
        wrong = Refused(
            Reason.BAD_PLOT, f"there is no plot of k = {turn.rules.space_k} or more for "
            f"{encode_address(turn.operator)}; make one with: nexus validator plot --k {turn.rules.space_k}",
        )
        for plot in plots:
            try:
                result = await answer_challenges(plot, turn.beacon, CHALLENGES, NEEDED)
            except Refused as refused:
                wrong = refused
                _log.warning("bad plot", file=plot.path.name, reason=refused.reason.value, detail=refused.detail)
                continue
            proofs = tuple(Proof(number, proof) for number, proof in result.proofs)
            return Space(turn.number, plot.index, plot.k, proofs)
        raise wrong

    async def _work(self, turn: Turn) -> Work:
        job = WorkJob(Label.WORK.name, work_prefix(turn.beacon, turn.operator), turn.rules.work_bits)
        return Work(turn.number, (await run_job(job)).nonce)

    async def _time(self, turn: Turn) -> Time:
        challenge = time_challenge(self._service.chain_id, turn.number, turn.seed)
        result = await run_job(TimeJob(challenge, turn.rules.vdf_bits, turn.rules.vdf_iterations))
        await trio.sleep(self._place(turn) * STAGGER)
        return Time(turn.number, result.output, result.proof)

    def _place(self, turn: Turn) -> int:
        """Return how many validators show the output before this one; the turns go round from epoch to epoch."""
        validators = validators_at(self._service.reader(), self._service.height + 1)
        place = next((at for at, one in enumerate(validators.validators) if one.operator == turn.operator), 0)
        return (place + turn.number) % len(validators)

    # ---- sending

    async def _bring(self, kind: str, turn: Turn, value: Record) -> None:
        """Send a message again and again until it is in a block.

        Raises:
            Refused: why it failed there, or why it can never get there.
        """
        while True:
            try:
                async with self._sending:
                    signed = await self._signed(kind, turn, value)
                    await self._service.submit(signed.raw)
                receipt = await self._service.wait_committed(signed.txid, COMMIT_TIMEOUT)
            except Refused as refused:
                if refused.reason.permanent or refused.reason is Reason.INSUFFICIENT_FEE_FUNDS:
                    raise
                _log.debug("proof waits", kind=kind, reason=refused.reason.value, detail=refused.detail)
            else:
                if receipt.reason:
                    raise Refused(Reason(receipt.reason), receipt.detail)
                return
            await trio.sleep(RETRY)
            if self._is_given(kind, turn):
                return

    async def _signed(self, kind: str, turn: Turn, value: Record) -> Signed:
        """Return the call: free if it still may be, else for the least fee and with a hashcash."""
        service, state = self._service, self._service.reader()
        tip = service.chain.tip
        bound = validator_of(state, Height(tip.height + 1), self._address) is not None
        free = bound and not free_used(state, turn.operator, f"proofs/{kind}", turn.number)
        point = ChainPoint(
            service.chain_id, tip.block_id, tip.height, service.chain.view.params.min_gas_price,
            0 if free else service.chain.view.demands.difficulty, turn.last - tip.height, service.chain.view.version,
        )
        registered = public_key(state, self._address) is not None
        account = Account(self._address, self._key.public_key, registered)
        nonce = service.next_nonce(self._address)
        messages = [message(f"proofs/{kind}", value)]
        sign = partial(call, point, account, self._key, nonce, messages, fee=0 if free else None)
        return await trio.to_thread.run_sync(sign, abandon_on_cancel=True)
