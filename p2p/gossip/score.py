"""The topic scores of gossipsub v1.1, as the specification has them: P1 to P4 and P3b.

The scorer of libp2p 0.8.1 differs: it rewards mesh deliveries instead of punishing their lack, squares nothing, counts
joinings instead of time, forgets what a peer owed when it left the mesh, and is never told of duplicates. This one
takes its place behind the same methods; `ScoredPubsub` in host.py tells it of duplicates.

docs/decisions/019-gossip.md gives a reason for each number.

Thresholds: below -20 no gossip is exchanged with a peer, below -40 nothing is published to it, below -60 it is ignored.
A deficit alone reaches -0.08 at most; only invalid messages and misbehaviour reach a threshold.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio
from libp2p.peer.id import ID
from libp2p.pubsub.score import PeerScorer, ScoreParams

TICK: Final = 1.0
"""Seconds between two heartbeats, at which counters decay."""
NEGLIGIBLE: Final = 0.01
"""Counters below it are 0, as in the specification."""


def decay(seconds: float) -> float:
    """Return the factor a heartbeat that takes a counter from 1 to NEGLIGIBLE in so many seconds."""
    return float(NEGLIGIBLE ** (TICK / seconds))


@dataclass(frozen=True, slots=True)
class TopicWeights:
    """Parameters of one topic, by the specification's names; times in seconds, weights of penalties negative."""

    time_in_mesh_weight: float = 0.01
    time_in_mesh_cap: float = 1000.0
    first_deliveries_weight: float = 0.2
    first_deliveries_decay: float = decay(600)
    first_deliveries_cap: float = 50.0
    mesh_deliveries_weight: float = -1.0
    mesh_deliveries_decay: float = decay(600)
    mesh_deliveries_cap: float = 10.0
    mesh_deliveries_threshold: float = 0.2
    mesh_deliveries_activation: float = 60.0
    mesh_deliveries_window: float = 2.0
    mesh_failure_weight: float = -1.0
    mesh_failure_decay: float = decay(600)
    invalid_weight: float = -10.0
    invalid_decay: float = decay(3600)


WEIGHTS: Final = TopicWeights()


def score_params() -> ScoreParams:
    """Return the thresholds, and what libp2p's own scorer goes on to count: misbehaviour in control messages (P5)."""
    return ScoreParams(
        p5_behavior_penalty_weight=1.0, p5_behavior_penalty_decay=decay(600), p5_behavior_penalty_threshold=6.0,
        p7_ip_colocation_weight=0.0,  # the mesh limits prefixes before a peer is here
        publish_threshold=-40.0, gossip_threshold=-20.0, graylist_threshold=-60.0, accept_px_threshold=math.inf,
    )


@dataclass(slots=True)
class _Counters:
    grafted_at: float = math.inf
    first: float = 0.0
    mesh: float = 0.0
    failure: float = 0.0
    invalid: float = 0.0


class SpecScorer(PeerScorer):
    """Scores of peers, topic by topic.

    Args:
        params: thresholds.
        weights: of every topic.
        clock: seconds.
    """

    def __init__(
        self, params: ScoreParams, weights: TopicWeights = WEIGHTS, clock: Callable[[], float] = trio.current_time
    ) -> None:
        super().__init__(params)
        self._weights = weights
        self._clock = clock
        self._counters: dict[ID, dict[str, _Counters]] = defaultdict(lambda: defaultdict(_Counters))

    def on_heartbeat(self, dt_seconds: float = 1.0) -> None:
        """Let the counters decay."""
        super().on_heartbeat(dt_seconds)
        weights = self._weights
        for topics in self._counters.values():
            for one in topics.values():
                one.first = _decayed(one.first, weights.first_deliveries_decay)
                one.mesh = _decayed(one.mesh, weights.mesh_deliveries_decay)
                one.failure = _decayed(one.failure, weights.mesh_failure_decay)
                one.invalid = _decayed(one.invalid, weights.invalid_decay)

    def on_join_mesh(self, peer: ID, topic: str) -> None:
        """The peer was grafted."""
        one = self._counters[peer][topic]
        if math.isinf(one.grafted_at):
            one.grafted_at, one.mesh = self._clock(), 0.0

    def on_leave_mesh(self, peer: ID, topic: str) -> None:
        """The peer was pruned: what it owes stays with it (P3b)."""
        one = self._counters[peer][topic]
        one.failure += self._deficit(one) ** 2
        one.grafted_at = math.inf

    def remove_peer(self, peer: ID) -> None:
        """The peer is gone. Its debts stay while they are more than nothing: coming back is not forgiveness."""
        super().remove_peer(peer)
        topics = self._counters[peer]
        for topic in list(topics):
            self.on_leave_mesh(peer, topic)
            topics[topic].first = 0.0
            if topics[topic].failure < NEGLIGIBLE and topics[topic].invalid < NEGLIGIBLE:
                del topics[topic]
        if not topics:
            del self._counters[peer]

    def on_first_delivery(self, peer: ID, topic: str) -> None:
        """The peer was the first to bring a valid message."""
        one = self._counters[peer][topic]
        one.first = min(one.first + 1.0, self._weights.first_deliveries_cap)
        self.on_mesh_delivery(peer, topic)

    def on_mesh_delivery(self, peer: ID, topic: str) -> None:
        """The peer brought a valid message, first or soon after the first."""
        one = self._counters[peer][topic]
        if not math.isinf(one.grafted_at):
            one.mesh = min(one.mesh + 1.0, self._weights.mesh_deliveries_cap)

    def on_invalid_message(self, peer: ID, topic: str) -> None:
        """The peer brought a message whose content is wrong."""
        self._counters[peer][topic].invalid += 1.0

    def topic_score(self, peer: ID, topic: str) -> float:
        """Return P1 + P2 + P3 + P3b + P4."""
        weights = self._weights
        one = self._counters.get(peer, {}).get(topic)
        if one is None:
            return 0.0
        in_mesh = 0.0 if math.isinf(one.grafted_at) else self._clock() - one.grafted_at
        return (
            weights.time_in_mesh_weight * min(in_mesh, weights.time_in_mesh_cap)
            + weights.first_deliveries_weight * one.first
            + weights.mesh_deliveries_weight * self._deficit(one) ** 2
            + weights.mesh_failure_weight * one.failure
            + weights.invalid_weight * one.invalid**2
        )

    def _deficit(self, one: _Counters) -> float:
        weights = self._weights
        if math.isinf(one.grafted_at) or self._clock() - one.grafted_at < weights.mesh_deliveries_activation:
            return 0.0
        return max(weights.mesh_deliveries_threshold - one.mesh, 0.0)


def _decayed(value: float, factor: float) -> float:
    value *= factor
    return value if value >= NEGLIGIBLE else 0.0
