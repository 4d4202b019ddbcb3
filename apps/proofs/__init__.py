"""Proofs of space, work and time: what a validator shows in each epoch besides its stake, and the beacon.

A chain that is started from this one's state takes over none of these records: they are about epochs that it never had.
"""

from apps.gas import RECORD
from apps.module import MessageKind, Module, flat_gas
from apps.proofs.messages import Space, space_codec, time_codec, work_codec
from apps.proofs.queries import current, parameters, space, validator
from apps.proofs.rules import begin_block, end_block, give_space, give_time, give_work, write_genesis

PROOF_GAS = 250
"""Checking one proof from a plot takes 0.14 to 0.2 ms."""
TIME_GAS = 20_000
"""Checking the delay function takes 6 to 14 ms at 1,024 bits."""


def space_gas(message: Space) -> int:
    """Return the gas of an answer: two records, and each proof."""
    return 2 * RECORD + PROOF_GAS * len(message.proofs)


MODULE = Module(
    name="proofs",
    messages={
        "space": MessageKind(space_codec, give_space, space_gas, exempt=True),
        "work": MessageKind(work_codec, give_work, flat_gas(RECORD), exempt=True),
        "time": MessageKind(time_codec, give_time, flat_gas(TIME_GAS), exempt=True),
    },
    queries={"params": parameters, "epoch": current, "validator": validator, "space": space},
    genesis=write_genesis,
    begin_block=begin_block,
    end_block=end_block,
)

__all__ = ["MODULE"]
