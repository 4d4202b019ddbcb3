"""What contradicts itself in a manifest whose every key is right by itself. Pure."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from testnet.byzantine.behaviours import BEHAVIOURS
from testnet.lab.manifest import (
    Fault,
    Kill,
    LabManifest,
    Node,
    Plan,
    Restart,
    Stake,
    Start,
    Step,
    Unstake,
    Upgrade,
)

VOTERS: Final = ("validator", "guarded")
"""Roles that have a consensus key which may vote."""
PLAN_AHEAD: Final = 12
"""Blocks between a plan's step and its height, at least: the approvals take some, and the last five are too late."""
AFTERWARDS: Final = 3
"""Blocks that a run goes on at least behind the last height that it names."""


def contradictions(manifest: LabManifest) -> list[str]:
    """Return what cannot be, a sentence each; an empty list for a manifest that can be run."""
    wrong = [*_population(manifest), *_links(manifest)]
    for name, node in manifest.nodes.items():
        wrong += _light_client(manifest, name, node) if node.role == "light" else _node(manifest, name, node)
    return wrong or list(_steps(manifest))


def quorum(manifest: LabManifest, names: Collection[str]) -> bool:
    """Return whether these genesis validators hold more than two thirds of the power."""
    voters = manifest.validators()
    return 3 * sum(manifest.nodes[name].power for name in voters if name in names) > 2 * sum(
        manifest.nodes[name].power for name in voters
    )


def _population(manifest: LabManifest) -> Iterator[str]:
    first = [name for name in manifest.validators() if not manifest.nodes[name].start_at]
    if not manifest.validators():
        yield "nobody votes: there is no node with role 'validator' and a power above 0"
    elif not quorum(manifest, first):
        yield "those that start at once hold no more than two thirds of the power, so there would never be a block"
    names = manifest.full_nodes()
    if len(names) > 40:
        yield f"{len(names)} nodes are more than one machine carries: at most 40"


def _unknown(manifest: LabManifest, names: Collection[str], place: str) -> Iterator[str]:
    for name in names:
        if name not in manifest.nodes:
            yield f"{place}: there is no node {name!r}; there are {', '.join(manifest.nodes)}"
        elif manifest.nodes[name].role == "light":
            yield f"{place}: {name!r} is a light client"


def _node(manifest: LabManifest, name: str, node: Node) -> Iterator[str]:
    place = f"[nodes.{name}]"
    yield from _unknown(manifest, node.peers, f"{place} peers")
    yield from _unknown(manifest, node.seeds, f"{place} seeds")
    for seed in node.seeds:
        if seed in manifest.nodes and manifest.nodes[seed].role != "seed":
            yield f"{place} seeds: {seed!r} has the role {manifest.nodes[seed].role!r}, not 'seed'"
    if name in (*node.peers, *node.seeds):
        yield f"{place} names itself as a peer"
    if node.role == "guarded" and (not node.peers or node.seeds):
        yield f"{place}: a guarded validator names its sentries in peers, and no seeds"
    if node.role == "seed" and node.start_at:
        yield f"{place}: a seed starts at once, since others ask it first"
    for key in ("primary", "witnesses"):
        if getattr(node, key):
            yield f"{place} {key}: only a light client has that"
    for lie in node.lies:
        if lie not in BEHAVIOURS:
            yield f"{place} lies: there is no behaviour {lie!r}; there are {', '.join(BEHAVIOURS)}"
    if node.sync != "auto" and node.release > 1:
        yield f"{place} sync: a program of another release joins as it likes: leave out sync, or let it upgrade later"
    if node.sync == "snapshot":
        able = [
            other for other in manifest.full_nodes()
            if not manifest.nodes[other].start_at and manifest.nodes[other].role != "seed"
            and 0 < manifest.nodes[other].snapshot_every < node.start_at - 1
        ]
        if not able:
            yield (
                f"{place} sync: before height {node.start_at} nobody has a snapshot: give a node that starts at once a "
                "snapshot_every well below, or start this one later"
            )


def _light_client(manifest: LabManifest, name: str, node: Node) -> Iterator[str]:
    place = f"[nodes.{name}]"
    usual = Node(role="light")
    for key in ("power", "sync", "seeds", "peers", "core", "release", "snapshot_every", "lies", "region"):
        if getattr(node, key) != getattr(usual, key):
            yield f"{place} {key}: a light client has none"
    asked = [one for one in (node.primary, *node.witnesses) if one]
    yield from _unknown(manifest, asked, f"{place} primary and witnesses")
    if len(set(asked)) != len(asked):
        yield f"{place}: a node cannot be its own witness"
    if not node.start_at:
        yield f"{place} start_at: a light client begins with a block, so at a height of at least 1"


def _links(manifest: LabManifest) -> Iterator[str]:
    regions = {manifest.nodes[name].region for name in manifest.full_nodes()}
    for number, link in enumerate(manifest.links, 1):
        for region in link.between:
            if region not in regions:
                yield f"[[links]] {number}: no node is in region {region!r}; there are {', '.join(sorted(regions))}"
        if link.link_class not in manifest.classes:
            there = ", ".join(manifest.classes) or "none"
            yield f"[[links]] {number}: there is no class {link.link_class!r}; there are {there}"
    for pair, count in Counter(tuple(sorted(link.between)) for link in manifest.links).items():
        if count > 1:
            yield f"[[links]]: {' - '.join(pair)} stands there {count} times"


@dataclass
class _Course:
    """What is known of a run while its steps are read in order."""

    height: int = 0
    """That was reached at least."""
    down: set[str] = field(default_factory=set)
    """Stopped for good."""


def _steps(manifest: LabManifest) -> Iterator[str]:
    course = _Course()
    for number, step in enumerate(manifest.steps, 1):
        place = f"[[steps]] {number} ({type(step).__struct_config__.tag})"
        standing = not quorum(manifest, set(manifest.nodes) - course.down)
        if standing and step.at > course.height:
            yield f"{place}: too few validators run to reach height {step.at}: use after instead of at"
        course.height = max(course.height, step.at)
        wrong = [*_named(manifest, step, place)]
        yield from wrong or _sequel(manifest, step, place, course)
    standing = not quorum(manifest, set(manifest.nodes) - course.down)
    if standing:
        yield f"after the last step {', '.join(sorted(course.down))} are down, and the chain cannot go on: start them"
    last = max([course.height, *(step.height for step in manifest.steps if isinstance(step, Plan))])
    last = max([last, *(node.start_at for node in manifest.nodes.values())])
    if manifest.until < last + AFTERWARDS:
        yield f"until: the run names height {last}, so it lasts at least until {last + AFTERWARDS}"


def _named(manifest: LabManifest, step: Step, place: str) -> Iterator[str]:
    """Yield what is wrong with whom a step names."""
    if isinstance(step, Stake | Unstake | Plan):
        yield from _unknown(manifest, step.nodes, place)
        for name in step.nodes:
            if name in manifest.nodes and manifest.nodes[name].role not in VOTERS:
                yield f"{place}: {name!r} has the role {manifest.nodes[name].role!r} and no vote"
    if not isinstance(step, Fault | Start | Upgrade):
        return
    yield from _unknown(manifest, step.nodes, place)
    regions = {manifest.nodes[name].region for name in manifest.full_nodes()}
    if bool(step.nodes) == bool(step.region):
        yield f"{place}: name either nodes or a region"
    elif step.region and step.region not in regions:
        yield f"{place}: no node is in region {step.region!r}; there are {', '.join(sorted(regions))}"


def _sequel(manifest: LabManifest, step: Step, place: str, course: _Course) -> Iterator[str]:
    """Yield what a step cannot do after those before it, and note what it does."""
    if isinstance(step, Plan):
        approving = step.nodes or manifest.validators()
        if not quorum(manifest, approving):
            yield f"{place}: {', '.join(approving)} hold no more than two thirds of the power, which a plan needs"
        if step.version < 2 or step.height < step.at + PLAN_AHEAD:
            yield f"{place}: it takes a version above 1 and a height at least {PLAN_AHEAD} above the step's"
    if isinstance(step, Upgrade) and not (step.release or step.core):
        yield f"{place}: say which release or which core"
    if not isinstance(step, Fault | Start | Upgrade):
        return
    targets = manifest.targets(step)
    if set(targets) == set(manifest.full_nodes()) and type(step).__struct_config__.tag == "disconnect":
        yield f"{place}: from whom, if all nodes are named?"
    for name in targets:
        if isinstance(step, Start):
            if name not in course.down:
                yield f"{place}: {name!r} was not stopped for good before"
        elif name in course.down:
            yield f"{place}: {name!r} is down; start it first"
        elif manifest.nodes[name].start_at > course.height:
            yield f"{place}: {name!r} starts at height {manifest.nodes[name].start_at}: set at to a later one"
    if isinstance(step, Start):
        course.down -= set(targets)
    elif isinstance(step, Kill | Restart) and not step.back:
        course.down |= set(targets)
