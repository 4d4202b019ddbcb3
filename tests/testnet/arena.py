"""Networks with liars, on the clock that jumps: what must hold of the honest ones, whatever the others do."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

from msgspec.structs import replace

from apps.chain.records import validators_at
from apps.token.messages import Transfer
from consensus.log import LogEntry, decode_entries
from consensus.types import Proposal, Vote
from crypto.errors import Refused
from crypto.schemes import address_of
from node.wallet import ChainPoint, call, message
from state.genesis import genesis_hash
from state.ledger import nonce as get_nonce
from state.types import NATIVE, Address, Amount, BlockId, Height
from testnet.byzantine.behaviours import lying
from tests.node.lab import QUICK, Lab
from tests.node.world import Machine, World

BOB = Address(b"\x07" * 32)


@cache
def lab(size: int) -> Lab:
    return Lab(Path("/nonexistent"), size=size, timing=replace(QUICK, block_interval=400))


class Arena:
    """A world in which some machines lie.

    Attributes:
        world: all machines; they have started.
        honest: those that do not lie.
        liars: those that do.
    """

    def __init__(self, size: int, liars: int | Sequence[int], behaviours: Sequence[str], seed: int = 0) -> None:
        """Let so many random validators lie, or those with these places in the validator set."""
        self.size = size
        keys: list[bytes] = sorted((key.public_key for key in lab(size).consensus_keys), key=address_of)
        self.world = World(lab(size).genesis, list(keys))
        random = Random(seed)
        places = random.sample(range(size), liars) if isinstance(liars, int) else liars
        chosen = [self.world.machines[place] for place in places]
        self.liars = [machine for machine in self.world.machines if machine in chosen]
        self.honest = [machine for machine in self.world.machines if machine not in chosen]
        accomplices = frozenset(machine.name for machine in self.liars)
        for machine in self.liars:
            machine.wrap = lying(*behaviours, accomplices=accomplices)
        self.world.latency = lambda: random.randint(1, 40)
        for machine in self.world.machines:
            self.world.start(machine)

    def pay(self, nonce: int, machine: Machine, account: int = 0) -> None:
        """Submit a payment to a machine."""
        (result,) = self.world.submit(machine, [payment(self.size, nonce, account)])
        assert not isinstance(result, Refused), result

    def run_until_paid(self, payments: int, limit: int = 120_000) -> None:
        """Let time pass until so many payments of account 0 are in the chain of every honest machine."""
        self.world.run(lambda: self.paid(payments), limit)

    def paid(self, payments: int) -> bool:
        """Whether so many payments of account 0 are in the chain of every honest machine."""
        sender = Address(lab(self.size).wallet_keys[0].address)
        return all(get_nonce(machine.core.chain.store, sender) >= payments for machine in self.honest)

    def run_to(self, height: int, limit: int = 120_000) -> None:
        """Let time pass until every honest machine has reached a height."""
        self.world.run(lambda: all(machine.core.chain.height >= height for machine in self.honest), limit)

    def run_until_known(self) -> None:
        """Let time pass until every honest machine holds evidence."""
        self.world.run(lambda: all(self.accused(machine) for machine in self.honest), 10_000)

    def wait(self, delay: int) -> None:
        """Let ms pass."""
        until = self.world.now + delay
        self.world.later(self.world.now + delay)
        self.world.run(lambda: self.world.now >= until, delay + 1)

    def accused(self, machine: Machine) -> set[Address]:
        """Return whom a machine holds evidence against, waiting or on chain."""
        found = {evidence.validator for evidence in machine.core.agreement.pool.pending()}
        chain = machine.core.chain
        for height in range(1, chain.height + 1):
            found |= {evidence.validator for evidence in chain.block(Height(height)).block.evidence}
        return found

    def log(self, machine: Machine) -> tuple[LogEntry, ...]:
        """Return all that a machine wrote down of votes, past and present."""
        files = (*machine.archive, machine.log)
        return tuple(entry for file in files for entry in decode_entries(file.content)[0])

    def addresses(self, machines: Sequence[Machine]) -> set[Address]:
        """Return the consensus addresses of machines."""
        return {Address(address_of(machine.key)) for machine in machines if machine.key}

    def forked(self) -> bool:
        """Whether two honest machines have different blocks at one height."""
        chains = [machine.core.chain for machine in self.honest]
        last = min(chain.height for chain in chains)
        return any(
            len({chain.header(Height(height)).block_id for chain in chains}) > 1 for height in range(1, last + 1)
        )

    def check_safe(self) -> None:
        """What holds with up to a third of liars: one chain, no double signature, nobody accused or let go wrongly."""
        assert not self.forked()
        assert not self.world.halted
        names = {machine.name for machine in self.honest}
        said: dict[tuple[object, ...], Vote | Proposal] = {}
        for sender, one in self.world.sent:
            if sender in names and isinstance(one, Vote) and self._is_by(one, sender):
                assert said.setdefault((sender, one.height, one.round, one.kind), one) == one
        for machine in self.honest:
            assert self.accused(machine) <= self.addresses(self.liars)
        assert all(who not in names or whom not in names for who, whom, _ in self.world.let_go)

    def _is_by(self, vote: Vote, sender: bytes) -> bool:
        (key,) = [machine.key for machine in self.world.machines if machine.name == sender]
        validators = validators_at(self.honest[0].core.chain.store, vote.height)
        return vote.validator == validators.index_of(Address(address_of(key or b"")))


@cache
def payment(size: int, nonce: int, account: int) -> bytes:
    """Return a payment by an account of the lab of that size."""
    chain_id = genesis_hash(lab(size).genesis)
    pay = message("token/transfer", Transfer(NATIVE, BOB, Amount(100)))
    point = ChainPoint(chain_id, BlockId(chain_id), Height(0))
    return call(point, lab(size).account(account), lab(size).wallet_keys[account], nonce, [pay]).raw
