"""Decides what the paper venue stores: its book, what became of orders that left it, how far each feed was matched."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, SQLModel

from app.infra.columns import TenantRow, bigint, jsonb, tenant_foreign_key, utc, utc_now_column


class PaperOrder(TenantRow, table=True):
    """A resting order; its id is the order's. It fills from entries of the feed's stream behind `arrived_after`.

    `triggered_at`: the entry that made a stop order a limit order. `protected_price`: a market order fills at no worse
    one. `expires_at`: market time.

    Readable by the dispatch role, since one matcher serves all tenants; it carries no name and no money.
    """

    __tablename__ = "paper_orders"
    __table_args__ = (
        tenant_foreign_key(["id", "account_id"], "orders", references=["id", "account_id"]),
        Index("paper_orders_book_idx", "feed", "instrument_id"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (remaining, limit_price, trigger_price, triggered_at, protected_price, "
                "validity, arrived_after), DELETE",
                "dispatch": "SELECT",
            }
        },
    )

    account_id: UUID
    feed: str
    instrument_id: UUID
    venue: str
    side: str
    order_type: str
    validity: str
    limit_price: int | None = bigint(nullable=True)
    remaining: int = bigint()
    tick: int = bigint()
    slippage_bps: int
    trigger_price: int | None = bigint(nullable=True)
    triggered_at: str | None = None
    protected_price: int | None = bigint(nullable=True)
    expires_at: datetime | None = utc(nullable=True)
    arrived_after: str
    arrived_at: datetime = utc_now_column()


class PaperEnded(TenantRow, table=True):
    """What became of an order that rests no more, as the venue tells it when it is asked. Cleared after some days.

    `fill` is its one execution: id, quantity, price and time (an order fills whole).
    """

    __tablename__ = "paper_ended"
    __table_args__ = (
        tenant_foreign_key(["id", "account_id"], "orders", references=["id", "account_id"]),
        CheckConstraint("status IN ('filled', 'cancelled', 'expired')", name="status"),
        CheckConstraint("(status = 'filled') = (fill IS NOT NULL)", name="fill"),
        Index("paper_ended_account_idx", "tenant_id", "account_id", "ended_at"),
        Index("paper_ended_at_idx", "ended_at"),
        {"info": {"app": "SELECT, INSERT", "dispatch": "SELECT (tenant_id, id, ended_at), DELETE"}},
    )

    account_id: UUID
    instrument_id: UUID
    side: str
    quantity: int = bigint()
    status: str
    fill: dict[str, Any] | None = jsonb(nullable=True)
    ended_at: datetime = utc_now_column()


class PaperCheckpoint(SQLModel, table=True):
    """The last stream entry of a feed whose fills, expiries and corporate actions are all committed."""

    __tablename__ = "paper_checkpoints"
    __table_args__ = ({"info": {"dispatch": "SELECT, INSERT, UPDATE", "reference": "SELECT"}},)

    feed: str = Field(primary_key=True)
    stream_id: str
    market_at: datetime | None = utc(nullable=True)
    updated_at: datetime = utc_now_column()
