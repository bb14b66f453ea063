"""Decides what is stored about instruments: identity and scale for life, dated rules, sessions, corporate actions."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from app.infra.columns import GlobalRow, bigint, utc, utc_now_column


class Instrument(GlobalRow, table=True):
    """Identity is ISIN and venue. No role may update the identity or the scale: only the listing's description."""

    __tablename__ = "instruments"
    __table_args__ = (
        UniqueConstraint("isin", "venue"),
        Index("instruments_symbol_venue_idx", "symbol", "venue"),
        CheckConstraint("price_exp BETWEEN 0 AND 9", name="price_exp"),
        CheckConstraint("qty_exp BETWEEN 0 AND 9", name="qty_exp"),
        {
            "info": {
                "app": "SELECT",
                "dispatch": "SELECT",
                "reference": "SELECT, INSERT, UPDATE (symbol, segment, name, listed_on, delisted_on)",
            }
        },
    )

    isin: str
    symbol: str
    venue: str
    segment: str
    name: str
    currency: str
    price_exp: int
    qty_exp: int
    listed_on: date | None = None
    delisted_on: date | None = None
    source: str


class InstrumentRule(GlobalRow, table=True):
    """What an order must obey from `valid_from` to `valid_to`, as known from `recorded_from` to `recorded_to`.

    Bitemporal: a correction closes `recorded_to` and adds a row, so yesterday's order validates on what held, and a
    report can say what was known. `tick` at `price_exp`, `lot` and `freeze_quantity` at `qty_exp`.
    """

    __tablename__ = "instrument_rules"
    __table_args__ = (
        Index(
            "instrument_rules_current_idx",
            "instrument_id",
            "valid_from",
            unique=True,
            postgresql_where=text("recorded_to IS NULL"),
        ),
        CheckConstraint("tick > 0 AND lot > 0", name="positive"),
        CheckConstraint("freeze_quantity IS NULL OR freeze_quantity >= lot", name="freeze"),
        CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name="valid"),
        {
            "info": {
                "app": "SELECT",
                "dispatch": "SELECT",
                "reference": "SELECT, INSERT, UPDATE (recorded_to)",
            }
        },
    )

    instrument_id: UUID = Field(foreign_key="instruments.id")
    session_segment: str
    tick: int = bigint()
    lot: int = bigint()
    freeze_quantity: int | None = bigint(nullable=True)
    valid_from: datetime = utc()
    valid_to: datetime | None = utc(nullable=True)
    recorded_from: datetime = utc_now_column()
    recorded_to: datetime | None = utc(nullable=True)
    source: str


class InstrumentBand(GlobalRow, table=True):
    """The prices that the venue takes from `valid_from` to `valid_to`, and whether it has halted trading. Bitemporal as
    the rules are. `lower` and `upper` at `price_exp`; null: no bound."""

    __tablename__ = "instrument_bands"
    __table_args__ = (
        Index(
            "instrument_bands_current_idx",
            "instrument_id",
            "valid_from",
            unique=True,
            postgresql_where=text("recorded_to IS NULL"),
        ),
        CheckConstraint("lower > 0 AND upper >= lower", name="range"),
        CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name="valid"),
        {"info": {"app": "SELECT", "reference": "SELECT, INSERT, UPDATE (recorded_to)"}},
    )

    instrument_id: UUID = Field(foreign_key="instruments.id")
    lower: int | None = bigint(nullable=True)
    upper: int | None = bigint(nullable=True)
    halted: bool
    valid_from: datetime = utc()
    valid_to: datetime | None = utc(nullable=True)
    recorded_from: datetime = utc_now_column()
    recorded_to: datetime | None = utc(nullable=True)
    source: str


class TradingSession(SQLModel, table=True):
    """One session of a venue's segment. `day` is the venue's own date; times are UTC."""

    __tablename__ = "trading_sessions"
    __table_args__ = (
        Index("trading_sessions_closes_idx", "venue", "segment", "closes_at"),
        CheckConstraint("closes_at > opens_at", name="times"),
        CheckConstraint(
            "kind IN ('regular', 'early_close', 'special', 'muhurat', 'pre_open', 'closing_auction', 'post_close')",
            name="kind",
        ),
        {
            "info": {
                "app": "SELECT",
                "dispatch": "SELECT",
                "reference": "SELECT, INSERT, UPDATE, DELETE",
            }
        },
    )

    venue: str = Field(primary_key=True)
    segment: str = Field(primary_key=True)
    opens_at: datetime = utc(primary_key=True)
    closes_at: datetime = utc()
    day: date
    kind: str
    source: str


class CorporateAction(GlobalRow, table=True):
    """A split (`numerator` new shares for `denominator` old) or a cash dividend (`amount` a share, at `price_exp`)."""

    __tablename__ = "corporate_actions"
    __table_args__ = (
        UniqueConstraint("instrument_id", "kind", "ex_date"),
        CheckConstraint("kind IN ('split', 'dividend')", name="kind"),
        CheckConstraint(
            "(kind = 'split' AND numerator > 0 AND denominator > 0 AND amount IS NULL AND currency IS NULL)"
            " OR (kind = 'dividend' AND amount > 0 AND currency IS NOT NULL"
            " AND numerator IS NULL AND denominator IS NULL)",
            name="terms",
        ),
        {"info": {"app": "SELECT", "dispatch": "SELECT", "reference": "SELECT, INSERT"}},
    )

    instrument_id: UUID = Field(foreign_key="instruments.id")
    kind: str
    ex_date: date
    numerator: int | None = bigint(nullable=True)
    denominator: int | None = bigint(nullable=True)
    amount: int | None = bigint(nullable=True)
    currency: str | None = None
    source: str
    recorded_at: datetime = utc_now_column()
