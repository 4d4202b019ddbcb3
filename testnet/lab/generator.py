"""Manifests from a seed: networks that nobody thought of. The same seed gives the same bytes, always.

Whatever is drawn is a network that has to pass: the faults overlap in no more than less than a third of the power, and
never for good; a step is drawn only where `testnet.lab.sense` allows it.
"""

import random
from collections.abc import Iterator
from typing import Final, NamedTuple

from crypto.errors import Reason, Refused
from testnet.lab.manifest import (
    HERE,
    AnyStep,
    Chain,
    Core,
    Disconnect,
    Kill,
    LabManifest,
    Link,
    LinkClass,
    Load,
    Node,
    Pause,
    Plan,
    Restart,
    Stake,
    Sync,
    Unstake,
    Upgrade,
)
from testnet.lab.sense import contradictions, quorum

FIRST_STEP: Final = 8
"""Height of the first step."""
APART: Final = (8, 14)
"""Blocks between two steps, at least and at most."""
GREEK: Final = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta")
REGIONS: Final = ("eu", "us", "asia")
CORES: Final[tuple[Core, ...]] = ("qh3", "qh3", "aioquic")
SYNCS: Final[tuple[Sync, ...]] = ("auto", "blocks", "snapshot")
SNAPSHOT_EVERY: Final = 10
EPOCH: Final = 10
CHANGED_BY: Final = 2 * EPOCH + 5
"""Blocks within which stake that changed votes."""


class _Shape(NamedTuple):
    """What kind of network is drawn."""

    validators: int
    regions: tuple[str, ...]
    seeded: bool
    """Full nodes come through a seed."""
    changes: str
    """What becomes of the rules: "", "stake" or "upgrade"."""


def generate(seed: int) -> LabManifest:
    """Return the manifest of a seed: 4 to 7 validators and up to 4 others, in one to three regions, some faults.

    Args:
        seed: 0 to 2**53.

    Raises:
        Refused: BAD_ARGUMENT for another seed.
    """
    if not 0 <= seed <= 2**53:
        raise Refused(Reason.BAD_ARGUMENT, f"a seed is a number from 0 to 2**53, not {seed}")
    dice = random.Random(f"laboratory {seed}")
    shape = _Shape(
        validators=dice.choice((4, 4, 4, 5, 5, 7)), regions=REGIONS[: dice.choice((1, 1, 2, 3))],
        seeded=dice.random() < 0.5, changes=dice.choice(("", "", "stake", "upgrade")),
    )
    if len(shape.regions) == 1:
        shape = shape._replace(regions=(HERE,))
    nodes = dict(_nodes(dice, shape))
    classes, links = _links(dice, shape)
    base = LabManifest(
        name=f"seed-{seed}", about=_about(shape, nodes), seed=seed, limit=600.0,
        load=Load(rate=float(dice.choice((2, 4, 6)))), nodes=nodes, classes=classes, links=links,
        chain=Chain(epoch_length=EPOCH) if shape.changes == "stake" else Chain(),
    )
    made = _with_steps(dice, base, shape)
    wrong = contradictions(made)
    if wrong:
        raise Refused(Reason.INTERNAL, f"seed {seed}: {'; '.join(wrong)}")
    return made


def _about(shape: _Shape, nodes: dict[str, Node]) -> str:
    where = f"in {len(shape.regions)} regions" if len(shape.regions) > 1 else "in one place"
    others = {"": "", "stake": "; stake changes", "upgrade": "; the protocol changes"}[shape.changes]
    return f"Drawn: {shape.validators} validators of {len(nodes)} nodes {where}{others}."


def _nodes(dice: random.Random, shape: _Shape) -> Iterator[tuple[str, Node]]:
    if shape.seeded:
        yield "guide", Node(role="seed", region=dice.choice(shape.regions), peers=(GREEK[0],))
    for place, name in enumerate(GREEK[: shape.validators]):
        # every region has a validator, and some snapshots are made
        region = shape.regions[place] if place < len(shape.regions) else dice.choice(shape.regions)
        every = SNAPSHOT_EVERY if place < 2 else 5000
        power = 100 if shape.changes == "stake" else dice.choice((100, 100, 80, 120))
        yield name, Node(region=region, snapshot_every=every, core=dice.choice(CORES), power=power)
    if shape.changes == "stake":
        yield "newcomer", Node(power=0, start_at=dice.choice((0, FIRST_STEP)), region=dice.choice(shape.regions))
    for number in range(dice.choice((0, 1, 1, 2))):
        sync = dice.choice(SYNCS)
        start = 0 if sync == "auto" and dice.random() < 0.5 else dice.randrange(25, 40)
        yield f"reader-{number}", Node(
            role="full", start_at=start, sync=sync, region=dice.choice(shape.regions), core=dice.choice(CORES),
            seeds=("guide",) if shape.seeded else (),
        )
    if dice.random() < 0.5:
        yield "light", Node(role="light", start_at=dice.randrange(5, 20), witnesses=(GREEK[1],))


def _links(dice: random.Random, shape: _Shape) -> tuple[dict[str, LinkClass], tuple[Link, ...]]:
    classes, links = {}, []
    pairs = [(a, b) for place, a in enumerate(shape.regions) for b in shape.regions[place:]]
    if len(shape.regions) == 1 and dice.random() < 0.6:
        return {}, ()
    for a, b in pairs:
        name = f"{a}-{b}"
        near = a == b
        classes[name] = LinkClass(
            delay=float(dice.randrange(0, 10) if near else dice.randrange(15, 100)),
            jitter=float(dice.randrange(0, 5) if near else dice.randrange(0, 20)),
            loss=dice.choice((0.0, 0.0, 0.002, 0.01, 0.03)),
        )
        links.append(Link(between=(a, b), link_class=name))
    return classes, tuple(links)


def _with_steps(dice: random.Random, base: LabManifest, shape: _Shape) -> LabManifest:
    """Return the manifest with steps, and with a last height behind everything."""
    steps: list[AnyStep] = []
    height = FIRST_STEP
    planned = 0
    if shape.changes == "stake":
        height += APART[1]  # the newcomer is there
        steps.append(Stake(nodes=("newcomer",), amount=f"{dice.randrange(10, 40)}nxs", at=height))
        steps.append(Unstake(nodes=(GREEK[1],), amount=f"{dice.randrange(1, 30)}nxs", at=height + 4))
        height += dice.randrange(*APART)
    if shape.changes == "upgrade":
        steps.append(Plan(version=2, height=height + 60, at=height))
        everybody = tuple(name for name in base.full_nodes())
        height = max(height + 4, *(base.nodes[name].start_at + 6 for name in everybody))
        steps.append(Upgrade(nodes=everybody, release=2, at=height))
        planned = steps[0].height if isinstance(steps[0], Plan) else 0
        height += dice.randrange(*APART)
    for _ in range(dice.randrange(1, 5)):
        drawn = _fault(dice, base, height)
        if drawn is not None:
            steps.append(drawn)
            height += dice.randrange(*APART)
    last = max(height, planned, *(node.start_at + APART[1] for node in base.nodes.values()))
    until = last + (CHANGED_BY if shape.changes == "stake" else APART[0])
    return _replaced(base, tuple(steps), until)


def _replaced(base: LabManifest, steps: tuple[AnyStep, ...], until: int) -> LabManifest:
    return LabManifest(
        name=base.name, about=base.about, seed=base.seed, until=until, limit=base.limit, chain=base.chain,
        load=base.load, classes=base.classes, links=base.links, nodes=base.nodes, steps=steps,
    )


def _fault(dice: random.Random, base: LabManifest, height: int) -> Kill | Restart | Pause | Disconnect | None:
    """Return something that the others survive, by a quorum of theirs or, sometimes, after a standstill."""
    there = [name for name in base.full_nodes() if base.nodes[name].start_at < height - 3]
    victims = tuple(sorted(dice.sample(there, dice.choice((1, 1, 1, 2))), key=there.index))
    lasts = round(dice.uniform(0.5, 6.0), 1)
    kind = dice.choice((Kill, Kill, Restart, Pause, Disconnect))
    if kind is Disconnect and not quorum(base, set(there) - set(victims)):
        return None
    return kind(nodes=victims, at=height, lasts=lasts)
