"""The chain about itself: parameters, recent blocks, validators, proposer turns, fees, evidence.

Of its records a chain that is started from this one's state takes over only the fees that wait: parameters and
validators stand in the genesis document, and the rest is about blocks that the new chain does not have.
"""

from apps.carrying import CarriedKind, as_amount, carrying
from apps.chain.queries import fees, parameters, supply_of, validators
from apps.chain.records import FEES
from apps.chain.rules import begin_block, end_block, write_genesis
from apps.module import Module

MODULE = Module(
    name="chain",
    messages={},
    queries={"params": parameters, "validators": validators, "fees": fees},
    genesis=write_genesis,
    begin_block=begin_block,
    end_block=end_block,
    supply=supply_of,
    export=carrying(CarriedKind(FEES, (0,), as_amount)),
)

__all__ = ["MODULE"]
