"""Backtests as the API takes and shows them."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.engine.columns import Intrabar
from app.engine.layout import BPS
from app.engine.terms import CASH_ACCOUNT, Terms
from app.insight.backtest.domain import MAX_COST, Asked, Plan
from app.insight.backtest.service.admission import Planned
from app.insight.backtest.service.reading import PREFIX
from app.insight.backtest.tables import Backtest
from app.kernel.ids import decode_id, encode_id
from app.kernel.money import currency_exponent, format_scaled
from app.kernel.orders import Product
from app.web.models import ApiModel, Day, PositiveDecimal, WholeNumber

_BACKTEST: JsonDict = {
    "strategy_id": "str_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "instruments": ["ins_01kpx4t8yhe6rb2y6x3v1m9d0c"],
    "interval": "1d",
    "start": "2003-01-01",
    "end": "2012-12-31",
    "cash": "100000",
    "charges": "us_equity",
    "slippage_bps": 5,
}
_FINER: JsonDict = {
    **_BACKTEST,
    "interval": "1d",
    "finer_interval": "5m",
    "terms": {"intrabar": "lower", "interest_bps": 400},
}
_Id = Annotated[str, Field(max_length=64)]
_Basis = Annotated[WholeNumber, Field(ge=0, le=BPS)]
_Order = Literal["pessimistic", "path", "lower"]
_ORDERS: dict[Intrabar, _Order] = {
    Intrabar.PESSIMISTIC: "pessimistic",
    Intrabar.PATH: "path",
    Intrabar.LOWER: "lower",
}


class TermsBody(ApiModel):
    """On which terms the account trades, in hundredths of a percent."""

    intrabar: _Order = Field(
        default="pessimistic",
        description="In which order a bar's prices come: against the orders (`pessimistic`); open, the extreme against "
        "the bar's direction, the other one, close (`path`); or as the bars of `finer_interval` say (`lower`).",
    )
    participation_bps: Annotated[WholeNumber, Field(ge=1, le=BPS)] | None = Field(
        default=None, description="The share of a bar's volume that may fill; null: all that is asked."
    )
    margin_bps: Annotated[WholeNumber, Field(ge=100, le=BPS)] = Field(
        default=CASH_ACCOUNT.margin_bps,
        description="Equity needed to open, of the positions' value; 10000: no leverage.",
    )
    maintenance_bps: _Basis = Field(
        default=CASH_ACCOUNT.maintenance_bps, description="Below this share of equity every position is closed."
    )
    borrow_bps: Annotated[WholeNumber, Field(ge=0, le=10 * BPS)] = Field(
        default=CASH_ACCOUNT.borrow_bps, description="Yearly cost of borrowed shares and cash."
    )
    interest_bps: Annotated[WholeNumber, Field(ge=0, le=10 * BPS)] = Field(
        default=CASH_ACCOUNT.interest_bps,
        description="Yearly interest on cash that is no proceeds of shares sold short: simple, by the day, rounded "
        "down.",
    )

    def terms(self) -> Terms:
        values = self.model_dump() | {"intrabar": Intrabar[self.intrabar.upper()]}
        return Terms(**values)

    @classmethod
    def of(cls, terms: Terms) -> "TermsBody":
        return cls(
            intrabar=_ORDERS[terms.intrabar],
            participation_bps=terms.participation_bps,
            margin_bps=terms.margin_bps,
            maintenance_bps=terms.maintenance_bps,
            borrow_bps=terms.borrow_bps,
            interest_bps=terms.interest_bps,
        )


class CreateBacktest(ApiModel):
    """What `POST /v1/backtests` takes: a strategy, a template or a program, and what to run it on."""

    model_config = ConfigDict(json_schema_extra={"examples": [_BACKTEST, _FINER]})

    name: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]+$")] | None = Field(
        default=None, description="By default the program's."
    )
    strategy_id: _Id | None = None
    template: Annotated[str, Field(max_length=80)] | None = Field(
        default=None, description="Of the library: GET /v1/strategies/templates."
    )
    program: dict[str, Any] | None = Field(default=None, description="A strategy program as JSON.")
    parameters: dict[str, Any] | None = Field(
        default=None, description="Of the template; or numbers that replace the program's parameters, by name."
    )
    instruments: Annotated[list[_Id], Field(min_length=1, max_length=100)] = Field(
        description="In the program's order; all of one currency."
    )
    interval: Annotated[str, Field(max_length=8)] = "1d"
    finer_interval: Annotated[str, Field(max_length=8)] | None = Field(
        default=None,
        description="With `terms.intrabar` `lower`, and only then: stored bars of this shorter interval, of every "
        "instrument, decide the order of prices within a bar. A bar that has none is pessimistic; finer bars that "
        "contradict a bar make the run fail.",
    )
    start: Day | None = Field(
        default=None,
        description="The first trading date on which it may trade; all before it only warm the program up.",
    )
    end: Day | None = Field(default=None, description="The last trading date; by default the last one stored.")
    cash: PositiveDecimal = Field(description="In the instruments' currency.")
    charges: Annotated[str, Field(max_length=40)] = Field(default="zero", description="A charge schedule.")
    product: Product = Product.DELIVERY
    slippage_bps: Annotated[WholeNumber, Field(ge=0, lt=BPS)] = Field(
        default=0, description="What market orders pay, in hundredths of a percent."
    )
    terms: TermsBody = Field(default_factory=TermsBody)

    def asked(self) -> Asked:
        """Raises `invalid_id` naming the field."""
        strategy = self.strategy_id
        return Asked(
            instruments=tuple(
                decode_id("ins", one, param=f"instruments.{slot}") for slot, one in enumerate(self.instruments)
            ),
            cash=self.cash,
            name=self.name,
            strategy_id=None if strategy is None else decode_id("str", strategy, param="strategy_id"),
            template=self.template,
            program=self.program,
            parameters=self.parameters,
            interval=self.interval,
            finer_interval=self.finer_interval,
            start=self.start,
            end=self.end,
            charges=self.charges,
            product=self.product,
            slippage_bps=self.slippage_bps,
            terms=self.terms.terms(),
        )


class SummaryOut(ApiModel):
    """The figures one looks at first; the result has all."""

    sha256: str = Field(description="Of the result's bytes: equal hashes are equal results.")
    manifest_sha256: str = Field(
        description="Of the data: the files of bars and finer bars, corporate actions, ticks and lots."
    )
    final_equity: str
    charges: str
    fills: int
    orders: dict[str, int]
    metrics: dict[str, int | float | None]


class BacktestOut(ApiModel):
    """One run. Ask again until `status` is `succeeded`, `failed` or `cancelled`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_BACKTEST,
                    "id": "bkt_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "name": "My momentum",
                    "template": None,
                    "digest": "9f2c…",
                    "currency": "USD",
                    "cash": "100000.00",
                    "product": "delivery",
                    "finer_interval": None,
                    "terms": {"intrabar": "pessimistic", "interest_bps": 0},
                    "status": "running",
                    "status_reason": None,
                    "bars": 3270,
                    "bars_done": 1024,
                    "eta_s": 0.4,
                    "attempts": 1,
                    "created_at": "2026-01-30T12:00:00Z",
                    "started_at": "2026-01-30T12:00:01Z",
                    "finished_at": None,
                    "cancel_requested_at": None,
                    "result": None,
                }
            ]
        }
    )

    id: str
    name: str
    strategy_id: str | None
    template: str | None
    digest: str = Field(description="SHA-256 of the compiled program: equal digests compute the same.")
    instruments: list[str]
    interval: str
    finer_interval: str | None = Field(description="Of the bars that decide the order of prices within a bar.")
    start: date | None
    end: date | None
    currency: str
    cash: str
    charges: str = Field(description="The charge schedule that it runs with.")
    product: Product
    slippage_bps: int
    terms: TermsBody
    status: str = Field(description="`queued`, `running`, `succeeded`, `failed` or `cancelled`.")
    status_reason: str | None = Field(description="Why it failed.")
    bars: int = Field(description="Bar times from the first of the history to the end.")
    bars_done: int
    eta_s: float | None = Field(
        description="Seconds until it is done, by its speed so far; null while that is unknown."
    )
    attempts: int = Field(description="How often it was begun: more than once when a worker died.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    result: SummaryOut | None = Field(description="Once it has succeeded.")

    @classmethod
    def of(cls, row: Backtest) -> "BacktestOut":
        plan = Plan.from_json(row.plan)
        return cls(
            id=encode_id(PREFIX, row.id),
            name=row.name,
            strategy_id=encode_id("str", row.strategy_id) if row.strategy_id else None,
            template=row.template,
            digest=row.digest,
            instruments=[encode_id("ins", one) for one in row.instruments],
            interval=plan.interval,
            finer_interval=plan.finer_interval,
            start=row.starts_on,
            end=row.ends_on,
            currency=row.currency,
            cash=format_scaled(plan.cash, currency_exponent(row.currency)),
            charges=plan.charges,
            product=plan.product,
            slippage_bps=plan.slippage_bps,
            terms=TermsBody.of(plan.terms),
            status=row.status,
            status_reason=row.status_reason,
            bars=row.bars,
            bars_done=row.bars_done,
            eta_s=_eta(row),
            attempts=row.attempts,
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            cancel_requested_at=row.cancel_requested_at,
            result=SummaryOut(sha256=row.result_sha256, **row.summary)
            if row.summary is not None and row.result_sha256 is not None
            else None,
        )


class BacktestPlanOut(ApiModel):
    """What a dry run of `POST /v1/backtests` answers: the run as it would be queued, and what it costs."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dry_run": True,
                    "digest": "9f2c…",
                    "currency": "USD",
                    "cash": "100000.00",
                    "bars": 3270,
                    "values": 3270,
                    "cost": 52320,
                    "cost_limit": MAX_COST,
                    "data": [{"symbol": "GOOG", "sha256": "5d41…"}],
                }
            ]
        }
    )

    dry_run: Literal[True] = Field(default=True, description="Nothing was written.")
    digest: str = Field(description="SHA-256 of the compiled program.")
    currency: str = Field(description="Of the cash and all results.")
    cash: str = Field(description="What it would begin with.")
    bars: int = Field(description="Bar times from the first of the history to the end.")
    values: int = Field(description="Bars times instruments.")
    cost: int = Field(description="Evaluations of the program's nodes.")
    cost_limit: int = Field(description="The most evaluations that a run may need.")
    data: list["PinnedOut"] = Field(description="The files of bars that the run would be pinned to.")

    @classmethod
    def of(cls, planned: Planned) -> "BacktestPlanOut":
        return cls(
            digest=planned.program.digest,
            currency=planned.currency,
            cash=format_scaled(planned.plan.cash, currency_exponent(planned.currency)),
            bars=planned.bars,
            values=planned.bars * len(planned.plan.listed),
            cost=planned.cost,
            cost_limit=MAX_COST,
            data=[PinnedOut(symbol=one.symbol, sha256=one.sha256) for one in planned.plan.listed],
        )


class PinnedOut(ApiModel):
    """One instrument's file of bars."""

    symbol: str = Field(description="The instrument's symbol.")
    sha256: str = Field(description="Of the file: the same bars have the same digest.")


def _eta(row: Backtest) -> float | None:
    if row.status != "running" or not row.bars_done or row.started_at is None or row.progressed_at is None:
        return None
    passed = (row.progressed_at - row.started_at).total_seconds()
    return round(passed * (row.bars - row.bars_done) / row.bars_done, 1)
