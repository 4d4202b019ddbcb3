"""Messages of the slashing module."""

from state.encoding import Record


class Unjail(Record, frozen=True):
    """slashing/unjail: the sender, an operator, takes its validator out of jail; it votes from the next epoch on."""
