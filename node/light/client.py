"""Follows a chain by its headers: from what is trusted to what is newest, by bisection, with witnesses to contradict.

Nothing of what the nodes say is believed. What was verified, and confirmed by a witness where there are any, is kept in
a store and is what later headers are verified from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from consensus.effects import Verifier
from consensus.light import (
    LightBlock,
    TrustParams,
    check_earlier,
    check_light_block,
    run_length,
    skip,
    verify_run,
)
from consensus.types import Header
from crypto.errors import Reason, Refused
from node.light.report import report_fork
from node.light.roots import (
    GenesisRoot,
    Root,
    age_warning,
    check_age,
    check_identity,
    check_root,
    trusted_genesis,
)
from node.light.source import (
    Source,
    blaming,
    drive,
    fetch_genesis,
    fetch_headers,
    fetch_light_block,
    fetch_newest_header,
    fetching,
)
from node.light.store import TrustedBlocks
from node.light.witness import Fork, compare
from state.types import Height

NEAR = 1000
"""Headers: so far below a trusted one, the chain of their ids is followed instead of verifying signatures."""
FARTHEST = 100_000
"""Headers that are followed in this way at most."""
BATCH = 1000
_GONE = frozenset({Reason.UNREACHABLE, Reason.TIMED_OUT, Reason.CONNECTION_LOST})
Clock = Callable[[], int]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a light client is put into.

    Attributes:
        primary: the node that proves.
        witnesses: nodes that may contradict it.
        clock: gives ms since 1970.
        verifier: checks signatures.
        tell: is told in one sentence what happens.
    """

    primary: Source
    witnesses: Sequence[Source]
    clock: Clock
    verifier: Verifier
    tell: Tell


@dataclass(frozen=True, slots=True)
class Start:
    """A root of trust, checked: where a light client may begin.

    Attributes:
        block: the first trusted block.
        params: what the way from there is judged by.
        genesis: the genesis document, canonical bytes.
        every_header: go on from there through every header, without regard to age.
    """

    block: LightBlock
    params: TrustParams
    genesis: bytes
    every_header: bool


async def fetch_start(root: Root, around: Surroundings) -> Start:
    """Fetch the root of trust from the primary, check it, and let each witness confirm it.

    Raises:
        Refused: those of `check_root`; BAD_WITNESS if a witness has another block at the root's height.
    """
    around.tell(f"root of trust: {root}")
    if isinstance(root, GenesisRoot):
        raw = await fetch_genesis(around.primary)
        genesis = trusted_genesis(raw, root.chain_id)
        block = await fetch_light_block(around.primary, root.height)
    else:
        block = await fetch_light_block(around.primary, root.height)
        chain_id = check_identity(root, block)
        raw = await fetch_genesis(around.primary)
        genesis = trusted_genesis(raw, chain_id)
    with blaming(around.primary):
        params = check_root(root, block, genesis, around.clock(), around.verifier)
    for witness in around.witnesses:
        try:
            theirs = await fetch_light_block(witness, root.height)
        except Refused as refused:
            around.tell(f"witness {witness.url} cannot confirm the root of trust: {refused}")
            continue
        if theirs.header.block_id != block.header.block_id:
            raise Refused(
                Reason.BAD_WITNESS,
                f"{witness.url} has another block {root.height} than the trusted one: it is on another chain, or the "
                "hash that you were given is wrong; ask somebody else for the hash, or name another witness",
            )
    every_header = isinstance(root, GenesisRoot) and root.every_header
    return Start(block, params, raw, every_header)


class LightClient:
    """One chain, followed by its headers.

    Args:
        params: what is safe.
        store: holds at least one trusted block.
        around: nodes to ask, clock, verifier.

    Attributes:
        params: as given.
        around: as given.
        primary: the node that proves; a witness takes its place if it is gone.
        steps: headers whose signatures were checked so far.
    """

    def __init__(self, params: TrustParams, store: TrustedBlocks, around: Surroundings) -> None:
        self.params = params
        self.around = around
        self._store = store
        self.primary = around.primary
        self.steps = 0
        self._witnesses = list(around.witnesses)
        self._fork: Fork | None = None
        if not store.blocks():
            raise Refused(Reason.CORRUPT_DATABASE, "the light client's home holds no trusted block: begin again")

    @property
    def newest(self) -> LightBlock:
        """The trusted block of the greatest height."""
        return tuple(self._store.blocks().values())[-1]

    @property
    def oldest(self) -> LightBlock:
        """The trusted block of the least height that is still within the trust period.

        Raises:
            Refused: TRUST_EXPIRED.
        """
        now = self.around.clock()
        for block in self._store.blocks().values():
            if block.header.time + self.params.trust_period > now:
                return block
        check_age(self.newest, now, self.params)
        return self.newest

    def signed_above(self, height: Height) -> LightBlock:
        """Return the lowest trusted block that is not below a verified header's height."""
        return next(block for block in self._store.blocks().values() if block.height >= height)

    @property
    def warning(self) -> str:
        """What to tell a person about the age of the trust, or nothing."""
        return age_warning(self.newest, self.around.clock(), self.params)

    # ---- forwards

    async def update(self, least: Height | None = None) -> LightBlock:
        """Verify the primary's newest header and keep it.

        Args:
            least: the height that is needed; NOT_AVAILABLE if the primary's newest is lower.

        Returns:
            The newest trusted block, which is the one before if the primary has no newer one.

        Raises:
            Refused: those of `consensus.light.verify_light`; FORKED, NO_WITNESS; what the primary refuses.
        """
        self._check_alive()
        target = await self._newest_header()
        if least is not None and target.height < least:
            raise Refused(
                Reason.NOT_AVAILABLE, f"{self.primary.url} is at block {target.height}, {least} is needed"
            )
        if target.height <= self.newest.height:
            await self._check_known(target)
        else:
            await self._go_to(self.newest, target.height)
        return self.newest

    async def _newest_header(self) -> Header:
        """Ask the primary; if it is gone, let a witness take its place. Raises Refused if none answers."""
        for _ in self._witnesses:
            try:
                return await fetch_newest_header(self.primary)
            except Refused as refused:
                if refused.reason not in _GONE:
                    raise
                gone, self.primary = self.primary, self._witnesses.pop(0)
                self._witnesses.append(gone)
                self.around.tell(f"{gone.url} does not answer; {self.primary.url} takes its place")
        return await fetch_newest_header(self.primary)

    async def light_block(self, height: Height) -> LightBlock:
        """Return a verified light block of any height up to the newest. Raises Refused."""
        self._check_alive()
        if height > self.newest.height:
            await self.update(height)
        known = self._store.blocks()
        if height in known:
            return known[height]
        below = [block for block in known.values() if block.height < height]
        if not below:
            return await self._earlier_light_block(height)
        return (await self._go_to(below[-1], height))[-1]

    async def _earlier_light_block(self, height: Height) -> LightBlock:
        """Return the light block of a height below all that are trusted: the header by its id, and its commit."""
        header = await self.header(height)
        block = await fetch_light_block(self.primary, height)
        if block.header != header:
            raise Refused(Reason.BAD_HEADER, f"{self.primary.url} has another block {height} than is proven")
        with blaming(self.primary):
            check_light_block(block, self.params.chain_id, self.around.verifier)
        return block

    async def _check_known(self, target: Header) -> None:
        """Let the primary's newest header, of a height that is trusted already, be the trusted one."""
        known = self._store.blocks().get(target.height)
        if known is None or known.header.block_id == target.block_id:
            return
        # The primary contradicts what was proven before: it is as if a witness did.
        below = [block for block in self._store.blocks().values() if block.height < target.height]
        if not below:
            raise Refused(
                Reason.BAD_HEADER, f"{self.primary.url} has another block {target.height} than the trusted one: "
                "it is on another chain; ask another node",
            )
        now = self.around.clock()
        fork = await compare(
            self.primary, (below[-1], known), now, self.params, self.around.verifier, "the chain followed so far"
        )
        if fork is not None:
            await self._stop(fork)

    async def _go_to(self, trusted: LightBlock, height: Height) -> tuple[LightBlock, ...]:
        """Verify the way from a trusted block to a height, let witnesses confirm it, and keep it."""
        now = self.around.clock()
        fetch = fetching(self.primary)

        async def told(wanted: Height) -> LightBlock:
            self.around.tell(f"header {wanted}")
            return await fetch(wanted)

        with blaming(self.primary):
            way = await drive(skip(trusted, height, now, self.params, self.around.verifier), told)
        await self._confirm((trusted, *way))
        for block in way:
            self._store.add(block)
        self.steps += len(way)
        return way

    async def follow_every_header(self) -> LightBlock:
        """Go from the newest trusted block to the primary's newest through every header, without regard to age.

        Raises:
            Refused: those of `verify_run`, and of `update`.
        """
        goal = (await fetch_light_block(self.primary)).height
        trusted = self.newest
        waiting: tuple[Header, ...] = ()
        while trusted.height < goal:
            if not waiting:
                end = Height(min(goal, trusted.height + BATCH))
                self.around.tell(f"headers {trusted.height + 1} to {end} of {goal}")
                waiting = await fetch_headers(self.primary, Height(trusted.height + 1), end)
            count = run_length(waiting)
            run, waiting = waiting[:count], waiting[count:]
            last = await fetch_light_block(self.primary, run[-1].height)
            with blaming(self.primary):
                verify_run(trusted, run, last, self.params, self.around.verifier)
            trusted = last
            self.steps += 1
        if trusted is not self.newest:
            if trusted.header.time > self.around.clock() + self.params.clock_drift:
                raise Refused(Reason.BAD_TIME, "the header is from the future")
            await self._confirm((self.newest, trusted))
            self._store.add(trusted)
        return trusted

    # ---- backwards

    async def header(self, height: Height) -> Header:
        """Return the verified header of any height up to the newest. Raises Refused."""
        return (await self.headers_down_to(height))[-1]

    async def headers_down_to(self, height: Height) -> tuple[Header, ...]:
        """Return verified headers of falling heights, from that of a trusted light block down to the wanted one.

        Raises:
            Refused: BAD_HEADER; NOT_AVAILABLE if it is too far below all that is trusted; those of `light_block`.
        """
        self._check_alive()
        if height > self.newest.height:
            await self.update(height)
        known = self._store.blocks()
        above = self.signed_above(height)
        oldest = self.around.clock() - self.params.trust_period
        has_base = any(block.height < height and block.header.time > oldest for block in known.values())
        distance = above.height - height
        if distance > NEAR and has_base:
            return ((await self.light_block(height)).header,)
        if distance > FARTHEST:
            raise Refused(
                Reason.NOT_AVAILABLE, f"block {height} is {distance} below the oldest trusted one: name an older root"
            )
        if not distance:
            return (above.header,)
        return await self.headers_between(height, above.header)

    async def headers_between(self, first: Height, last: Header) -> tuple[Header, ...]:
        """Return headers of falling heights from a verified one down to `first`. Raises Refused(BAD_HEADER)."""
        found = await fetch_headers(self.primary, first, Height(last.height - 1))
        falling = found[::-1]
        with blaming(self.primary):
            check_earlier(last, falling)
        return (last, *falling)

    # ---- witnesses

    async def _confirm(self, trace: Sequence[LightBlock]) -> None:
        """Let the witnesses compare. Raises Refused(FORKED | NO_WITNESS)."""
        if not self.around.witnesses:
            return
        confirmed, complaints = 0, []
        now, verifier = self.around.clock(), self.around.verifier
        for witness in tuple(self._witnesses):
            try:
                fork = await compare(witness, trace, now, self.params, verifier, self.primary.url)
            except Refused as refused:
                complaints.append(f"{witness.url}: {refused.detail}")
                self.around.tell(f"witness {complaints[-1]}")
                if refused.reason.permanent and witness in self._witnesses:
                    self._witnesses.remove(witness)
                continue
            if fork is not None:
                await self._stop(fork)
            confirmed += 1
        if not confirmed:
            raise Refused(
                Reason.NO_WITNESS,
                f"no witness confirms block {trace[-1].height} ({'; '.join(complaints) or 'none is left'}): name other "
                "witnesses, or run without them and trust the primary not to hide a fork",
            )

    def _check_alive(self) -> None:
        """Refuse to go on after a fork, or from what is too old. Raises Refused(FORKED | TRUST_EXPIRED)."""
        if self._fork is not None:
            raise Refused(Reason.FORKED, str(self._fork))
        check_age(self.newest, self.around.clock(), self.params)

    async def _stop(self, fork: Fork) -> None:
        self._fork = fork
        self._store.stop(fork)
        await report_fork(fork, (self.around.primary, *self.around.witnesses), self.around.tell)
        raise Refused(Reason.FORKED, str(fork))
