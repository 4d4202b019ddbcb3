"""What a laboratory's manifest says: nodes, what lies between them, load, and what happens to whom.

Heights are those of the chain. Times are in seconds, but for link classes, whose delays are in ms. The module `reading`
reads these structs from TOML, `sense` says what contradicts itself, docs/laboratory.md has examples.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from state.params import BasisPoints

Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,29}$")]
Names = tuple[Name, ...]
AtHeight = Annotated[int, Meta(ge=0, le=100_000)]
Seconds = Annotated[float, Meta(ge=0, le=3600)]
Milliseconds = Annotated[float, Meta(ge=0, le=10_000)]
Core = Literal["qh3", "aioquic"]
Sync = Literal["auto", "blocks", "snapshot"]
Release = Annotated[int, Meta(ge=1, le=9)]
AmountText = Annotated[str, Meta(pattern="^[0-9]+(\\.[0-9]+)?(nxs|unxs)$")]

HERE: Final = "here"
"""The region of nodes that name none."""


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table of a manifest."""


class Chain(Table, frozen=True, kw_only=True):
    """`[chain]`: parameters of the genesis document that are not the usual ones."""

    epoch_length: Annotated[int, Meta(ge=2, le=10_000)] = 600
    """Blocks; validator sets change at the end of an epoch."""
    unbonding_blocks: Annotated[int, Meta(ge=1, le=100_000)] = 50_000
    downtime_window: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    """Blocks over which signatures are counted."""
    min_signed: BasisPoints = 5000
    """Basis points of the window that a validator has to sign."""
    jail_blocks: Annotated[int, Meta(ge=1, le=100_000)] = 600


class Load(Table, frozen=True, kw_only=True):
    """`[load]`: payments that go on while the network runs, each by one of the senders, through one of the nodes."""

    rate: Annotated[float, Meta(ge=0.2, le=50)] = 4.0
    """A second."""
    senders: Annotated[int, Meta(ge=1, le=64)] = 12


class LinkClass(Table, frozen=True, kw_only=True):
    """`[classes.NAME]`: what a way between two nodes does to datagrams, in each direction."""

    delay: Milliseconds = 0.0
    jitter: Milliseconds = 0.0
    """Up to so much more; the order is kept."""
    loss: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    """Share that gets lost."""


class Link(Table, frozen=True, kw_only=True):
    """`[[links]]`: the class of the ways between two regions, or, naming one twice, within it."""

    between: tuple[Name, Name]
    link_class: Name = msgspec.field(name="class")


class Node(Table, frozen=True, kw_only=True):
    """`[nodes.NAME]`: one process."""

    role: Literal["validator", "guarded", "full", "sentry", "seed", "light"] = "validator"
    """As in config.toml; `light` is a light client that serves the API."""
    power: Annotated[int, Meta(ge=0, le=10_000)] = 100
    """At genesis, of a validator; 0 votes only once it has staked."""
    region: Name = HERE
    start_at: AtHeight = 0
    """It starts when the network has reached this height."""
    sync: Sync = "auto"
    """How it joins; `snapshot` is given a trusted height and hash, and has to have used one."""
    seeds: Names = ()
    """Whom it asks for others, instead of knowing peers."""
    peers: Names = ()
    """Whom it stays connected to; by default the validators that may be dialled, unless it has seeds."""
    core: Core = "qh3"
    release: Release = 1
    """Newest protocol version that its program knows."""
    snapshot_every: Annotated[int, Meta(ge=0, le=10_000)] = 5000
    lies: tuple[str, ...] = ()
    """How it breaks the rules (testnet.byzantine)."""
    primary: str = ""
    """Of a light client: the node that it asks; by default the first validator."""
    witnesses: Names = ()
    """Of a light client: nodes that may contradict the primary."""


class Step(Table, frozen=True, kw_only=True, tag_field="do"):
    """`[[steps]]`: something that happens. Steps begin in their order, each when its height and time have come."""

    at: AtHeight = 0
    """Not before the network has reached this height."""
    after: Seconds = 0.0
    """Not before so many seconds have passed since the step before began."""


class Fault(Step, frozen=True, kw_only=True):
    """Something that is done to nodes, and undone after a while."""

    nodes: Names = ()
    region: str = ""
    """All nodes of a region, instead of naming them."""
    lasts: Seconds = 2.0


class Kill(Fault, frozen=True, kw_only=True, tag="kill"):
    """SIGKILL; started again afterwards, unless `back = false`."""

    back: bool = True


class Restart(Fault, frozen=True, kw_only=True, tag="restart"):
    """SIGTERM; started again afterwards, unless `back = false`."""

    back: bool = True


class Pause(Fault, frozen=True, kw_only=True, tag="pause"):
    """SIGSTOP, and SIGCONT afterwards."""


class Disconnect(Fault, frozen=True, kw_only=True, tag="disconnect"):
    """Nothing passes between these nodes and the others, among themselves it does."""


class Start(Step, frozen=True, kw_only=True, tag="start"):
    """Nodes that were stopped for good start again."""

    nodes: Names = ()
    region: str = ""


class Upgrade(Step, frozen=True, kw_only=True, tag="upgrade"):
    """Nodes are stopped and start with another program or another QUIC core."""

    nodes: Names = ()
    region: str = ""
    release: Annotated[int, Meta(ge=0, le=9)] = 0
    """0: the one that it has."""
    core: Literal["", "qh3", "aioquic"] = ""


class Plan(Step, frozen=True, kw_only=True, tag="plan"):
    """The operators of these validators, or of all, approve a protocol version from a height on."""

    version: Release
    height: Annotated[int, Meta(ge=1, le=100_000)]
    nodes: Names = ()


class Stake(Step, frozen=True, kw_only=True, tag="stake"):
    """Operators of these nodes bond more; who is no validator becomes one."""

    nodes: Names
    amount: AmountText


class Unstake(Step, frozen=True, kw_only=True, tag="unstake"):
    """Operators of these nodes unbond."""

    nodes: Names
    amount: AmountText


class Standstill(Step, frozen=True, kw_only=True, tag="standstill"):
    """No node may decide a block while this lasts: there is no quorum. The first two seconds do not count."""

    lasts: Seconds = 8.0


class Progress(Step, frozen=True, kw_only=True, tag="progress"):
    """The chain has to grow by so many blocks within a time."""

    blocks: Annotated[int, Meta(ge=1, le=1000)] = 3
    within: Seconds = 60.0


AnyStep = (
    Kill | Restart | Pause | Disconnect | Start | Upgrade | Plan | Stake | Unstake | Standstill | Progress
)
STEPS: Final[Mapping[str, type[Step]]] = MappingProxyType({
    "kill": Kill, "restart": Restart, "pause": Pause, "disconnect": Disconnect, "start": Start, "upgrade": Upgrade,
    "plan": Plan, "stake": Stake, "unstake": Unstake, "standstill": Standstill, "progress": Progress,
})
"""Every kind of step by what `do` says."""


class LabManifest(Table, frozen=True, kw_only=True):
    """A whole manifest."""

    name: Name
    about: Annotated[str, Meta(max_length=400)] = ""
    """For people: what is tried."""
    seed: Annotated[int, Meta(ge=0, le=2**53)] = 1
    """Of what gets lost, and of who pays through whom."""
    until: AtHeight = 30
    """The run lasts at least until this height."""
    limit: Annotated[float, Meta(ge=10, le=3600)] = 420.0
    """Seconds after which a run that is not done has failed."""
    chain: Chain = Chain()
    load: Load = Load()
    classes: dict[Name, LinkClass] = {}
    links: tuple[Link, ...] = ()
    nodes: dict[Name, Node]
    steps: tuple[AnyStep, ...] = ()

    def full_nodes(self) -> tuple[str, ...]:
        """Return the names of all but light clients, in order."""
        return tuple(name for name, node in self.nodes.items() if node.role != "light")

    def light_clients(self) -> tuple[str, ...]:
        """Return the names of light clients, in order."""
        return tuple(name for name, node in self.nodes.items() if node.role == "light")

    def validators(self) -> tuple[str, ...]:
        """Return the names of those that vote from the first block on, in order."""
        return tuple(
            name for name, node in self.nodes.items() if node.role in ("validator", "guarded") and node.power
        )

    def within(self, region: str) -> tuple[str, ...]:
        """Return the nodes of a region, light clients aside."""
        return tuple(name for name in self.full_nodes() if self.nodes[name].region == region)

    def targets(self, step: Fault | Start | Upgrade) -> tuple[str, ...]:
        """Return whom a step is about."""
        return self.within(step.region) if step.region else step.nodes

    @property
    def routed(self) -> bool:
        """Whether datagrams have to pass a router: something delays, loses or cuts them."""
        return bool(self.links) or any(isinstance(step, Disconnect) for step in self.steps)
