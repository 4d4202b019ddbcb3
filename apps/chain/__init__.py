"""The chain about itself: parameters, recent blocks, validators, proposer turns, fees, evidence."""

from apps.chain.queries import fees, parameters, supply_of, validators
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
)

__all__ = ["MODULE"]
