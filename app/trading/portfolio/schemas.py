"""Positions, statements and reconciliations as the API shows them."""

from datetime import date, datetime

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.kernel.ids import encode_id
from app.kernel.money import currency_exponent, format_scaled, format_trimmed
from app.kernel.orders import Mode, Product
from app.trading.portfolio.domain.reconciling import COLUMNS, Source
from app.trading.portfolio.service import RECONCILIATION, Holding, Statement
from app.trading.portfolio.tables import Reconciliation
from app.web.models import ApiModel, Day

_EXAMPLE: JsonDict = {
    "id": "pos_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "account_id": "acc_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "deployment_id": "dep_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "instrument_id": "ins_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "symbol": "AAPL",
    "product": "delivery",
    "quantity": "120",
    "cost": "24310.80",
    "last_price": "210.35",
    "value": "25242.00",
    "unrealised": "931.20",
    "realised": "412.05",
    "margin": "0.00",
    "currency": "USD",
}


class PositionOut(ApiModel):
    """What one book (a deployment, or an account's own orders) holds of one instrument for one product."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    account_id: str
    deployment_id: str | None = Field(description="Null for orders placed by hand.")
    instrument_id: str
    symbol: str
    product: Product = Field(description="`delivery` is held over sessions, `intraday` closed before its session ends.")
    quantity: str = Field(description="Below zero: sold short.")
    cost: str = Field(description="Total cost of what is held, without charges; below zero: what it brought.")
    last_price: str | None = Field(description="On the account's feed; null before its first price.")
    value: str | None
    unrealised: str | None = Field(description="`value` less `cost`.")
    realised: str = Field(description="Profit of what was closed, before charges.")
    margin: str = Field(description="What it blocks of the account's cash: intraday alone.")
    currency: str

    @classmethod
    def of(cls, holding: Holding) -> "PositionOut":
        row, scale = holding.row, holding.scale
        money = currency_exponent(scale.currency)
        value = holding.value_minor
        return cls(
            id=encode_id("pos", row.id),
            account_id=encode_id("acc", row.account_id),
            deployment_id=None if row.book_id == row.account_id else encode_id("dep", row.book_id),
            instrument_id=encode_id("ins", row.instrument_id),
            symbol=scale.symbol,
            product=Product(row.product),
            quantity=format_scaled(row.quantity, scale.qty_exp),
            cost=format_scaled(row.cost_minor, money),
            last_price=None if holding.last_price is None else format_trimmed(holding.last_price, scale.price_exp),
            value=None if value is None else format_scaled(value, money),
            unrealised=None if value is None else format_scaled(value - row.cost_minor, money),
            realised=format_scaled(row.realised_minor, money),
            margin=format_scaled(row.margin_minor, money),
            currency=scale.currency,
        )


class MovementOut(ApiModel):
    """One ledger transaction that moved the account's cash by trade date."""

    transaction_id: str = Field(description="The journal entry.")
    at: datetime = Field(description="Market time.")
    kind: str = Field(description="`fill`, `deposit`, `dividend` …")
    description: str = Field(description="In words, as the PDF prints it.")
    amount: str = Field(description="Above zero: received.")
    balance: str = Field(description="What there was after it.")


class HeldOut(ApiModel):
    """Units of one instrument at the end of the period."""

    instrument_id: str
    isin: str
    symbol: str
    settled: str = Field(description="Units that lie at the depository.")
    to_settle: str = Field(description="Traded, not settled by then.")


class StatementOut(ApiModel):
    """A statement of account. `opening` plus all movements is `closing`; both are proven against the ledger."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "account_id": "acc_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "currency": "INR",
                    "first_day": "2026-04-01",
                    "last_day": "2026-04-30",
                    "time_zone": "Asia/Kolkata",
                    "opening": "0.00",
                    "movements": [
                        {
                            "transaction_id": "ltx_01kpx4t8yhe6rb2y6x3v1m9d0c",
                            "at": "2026-04-02T04:12:00Z",
                            "kind": "deposit",
                            "description": "Deposit",
                            "amount": "2500.00",
                            "balance": "2500.00",
                        }
                    ],
                    "closing": "2500.00",
                    "settled": "2500.00",
                    "holdings": [],
                }
            ]
        }
    )

    account_id: str
    currency: str
    first_day: date = Field(description="The first day of the period.")
    last_day: date = Field(description="The last day of the period.")
    time_zone: str = Field(description="Whose days these are.")
    opening: str = Field(description="Cash by trade date before the first day.")
    movements: list[MovementOut] = Field(description="In the order in which they were posted.")
    closing: str = Field(description="By trade date.")
    settled: str = Field(description="What of it was settled cash.")
    holdings: list[HeldOut] = Field(description="What was held when the last day ended.")

    @classmethod
    def of(cls, statement: Statement) -> "StatementOut":
        def money(minor: int) -> str:
            return format_scaled(minor, currency_exponent(statement.currency))

        return cls(
            account_id=encode_id("acc", statement.account_id),
            currency=statement.currency,
            first_day=statement.first,
            last_day=statement.last,
            time_zone=statement.zone,
            opening=money(statement.opening),
            movements=[
                MovementOut(
                    transaction_id=encode_id("ltx", one.id),
                    at=one.at,
                    kind=one.kind,
                    description=one.description,
                    amount=money(one.amount),
                    balance=money(one.balance),
                )
                for one in statement.movements
            ],
            closing=money(statement.closing),
            settled=money(statement.settled),
            holdings=[
                HeldOut(
                    instrument_id=encode_id("ins", one.instrument.id),
                    isin=one.instrument.isin,
                    symbol=one.instrument.symbol,
                    settled=format_trimmed(one.settled, one.instrument.qty_exp),
                    to_settle=format_trimmed(one.waiting, one.instrument.qty_exp),
                )
                for one in statement.holdings
            ],
        )


_COLUMNS = "; ".join(f"{source}: `{','.join(columns)}`" for source, columns in COLUMNS.items())


class CreateReconciliation(ApiModel):
    """A file to compare with the books."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source": "bank",
                    "as_of": "2026-01-30",
                    "csv": "date,reference,currency,amount,balance\n2026-01-30,UTR7719,INR,5000.00,5000.00\n",
                }
            ]
        }
    )

    source: Source = Field(description="Who wrote it.")
    as_of: Day = Field(description="The day at whose end it was true; for a broker, the day of the trades.")
    csv: str = Field(
        min_length=1,
        max_length=200_000,
        description=f"The first line names the columns. {_COLUMNS}. A bank's lines are in order, each balance the one "
        "before and the amount. Of a broker and a depository the file is whole: what it leaves out is zero.",
    )


class ReconciliationOut(ApiModel):
    """A file that was compared with the books."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "rec_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "source": "depository",
                    "mode": "live",
                    "as_of": "2026-01-30",
                    "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    "lines": 412,
                    "compared": 413,
                    "differences": 2,
                    "opened": 1,
                    "closed": 0,
                    "made_at": "2026-01-31T02:30:00Z",
                    "made_by": None,
                }
            ]
        }
    )

    id: str
    source: Source = Field(description="Who wrote it.")
    mode: Mode = Field(description="Whose accounts it was compared with.")
    as_of: date = Field(description="The day at whose end it was true.")
    digest: str = Field(description="SHA-256 of the file, in hexadecimal.")
    lines: int = Field(description="Without the first one.")
    compared: int = Field(description="Figures that the file, the books or both have.")
    differences: int = Field(description="How many of them differ: each has an open break.")
    opened: int = Field(description="Breaks that it opened, for the first time or again.")
    closed: int = Field(description="Breaks that it closed, because the figures agree now.")
    made_at: datetime = Field(description="When it was compared.")
    made_by: str | None = Field(description="The person who sent it, if one did.")

    @classmethod
    def of(cls, row: Reconciliation) -> "ReconciliationOut":
        return cls(
            id=encode_id(RECONCILIATION, row.id),
            source=Source(row.source),
            mode=Mode(row.mode),
            as_of=row.as_of,
            digest=row.digest,
            lines=row.lines,
            compared=row.compared,
            differences=row.differences,
            opened=row.opened,
            closed=row.closed,
            made_at=row.made_at,
            made_by=None if row.made_by is None else encode_id("usr", row.made_by),
        )
