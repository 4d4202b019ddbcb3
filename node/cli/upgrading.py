"""`nexus tx upgrade`: validators' operators decide from which height on another protocol version is in force."""

from typing import Annotated

import typer

from apps.chain.messages import PlanUpgrade, WithdrawUpgrade
from node.cli.sending import Sending, transaction
from node.wallet import message
from state.transaction import Message
from state.types import Height
from state.version import MAX_VERSION

app = typer.Typer(no_args_is_help=True)


@transaction(app)
def plan(
    sending: Sending,
    version: Annotated[int, typer.Argument(min=1, max=MAX_VERSION, help="Protocol version that is to be in force.")],
    height: Annotated[int, typer.Option(min=1, help="First block of that version.")],
    name: Annotated[str, typer.Option(help="Release that operators have to install.")],
) -> list[Message]:
    """Approve a plan as the operator of a validator; it replaces one's approval of another."""
    return [message("chain/plan_upgrade", PlanUpgrade(version, Height(height), name))]


@transaction(app)
def withdraw(sending: Sending) -> list[Message]:
    """Take one's approval back."""
    return [message("chain/withdraw_upgrade", WithdrawUpgrade())]
