"""Decides what is stored of orders and fills, of orders at a broker that are not ours, and of the calendar's jobs."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, false, text, true
from sqlmodel import Field, SQLModel

from app.infra.columns import TenantRow, bigint, jsonb, tenant_foreign_key, utc, utc_now_column
from app.kernel.orders import TERMINAL, Product

_WORKING = f"status NOT IN ({', '.join(sorted(repr(str(s)) for s in TERMINAL))})"
_INTRADAY = text(f"product = '{Product.INTRADAY}'")


class Order(TenantRow, table=True):
    """One order. Prices and quantities at the instrument's exponents, money in the account's minor units.

    `client_order_id` is the caller's, unique per account for ever; `fingerprint` is the SHA-256 of what it asked.
    `mode` is the account's by composite key, so a test order cannot belong to a live account. `market_at` is the
    market clock at the decision. `fence` is the lane's when the order was sent. `algo_id`: the exchange's name for the
    algorithm that placed it. `unknown_since`: of a status `unknown`. `order_type` names a plug-in, `parameters` are
    its own. `protected_price`: no fill is worse. `expires_at`: market time. `pending_change`: what the broker is being
    asked to change, and what it would hold.

    Of a group: `parent_id` is the order that was asked for, `leg` what this one is in the group. Exits of one
    `pair_id` trade `pair_quantity` together at most. `counted` is false where another order stands for the same
    quantity: a whole's slices, a stop's target. `reduces`: it only closes what its book holds.
    `triggered_at`: when its trigger was touched.
    """

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("tenant_id", "account_id", "client_order_id"),
        UniqueConstraint("tenant_id", "id", "account_id"),
        ForeignKeyConstraint(
            ["tenant_id", "account_id", "mode"], ["accounts.tenant_id", "accounts.id", "accounts.mode"]
        ),
        ForeignKeyConstraint(["instrument_id"], ["instruments.id"]),
        tenant_foreign_key(["deployment_id"], "deployments"),
        tenant_foreign_key(["parent_id"], "orders"),
        Index("orders_family_idx", "tenant_id", "parent_id", "id", postgresql_where=text("parent_id IS NOT NULL")),
        Index("orders_pair_idx", "tenant_id", "pair_id", postgresql_where=text("pair_id IS NOT NULL")),
        Index("orders_account_idx", "tenant_id", "account_id", "id"),
        Index("orders_working_idx", "tenant_id", "account_id", "instrument_id", postgresql_where=text(_WORKING)),
        Index("orders_intraday_idx", "tenant_id", "account_id", "market_at", postgresql_where=_INTRADAY),
        CheckConstraint("orders_sound(orders.*)", name="sound"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (status, venue_order_id, filled_quantity, filled_notional, "
                "status_reason, fence, updated_at, unknown_since, quantity, limit_price, trigger_price, "
                "protected_price, hold_minor, pending_change, pair_quantity, counted, validity, parameters, "
                "reduces, triggered_at)"
            }
        },
    )

    account_id: UUID
    deployment_id: UUID | None = None
    instrument_id: UUID
    client_order_id: str
    fingerprint: str
    mode: str
    broker: str
    feed: str
    side: str
    order_type: str
    product: str
    validity: str
    quantity: int = bigint()
    limit_price: int | None = bigint(nullable=True)
    filled_quantity: int = bigint(default=0)
    filled_notional: int = bigint(default=0)
    hold_minor: int = bigint(default=0)
    status: str
    status_reason: str | None = None
    intent_reason: str | None = None
    algo_id: str | None = None
    broker_tag: str
    venue_order_id: str | None = None
    fence: int | None = bigint(nullable=True)
    market_at: datetime | None = utc(nullable=True)
    created_at: datetime = utc_now_column()
    updated_at: datetime = utc_now_column()
    unknown_since: datetime | None = utc(nullable=True)
    trigger_price: int | None = bigint(nullable=True)
    market_protection_bps: int | None = None
    protected_price: int | None = bigint(nullable=True)
    disclosed_quantity: int | None = bigint(nullable=True)
    validity_minutes: int | None = None
    expires_at: datetime | None = utc(nullable=True)
    after_market: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    parameters: dict[str, Any] | None = jsonb(nullable=True)
    pending_change: dict[str, Any] | None = jsonb(nullable=True)
    order_class: str = Field(default="single", sa_column_kwargs={"server_default": "single"})
    leg: str | None = None
    parent_id: UUID | None = None
    pair_id: UUID | None = None
    pair_quantity: int | None = bigint(nullable=True)
    counted: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    reduces: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    triggered_at: datetime | None = utc(nullable=True)


class WaitingOrder(TenantRow, table=True):
    """An accepted order that is not sent yet; its id is the order's. It goes when the session opens (`waits_for` open)
    or when a price touches `trigger_price` (price), which follows the market at a distance where one is given: of
    `trail_by`, or of `trail_bps` of the price.

    Entries of the feed's stream up to `seen_to` have been shown to it. Readable by the dispatch role, since one matcher
    serves all tenants; it carries no name and no money.
    """

    __tablename__ = "waiting_orders"
    __table_args__ = (
        tenant_foreign_key(["id", "account_id"], "orders", references=["id", "account_id"]),
        ForeignKeyConstraint(["instrument_id"], ["instruments.id"]),
        Index("waiting_orders_book_idx", "feed", "instrument_id"),
        CheckConstraint("waits_for IN ('open', 'price')", name="waits_for"),
        CheckConstraint("(waits_for = 'price') = (trigger_price IS NOT NULL)", name="trigger_price"),
        CheckConstraint("num_nonnulls(trail_by, trail_bps) < 2", name="trail"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (waits_for, trigger_price, trail_by, trail_bps, validity, seen_to), "
                "DELETE",
                "dispatch": "SELECT",
            }
        },
    )

    account_id: UUID
    feed: str
    instrument_id: UUID
    venue: str
    side: str
    validity: str
    waits_for: str
    trigger_price: int | None = bigint(nullable=True)
    trail_by: int | None = bigint(nullable=True)
    trail_bps: int | None = None
    tick: int = bigint()
    seen_to: str


class FillRow(TenantRow, table=True):
    """One execution, append-only. `realised_minor` is what it realised before charges; `heads` names the charges."""

    __tablename__ = "fills"
    __table_args__ = (
        UniqueConstraint("tenant_id", "order_id", "venue_fill_id"),
        tenant_foreign_key(["order_id", "account_id"], "orders", references=["id", "account_id"]),
        ForeignKeyConstraint(["instrument_id"], ["instruments.id"]),
        Index("fills_account_idx", "tenant_id", "account_id", "id"),
        Index("fills_instrument_idx", "tenant_id", "account_id", "instrument_id"),
        CheckConstraint("quantity > 0 AND price > 0", name="positive"),
        {"info": {"app": "SELECT, INSERT"}},
    )

    order_id: UUID
    account_id: UUID
    deployment_id: UUID | None = None
    instrument_id: UUID
    venue_fill_id: str
    side: str
    quantity: int = bigint()
    price: int = bigint()
    notional_minor: int = bigint()
    charges_minor: int = bigint()
    heads: dict[str, Any] = jsonb()
    realised_minor: int = bigint()
    occurred_at: datetime = utc()
    recorded_at: datetime = utc_now_column()


class ForeignOrder(TenantRow, table=True):
    """An order that a broker holds for the account and that was not placed here, as it was seen last; never adopted.

    Quantities as the broker writes them: its symbol may be no instrument of ours.
    """

    __tablename__ = "foreign_orders"
    __table_args__ = (
        UniqueConstraint("tenant_id", "account_id", "venue_order_id"),
        tenant_foreign_key(["account_id"], "accounts"),
        {"info": {"app": "SELECT, INSERT, UPDATE (filled, status, venue_at, seen_at)"}},
    )

    account_id: UUID
    venue_order_id: str
    tag: str | None = None
    symbol: str
    side: str
    quantity: str
    filled: str
    status: str
    venue_at: datetime | None = utc(nullable=True)
    seen_at: datetime = utc()


class CalendarJob(SQLModel, table=True):
    """What a session asks for at a moment of a feed's clock (`orders/domain/calendar.py`), for all tenants at once.

    `until_at`: the last close of its day. `claimed_until`: somebody does it, or it has failed and waits, until then.
    `wanted`: there are intraday orders for its cut-off, and a replay waits until it is done.
    """

    __tablename__ = "calendar_jobs"
    __table_args__ = (
        Index("calendar_jobs_due_idx", "feed", "due_at", postgresql_where=text("state = 'pending'")),
        CheckConstraint("kind IN ('expire', 'open', 'square_off')", name="kind"),
        CheckConstraint("state IN ('pending', 'done')", name="state"),
        CheckConstraint("(state = 'done') = (done_at IS NOT NULL)", name="done"),
        {
            "info": {
                "dispatch": "SELECT, INSERT, UPDATE, DELETE",
                "app": "SELECT (feed, venue, segment, kind, day, state, wanted), UPDATE (wanted)",
            }
        },
    )

    feed: str = Field(primary_key=True)
    venue: str = Field(primary_key=True)
    segment: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    day: date = Field(primary_key=True)
    turn: int = Field(primary_key=True)
    due_at: datetime = utc()
    until_at: datetime = utc()
    state: str = "pending"
    attempts: int = 0
    claimed_until: datetime | None = utc(nullable=True)
    last_error: str | None = None
    done_at: datetime | None = utc(nullable=True)
    wanted: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
