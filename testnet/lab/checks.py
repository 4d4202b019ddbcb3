"""Verdicts on a network from what its nodes hold. Pure: everything was read before, by `testnet.lab.observe`."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from state.types import UNXS_PER_NXS
from testnet.lab.manifest import LabManifest, Plan
from testnet.lab.observe import LightSeen, NodeSeen
from testnet.lab.report import Verdict

SHOWN = 4
"""Examples that a verdict names at most."""


class Evidence(NamedTuple):
    """What a verdict rests on.

    Attributes:
        manifest: what was to happen.
        seen: what each node holds.
        lights: what each light client says.
        committed: height of each payment that was called committed.
        accepted: through whom, for payments that were accepted only.
        disturbed: nodes that a step did something to.
        stakes: what operators have bonded by the manifest, in unxs, by node.
        operators: bech32m addresses of validators' operators, by node.
        settled: a whole epoch passed since stake changed last.
    """

    manifest: LabManifest
    seen: Mapping[str, NodeSeen]
    lights: Mapping[str, LightSeen]
    committed: Mapping[str, int]
    accepted: Mapping[str, str]
    disturbed: Collection[str]
    stakes: Mapping[str, int]
    operators: Mapping[str, str]
    settled: bool


def judge(evidence: Evidence) -> list[Verdict]:
    """Return every verdict that applies."""
    found = [
        at_the_tip(evidence), one_chain(evidence), one_state(evidence), promises_kept(evidence),
        accepted_found(evidence), nobody_accused(evidence), nobody_jailed(evidence),
    ]
    return [*found, *powers(evidence), *joined(evidence), *versions(evidence), *light_clients(evidence)]


def _verdict(what: str, wrong: Collection[str], good: str) -> Verdict:
    examples = [*wrong][:SHOWN]
    more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return Verdict(what, not wrong, "; ".join(examples) + more if wrong else good)


def at_the_tip(evidence: Evidence) -> Verdict:
    """Every node has the last block."""
    top = max(one.height for one in evidence.seen.values())
    wrong = [
        f"{name} is at {one.height} of {top}" + (", catching up" if one.catching_up else "")
        for name, one in evidence.seen.items() if one.height != top or one.catching_up
    ]
    return _verdict("every node is at the tip", wrong, f"{len(evidence.seen)} nodes at height {top}")


def one_chain(evidence: Evidence) -> Verdict:
    """No two nodes hold different blocks at a height."""
    ids: dict[int, dict[str, str]] = {}
    for name, one in evidence.seen.items():
        for height, block in one.blocks.items():
            ids.setdefault(height, {}).setdefault(block.block_id, name)
    wrong = [
        f"height {height}: {' and '.join(found.values())} differ" for height, found in ids.items() if len(found) > 1
    ]
    count = sum(len(one.blocks) for one in evidence.seen.values())
    return _verdict("all nodes hold the same blocks", wrong, f"{count} blocks of {len(ids)} heights compared")


def one_state(evidence: Evidence) -> Verdict:
    """No two nodes have different states after a height."""
    roots: dict[int, dict[str, str]] = {}
    for name, one in evidence.seen.items():
        after = {height - 1: block.state_root for height, block in one.blocks.items()} | {one.height: one.state_root}
        for height, root in after.items():
            roots.setdefault(height, {}).setdefault(root, name)
    wrong = [
        f"after {height}: {' and '.join(found.values())} differ" for height, found in roots.items() if len(found) > 1
    ]
    return _verdict("all nodes have the same state roots", wrong, f"{len(roots)} heights compared")


def promises_kept(evidence: Evidence) -> Verdict:
    """What was called committed stands on every node, in the block that was named."""
    wrong = []
    for name, one in evidence.seen.items():
        first = min(one.blocks, default=one.height)
        found = {txid: height for height, block in one.blocks.items() for txid in block.txids}
        wrong += [
            f"{name}: {txid[:16]} is not in block {height}" for txid, height in evidence.committed.items()
            if height >= first and found.get(txid) != height
        ]
    count = len(evidence.committed)
    if not count:
        wrong.append("no payment was ever committed")
    return _verdict("committed payments are found on every node", wrong, f"{count} payments")


def accepted_found(evidence: Evidence) -> Verdict:
    """What a node accepted and did not lose by a fault of its own is in the chain."""
    known = {txid for one in evidence.seen.values() for block in one.blocks.values() for txid in block.txids}
    missing = {txid: name for txid, name in evidence.accepted.items() if txid not in known}
    wrong = [f"{txid[:16]} by {name}" for txid, name in missing.items() if name not in evidence.disturbed]
    through = ", ".join(f"{count} through {name}" for name, count in Counter(evidence.accepted.values()).items())
    good = f"{through or 'none'} came late; {len(missing)} were lost with a node that a fault hit"
    return _verdict("accepted payments are not lost", wrong, good)


def nobody_accused(evidence: Evidence) -> Verdict:
    """Blocks hold evidence only where somebody lies."""
    liars = [name for name, node in evidence.manifest.nodes.items() if node.lies]
    blocks = next(iter(evidence.seen.values())).blocks
    heights = [f"block {height} holds evidence" for height, block in blocks.items() if block.evidence]
    if liars:
        return Verdict("nobody honest is accused", True, f"{', '.join(liars)} lied; {len(heights)} blocks say so")
    return _verdict("nobody is accused of lying", heights, "no block holds evidence")


def nobody_jailed(evidence: Evidence) -> Verdict:
    """Validators are jailed only if they lie or a fault kept them away, and tombstoned only if they lie."""
    names = {operator: name for name, operator in evidence.operators.items()}
    rows = next(iter(evidence.seen.values())).candidates
    wrong, explained = [], []
    for row in rows:
        name = names.get(row["operator"], row["moniker"])
        lies = name in evidence.manifest.nodes and bool(evidence.manifest.nodes[name].lies)
        if row["status"] == "candidate":
            continue
        if lies or (row["status"] == "jailed" and name in evidence.disturbed):
            explained.append(f"{name} is {row['status']}, as its faults explain")
        else:
            wrong.append(f"{name} is {row['status']}")
    good = "; ".join(explained) or f"{len(rows)} validators in good standing"
    return _verdict("nobody honest is punished", wrong, good)


def powers(evidence: Evidence) -> Iterator[Verdict]:
    """After a whole epoch votes weigh what was bonded."""
    if not evidence.settled:
        return
    one = next(iter(evidence.seen.values()))
    free = {row["operator"] for row in one.candidates if row["status"] == "candidate"}
    wanted = {
        operator: evidence.stakes.get(name, 0) // UNXS_PER_NXS for name, operator in evidence.operators.items()
        if operator in free
    }
    wrong = [
        f"{name} has {one.powers.get(operator, 0)}, not {wanted[operator]}"
        for name, operator in evidence.operators.items()
        if operator in wanted and one.powers.get(operator, 0) != wanted[operator]
    ]
    yield _verdict("validators have the power that they bonded", wrong, f"{len(one.powers)} vote")


def joined(evidence: Evidence) -> Iterator[Verdict]:
    """Who was to join by a snapshot lacks the first blocks, who was to join by blocks has them."""
    for name, one in evidence.seen.items():
        sync, first = evidence.manifest.nodes[name].sync, min(one.blocks, default=one.height)
        if sync == "snapshot":
            yield Verdict(f"{name} joined by a snapshot", first > 1, f"its first block is {first}")
        elif sync == "blocks":
            yield Verdict(f"{name} joined by blocks", first == 1, f"its first block is {first}")


def versions(evidence: Evidence) -> Iterator[Verdict]:
    """A planned protocol version is in force from its height on, not before."""
    for plan in evidence.manifest.steps:
        if not isinstance(plan, Plan):
            continue
        wrong = [
            f"{name}: block {height} is of version {one.blocks[height].version}"
            for name, one in evidence.seen.items()
            for height, due in ((plan.height - 1, False), (plan.height, True))
            if height in one.blocks and (one.blocks[height].version == plan.version) != due
        ]
        yield _verdict(f"version {plan.version} begins with block {plan.height}", wrong, "on every node")


def light_clients(evidence: Evidence) -> Iterator[Verdict]:
    """What light clients verified is the chain."""
    blocks = {height: block.block_id for one in evidence.seen.values() for height, block in one.blocks.items()}
    top = max(blocks)
    for name, light in evidence.lights.items():
        agrees = blocks.get(light.height) == light.block_id and light.height >= top - 2
        yield Verdict(f"{name} agrees", agrees, f"verified up to {light.height} of {top}")
