"""Which machines of a run lie, and how."""

from random import Random
from typing import Final

from crypto.errors import Reason, Refused
from testnet.byzantine.behaviours import BEHAVIOURS

Liars = tuple[tuple[int, tuple[str, ...]], ...]
"""Machines with the names of their behaviours (`testnet.byzantine.behaviours`)."""
ANY: Final = "any"
MOST_BEHAVIOURS: Final = 2


def draw_liars(seed: int, nodes: int, wanted: str) -> Liars:
    """Return the liars of a seed.

    Args:
        seed: draws which machines lie, and how if that is open.
        nodes: validators.
        wanted: "" for none; "any" for as many as the network bears, with behaviours drawn; or behaviours and how many
            machines show each, such as "double_prevote=1,amnesia=1".

    Raises:
        Refused: USAGE.
    """
    if not wanted:
        return ()
    random = Random(f"{seed}/liars")
    machines = random.sample(range(nodes), nodes)
    if wanted == ANY:
        names = sorted(BEHAVIOURS)
        return tuple(
            (machine, tuple(random.sample(names, random.randint(1, MOST_BEHAVIOURS))))
            for machine in machines[: (nodes - 1) // 3]
        )
    liars: list[tuple[int, tuple[str, ...]]] = []
    for part in wanted.split(","):
        name, _, number = part.partition("=")
        name = name.replace("-", "_")
        if name not in BEHAVIOURS or not (number or "1").isdigit():
            raise Refused(Reason.USAGE, f"{part!r} is not NAME=COUNT; names are {', '.join(BEHAVIOURS)}")
        for _ in range(int(number or 1)):
            if not machines:
                raise Refused(Reason.USAGE, f"there are only {nodes} validators")
            liars.append((machines.pop(0), (name,)))
    return tuple(liars)
