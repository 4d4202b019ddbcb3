"""One attack, as a process: `python -m testnet.attacks.raider NAME SECONDS`, the target as JSON on stdin, the tally on
stdout. A process of its own, so that the attacker has a core to itself where there is one.
"""

import sys

import msgspec
import trio

from testnet.attacks import greetings, peers, web
from testnet.attacks.raid import Count, Row, Target, new_key

ROWS: dict[str, Row] = greetings.ROWS | peers.ROWS | web.ROWS


async def raid(row: Row, target: Target, seconds: float, count: Count) -> None:
    """Attack for so long, or until the attack can do no more."""
    with trio.move_on_after(seconds), count.hearing():
        await row.attack(target, count)


def main() -> int:
    """Read, attack, and say what came of it."""
    row = ROWS[sys.argv[1]]
    target = msgspec.json.decode(sys.stdin.buffer.read(), type=Target)
    count = Count(row.unit, [new_key() for _ in range(row.keys)])
    trio.run(raid, row, target, float(sys.argv[2]), count)
    sys.stdout.write(msgspec.json.encode(count.tally()).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
