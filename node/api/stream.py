"""Messages of the websocket `/ws`.

The client sends Subscribe and Unsubscribe; the node answers each Subscribe with Subscribed and then sends events in
the order of the chain, none left out: (height, index) only rises within a subscription. Index 0 is the block itself,
index i + 1 its transaction i; a filter leaves gaps in the index, never a wrong order. A client that reads slowly gets
everything later; one that comes back after a break names the height from which it wants to go on.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from node.api.shapes import ErrorDetail, EventView, HeaderView, Index32, ReceiptView
from node.api.text import AddressText, Decimal

SubscriptionId = Annotated[str, Meta(min_length=1, max_length=64)]
"""Chosen by the client."""


class _Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Subscribe(_Command, frozen=True, tag="subscribe", tag_field="type"):
    """Ask for events.

    `topic` "blocks" gives one event for each block, "transactions" one for each transaction that passes the filter,
    "all" both. `address` keeps transactions that have it in an event or are paid for by it, `event` those with an
    event of this name. `from_height` begins with that block instead of the next.
    """

    id: SubscriptionId
    topic: Literal["blocks", "transactions", "all"] = "all"
    address: AddressText | None = None
    event: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    from_height: Decimal | None = None


class Unsubscribe(_Command, frozen=True, tag="unsubscribe", tag_field="type"):
    """End a subscription."""

    id: SubscriptionId


Command = Subscribe | Unsubscribe


class Subscribed(msgspec.Struct, frozen=True, kw_only=True, tag="subscribed", tag_field="type"):
    """The subscription begins with the block `from_height`."""

    id: SubscriptionId
    from_height: Decimal


class Unsubscribed(msgspec.Struct, frozen=True, kw_only=True, tag="unsubscribed", tag_field="type"):
    """No event of this subscription follows."""

    id: SubscriptionId


class BlockEvent(msgspec.Struct, frozen=True, kw_only=True, tag="block", tag_field="type"):
    """A block is final. `events` are those of the block itself, such as the distribution of fees."""

    id: SubscriptionId
    height: Decimal
    index: Index32
    header: HeaderView
    transactions: int
    events: list[EventView]


class TransactionEvent(msgspec.Struct, frozen=True, kw_only=True, tag="transaction", tag_field="type"):
    """A transaction is final; its receipt says how it ended."""

    id: SubscriptionId
    height: Decimal
    index: Index32
    receipt: ReceiptView


class Failure(msgspec.Struct, frozen=True, kw_only=True, tag="error", tag_field="type"):
    """A command was refused, or a subscription ended by a fault. `id` is empty if the command could not be read."""

    id: str
    error: ErrorDetail


Message = Subscribed | Unsubscribed | BlockEvent | TransactionEvent | Failure
