"""The chain about itself: parameters, recent blocks, validators, proposer turns, fees, evidence.

Of its records a chain that is started from this one's state takes over only the fees that wait: parameters and
validators stand in the genesis document, and the rest is about blocks that the new chain does not have.
"""

from apps.carrying import CarriedKind, as_amount, carrying
from apps.chain.messages import PlanUpgrade, WithdrawUpgrade
from apps.chain.queries import fees, parameters, supply_of, validators
from apps.chain.records import FEES
from apps.chain.rules import begin_block, end_block, write_genesis
from apps.chain.upgrade import plan_upgrade, upgrade, withdraw_upgrade
from apps.gas import RECORD
from apps.module import MessageKind, Module, flat_gas
from state.encoding import Codec

MODULE = Module(
    name="chain",
    messages={
        "plan_upgrade": MessageKind(Codec(PlanUpgrade), plan_upgrade, flat_gas(3 * RECORD)),
        "withdraw_upgrade": MessageKind(Codec(WithdrawUpgrade), withdraw_upgrade, flat_gas(3 * RECORD)),
    },
    queries={"params": parameters, "validators": validators, "fees": fees, "upgrade": upgrade},
    genesis=write_genesis,
    begin_block=begin_block,
    end_block=end_block,
    supply=supply_of,
    export=carrying(CarriedKind(FEES, (0,), as_amount)),
)

__all__ = ["MODULE"]
