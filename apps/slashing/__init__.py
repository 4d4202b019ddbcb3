"""Faults and their price: evidence, downtime, jail; and the reputation that is made of the same."""

from apps.gas import RECORD
from apps.module import MessageKind, Module, flat_gas
from apps.slashing.messages import Unjail
from apps.slashing.queries import info, parameters
from apps.slashing.rules import begin_block, end_block, unjail
from state.encoding import Codec

MODULE = Module(
    name="slashing",
    messages={"unjail": MessageKind(Codec(Unjail), unjail, flat_gas(2 * RECORD), exempt=True)},
    queries={"info": info, "params": parameters},
    begin_block=begin_block,
    end_block=end_block,
)

__all__ = ["MODULE"]
