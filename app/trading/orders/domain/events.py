"""Decides what is told of orders, and what each event says."""

from typing import Literal

from pydantic import Field

from app.kernel.events import DecimalText, EventPayload, EventType, Moment


class DenialReason(EventPayload):
    """A rule that denied the order, with its figures."""

    rule: str = Field(description="The rule.")
    verdict: Literal["deny"] = Field(description="What it said.")
    limit: str = Field(description="What it allows: a decimal where it counts.")
    value: str = Field(description="What the order would have come to.")
    message: str = Field(description="What is wrong, and what to do.")


class OfGroup(EventPayload):
    parent_id: str | None = Field(default=None, description="The order whose slice or exit it is.")


class OrderDecided(OfGroup):
    client_order_id: str = Field(description="The id that its caller gave the order.")
    reasons: list[DenialReason] = Field(description="The rules that denied it; none for an accepted order.")


class Heard(OfGroup):
    """When something happened at the broker, and when we heard of it."""

    venue_at: Moment | None = Field(default=None, description="When it happened, by the broker's clock, if it said.")
    received_at: Moment | None = Field(default=None, description="When we heard of it.")


class OrderEnded(Heard):
    reason: str = Field(description="Why, in a few words.")


class OrderModified(EventPayload):
    """The order as it is from now on, changed at its broker or, before it was sent, here."""

    quantity: DecimalText = Field(description="How much it asks for, fills included.")
    limit_price: DecimalText | None = Field(default=None, description="Its limit, if it has one.")
    trigger_price: DecimalText | None = Field(default=None, description="Its trigger, if it has one.")
    validity: Literal["day", "gtc", "ioc"] | None = Field(
        default=None, description="How long it lives, if that is new."
    )
    parameters: dict[str, str] | None = Field(
        default=None, description="What its order type alone takes, if that is new."
    )


class OrderReconciled(EventPayload):
    """What the books said, and what the broker says: its word is taken."""

    status: str = Field(description="The order's status here until then.")
    broker_status: str = Field(description="The broker's word for it; `missing` when it does not show the order.")
    filled: DecimalText = Field(description="How much was filled here until then.")
    broker_filled: DecimalText | None = Field(default=None, description="How much the broker filled.")
    venue_at: Moment | None = Field(default=None, description="The broker's time of it, if it said.")


class ForeignOrder(EventPayload):
    """An order of the account that was not placed here. It is told, and nothing else is done about it."""

    venue_order_id: str = Field(description="The broker's name for it.")
    tag: str | None = Field(default=None, description="Its tag there, if any.")
    symbol: str = Field(description="The broker's name of what it trades.")
    side: Literal["buy", "sell"] = Field(description="`buy` or `sell`.")
    quantity: DecimalText = Field(description="How much it asks for.")
    filled: DecimalText = Field(description="How much of it is filled.")
    status: str = Field(description="The broker's word for its state.")
    venue_at: Moment | None = Field(default=None, description="The broker's time of it, if it said.")


class OrderFilled(OfGroup):
    """One fill. The order itself says how much of it is filled by now."""

    slice_id: str | None = Field(default=None, description="Of an order that is sent in slices: the slice that traded.")

    quantity: DecimalText = Field(description="How much this fill traded.")
    price: DecimalText = Field(description="At what price.")
    charges: DecimalText = Field(description="What this fill cost in charges, in the account's currency.")
    currency: str = Field(description="ISO 4217.")
    market_at: Moment = Field(description="When the market traded it, by its own clock.")


class OrderTriggered(OfGroup):
    """A stop that waited here, or rested at its broker."""

    price: DecimalText | None = Field(
        description="The price of the market that touched its trigger; null where a live broker says only that one did."
    )
    market_at: Moment = Field(description="When, by the market's own clock; of a live broker, by his.")


class GroupOverfilled(EventPayload):
    """What the broker traded is a fact: the position is what it is. See to it."""

    exit_id: str = Field(description="The exit whose fill went beyond what was left.")
    quantity: DecimalText = Field(description="How much both have traded beyond it by now.")


EVENTS = (
    EventType("order.accepted", "ord", "An order was placed and accepted; it will be sent.", OrderDecided),
    EventType("order.waiting", "ord", "An exit was stored; it is accepted when its entry is filled.", OrderDecided),
    EventType("order.denied", "ord", "An order was denied by the state or a rule; it ends here.", OrderDecided),
    EventType("order.deferred", "ord", "The broker takes no more orders just now; it will be sent again.", OrderEnded),
    EventType("order.open", "ord", "The broker has the order.", Heard),
    EventType("order.triggered", "ord", "A stop was set off: it is sent, or trades, from now on.", OrderTriggered),
    EventType("order.partially_filled", "ord", "A part of the order was filled.", OrderFilled),
    EventType("order.filled", "ord", "The last part of the order was filled.", OrderFilled),
    EventType("order.modified", "ord", "The order is changed.", OrderModified),
    EventType("order.modify_rejected", "ord", "The order was not changed; it is as it was, or has ended.", OrderEnded),
    EventType("order.cancelled", "ord", "What was left of the order was taken back.", OrderEnded),
    EventType("order.rejected", "ord", "The broker refused the order.", OrderEnded),
    EventType("order.expired", "ord", "The order's time ended at the venue.", OrderEnded),
    EventType("order.unknown", "ord", "The broker did not answer; it is being asked about the order.", OrderEnded),
    EventType("order.lost", "ord", "The broker does not show the order; it is not sent again.", OrderEnded),
    EventType(
        "order.group_overfilled",
        "ord",
        "Both exits traded before the broker took one back: more was sold than the entry bought.",
        GroupOverfilled,
    ),
    EventType("order.reconciled", "ord", "The broker's word differed from ours and was taken.", OrderReconciled),
    EventType("account.foreign_order_seen", "acc", "The broker has an order that is not ours.", ForeignOrder),
)
