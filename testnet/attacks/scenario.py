"""Attack scenarios from files, in the form of libp2p's gossipsub-hardening runs, brought to the size of one process.

A file describes a run of a thousand machines over minutes. What decides an attack is how many of an honest node's
connections are an attacker's, and when they came; so these ratios are kept, and what cannot be kept is made harder,
never easier. `Scenario.scale` says in words how each number was mapped.

    connections   an honest node dials HONEST_DIALS others instead of `network.degree`
    attackers     12 instead of `attacker`; each dials so many honest nodes that they take the same share of an honest
                  node's connections as in the file, and at least `attack_degree` in the proportion of the dials
    one victim    all attackers dial it; its own connections are cut down until the share is that of the file
    addresses     attackers share a /64 in the proportion in which they share a container
    time          `connect_delay` and `warm` shrink like `run`; backoffs belong to the protocol and stay
    messages      `publisher` in the proportion of the honest nodes; one message a second, of the file's size
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from crypto.errors import Reason, Refused

RUN: Final = 60.0
"""Seconds in which messages are published."""
HONEST: Final = 50
ATTACKERS: Final = 12
HONEST_DIALS: Final = 10
"""Nodes that an honest node dials, in a network of HONEST; fewer in a smaller one."""
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What an attacker does. Seconds.

    Attributes:
        drop: share of messages that it does not forward.
        censors: it drops every message of the first publisher.
        one_victim: it connects with the first publisher alone.
        publishers_only: it connects with publishers alone.
        idle: it is honest for so long after it has connected.
        regraft_backoff: it grafts again so long after it was pruned,
        regraft_delay: plus a random part of this; 0 for never.
    """

    drop: float
    censors: bool
    one_victim: bool
    publishers_only: bool
    idle: float
    regraft_backoff: float
    regraft_delay: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """A run at our size. Counts, seconds and bytes.

    Attributes:
        connect_at: when each attacker dials; honest nodes dial within the first second.
        attack_dials: honest nodes that each attacker dials.
        victim_links: honest nodes that the victim of `one_victim` knows.
        per_prefix: attackers that share a /64.
        scale: how the file's numbers became these, for people.
    """

    name: str
    honest: int
    attackers: int
    publishers: int
    honest_dials: int
    attack_dials: int
    victim_links: int
    per_prefix: int
    connect_at: tuple[float, ...]
    warm: float
    latency: float
    jitter: float
    message_size: int
    behaviour: Behaviour
    scale: tuple[str, ...]


def load_scenario(path: Path, honest: int = HONEST, attackers: int = ATTACKERS) -> Scenario:
    """Read a file and scale it.

    Args:
        path: JSON of the form described above.
        honest: nodes that follow the protocol, at least 8.
        attackers: nodes that do not, unless the file has none.

    Raises:
        Refused: CANNOT_OPEN; MALFORMED if the file is not of that form.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise Refused(Reason.CANNOT_OPEN, f"{path}: {error.strerror}") from None
    try:
        return _scaled(path.stem, _File(json.loads(text)), honest, attackers)
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise Refused(Reason.MALFORMED, f"{path} is no gossip attack: {type(error).__name__} at {error}") from None


class _File:
    """Access by path, each leaf being {"value": ...}."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self._tree = tree

    def get(self, path: str) -> Any:
        node: Any = self._tree
        for part in path.split("."):
            node = node[part]
        return node["value"]

    def seconds(self, path: str) -> float:
        return seconds(self.get(path))


def seconds(text: str) -> float:
    """Return the seconds of a Go duration such as `1m30s`. Raises ValueError."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"no duration: {text!r}")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def delays(text: str, count: int) -> list[float]:
    """Return when each of `count` attackers connects, from `500@30s,500@1m` or one duration for all."""
    made: list[float] = []
    for part in text.split(","):
        number, at, wait = part.strip().rpartition("@")
        made += [seconds(wait)] * (min(int(number), count) if at else count)
    return (made + made[-1:] * count)[:count]


def _scaled(name: str, file: _File, honest: int, attackers: int) -> Scenario:
    file_honest = int(file.get("main.node_counts.publisher")) + int(file.get("main.node_counts.lurker"))
    file_attackers = int(file.get("main.node_counts.attacker"))
    attackers = attackers if file_attackers else 0
    degree, attack_degree = int(file.get("main.network.degree")), int(file.get("main.network.attack_degree"))
    one_victim = bool(file.get("main.attack_behavior.single_node"))
    dials = max(2, min(HONEST_DIALS, honest // 4))
    reach = 1 if one_victim else attack_degree
    share = file_attackers * reach / (1 if one_victim else file_honest) / (2 * degree)
    # `share` attackers for each honest connection of a node
    attack_dials, victim_links = 1, 2 * dials
    if attackers and one_victim:
        victim_links = max(1, round(attackers / share))
    elif attackers:
        kept = share * 2 * dials * honest / attackers
        attack_dials = min(honest, max(1, math.ceil(max(kept, attack_degree * dials / degree))))
    containers = int(file.get("main.node_counts.attackers_per_container"))
    per_prefix = min(attackers, max(1, round(containers * attackers / file_attackers))) if attackers else 1
    shrink = RUN / file.seconds("main.time.run")
    waits = delays(str(file.get("main.attack_behavior.connect_delay")), max(file_attackers, 1))
    connect_at = tuple(waits[index * file_attackers // attackers] * shrink for index in range(attackers))
    publishers = max(2, round(int(file.get("main.node_counts.publisher")) * honest / file_honest))
    number, unit = str(file.get("topic.topic.message_size")).split()
    warm = file.seconds("main.time.warm") * shrink
    behaviour = Behaviour(
        float(file.get("main.attack_behavior.sybil_degrade")),
        bool(file.get("main.attack_behavior.censor_single_node")), one_victim,
        bool(file.get("main.attack_behavior.publishers_only")),
        file.seconds("main.attack_behavior.sybil_attack_delay") * shrink,
        file.seconds("main.attack_behavior.sybil_regraft_backoff"),
        file.seconds("main.attack_behavior.sybil_regraft_delay"),
    )
    scale = (
        f"{file_honest} honest and {file_attackers} attacking nodes -> {honest} and {attackers}",
        f"{degree} dials of an honest node -> {dials}",
        _links(share, attackers, honest, dials, attack_dials, victim_links, one_victim),
        f"{containers} attackers on one machine -> {per_prefix} on one /64",
        f"attackers dial after {file.get('main.attack_behavior.connect_delay')} -> after "
        f"{min(connect_at, default=0):.0f} to {max(connect_at, default=0):.0f} s (times shrink by {1 / shrink:.0f})",
        f"{file.get('topic.topic.message_rate')} of {file.get('main.node_counts.publisher')} publishers -> "
        f"1/s of {publishers}",
    )
    return Scenario(
        name, honest, attackers, publishers, dials, attack_dials, victim_links, per_prefix, connect_at, warm,
        file.seconds("main.network.latency"), float(file.get("main.network.jitter_pct")) / 100,
        int(number) * _SIZES[unit], behaviour, scale,
    )


def _links(
    share: float, attackers: int, honest: int, dials: int, attack_dials: int, victim_links: int, one_victim: bool
) -> str:
    if not attackers:
        return "nobody attacks"
    if one_victim:
        ours = attackers / victim_links
        return f"{share:.2f} attackers for each honest peer of the victim -> {ours:.2f}: it knows {victim_links}"
    ours = attackers * attack_dials / honest / (2 * dials)
    return f"{share:.2f} attackers for each honest peer of a node -> {ours:.2f}: each dials {attack_dials}"
