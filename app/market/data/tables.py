"""Decides what is stored about market data: which Parquet file holds a series, last prices, and each feed's clock."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from app.infra.columns import GlobalRow, bigint, utc, utc_now_column


class BarSeries(GlobalRow, table=True):
    """The manifest of one immutable Parquet file. A new import supersedes the row; the old file stays as it was."""

    __tablename__ = "bar_series"
    __table_args__ = (
        Index(
            "bar_series_current_idx",
            "instrument_id",
            "interval",
            unique=True,
            postgresql_where=text("superseded_at IS NULL"),
        ),
        CheckConstraint("rows > 0 AND last_at >= first_at", name="extent"),
        CheckConstraint("path !~ '(^/|\\.\\.)'", name="path"),
        {
            "info": {
                "app": "SELECT",
                "dispatch": "SELECT",
                "reference": "SELECT, INSERT, UPDATE (superseded_at)",
            }
        },
    )

    instrument_id: UUID = Field(foreign_key="instruments.id")
    interval: str
    path: str  # relative to the data folder
    sha256: str
    rows: int = bigint()
    first_at: datetime = utc()
    last_at: datetime = utc()
    price_exp: int
    qty_exp: int
    source: str
    license: str
    imported_at: datetime = utc_now_column()
    superseded_at: datetime | None = utc(nullable=True)


class LastPrice(SQLModel, table=True):
    """The latest price of an instrument on one feed, coalesced: risk works from these rows with the stream down."""

    __tablename__ = "last_prices"
    __table_args__ = ({"info": {"app": "SELECT", "dispatch": "SELECT", "reference": "SELECT, INSERT, UPDATE"}},)

    feed: str = Field(primary_key=True)
    instrument_id: UUID = Field(primary_key=True, foreign_key="instruments.id")
    price: int = bigint()
    market_at: datetime = utc()
    session_date: date
    updated_at: datetime = utc_now_column()


class FeedState(SQLModel, table=True):
    """Where a feed is: its market clock, the last complete bar time, and its place in the stream. The truth."""

    __tablename__ = "feed_state"
    __table_args__ = (
        CheckConstraint("status IN ('running', 'finished')", name="status"),
        {"info": {"app": "SELECT", "dispatch": "SELECT", "reference": "SELECT, INSERT, UPDATE"}},
    )

    feed: str = Field(primary_key=True)
    interval: str
    market_at: datetime = utc()
    watermark: datetime = utc()
    bars_published: int = bigint(default=0)
    last_stream_id: str = "0-0"
    speed: float = 0.0
    status: str = "running"
    started_at: datetime = utc_now_column()
    updated_at: datetime = utc_now_column()
