"""Sweeps as the API takes and shows them."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from app.engine.columns import Intrabar
from app.engine.layout import BPS
from app.engine.terms import CASH_ACCOUNT, Terms
from app.insight.backtest.domain import Asked
from app.insight.research.domain import MAX_AXES, MAX_COMBINATIONS, MAX_SEED, Cut, Search
from app.insight.research.service import AskedSweep, Seen
from app.insight.research.service.reading import PREFIX
from app.kernel.ids import decode_id, encode_id
from app.kernel.money import currency_exponent, format_scaled
from app.kernel.orders import Product
from app.web.models import ApiModel, Day, Flag, PositiveDecimal, WholeNumber

_SWEEP: JsonDict = {
    "template": "sma_cross",
    "instruments": ["ins_01kpx4t8yhe6rb2y6x3v1m9d0c"],
    "start": "2003-01-01",
    "cash": "100000",
    "charges": "us_equity",
    "grid": {"fast": "5:20:5", "slow": "30:60:10"},
}
_STORED: JsonDict = {name: value for name, value in _SWEEP.items() if name != "template"} | {
    "strategy_id": "str_01kpx4t8yhe6rb2y6x3v1m9d0c"
}
_Id = Annotated[str, Field(max_length=64)]
_Name = Annotated[str, Field(min_length=1, max_length=80)]
_Written = Annotated[str, Field(min_length=1, max_length=2000)]
_Basis = Annotated[WholeNumber, Field(ge=0, le=BPS)]
_Dates = Annotated[WholeNumber, Field(ge=0, le=100_000)]
Metric = Literal["sharpe", "sortino", "total_return", "cagr", "maximum_drawdown"]


def _without_finer(value: Any) -> Any:
    if value == "lower":
        raise PydanticCustomError(
            "finer_bars", "must be 'pessimistic' or 'path': a sweep reads no finer bars, a backtest does"
        )
    return value


class SweepTerms(ApiModel):
    """On which terms the account trades, in hundredths of a percent; as of a backtest, without finer bars."""

    intrabar: Annotated[Literal["pessimistic", "path"], BeforeValidator(_without_finer)] = "pessimistic"
    participation_bps: Annotated[WholeNumber, Field(ge=1, le=BPS)] | None = None
    margin_bps: Annotated[WholeNumber, Field(ge=100, le=BPS)] = CASH_ACCOUNT.margin_bps
    maintenance_bps: _Basis = CASH_ACCOUNT.maintenance_bps
    borrow_bps: Annotated[WholeNumber, Field(ge=0, le=10 * BPS)] = CASH_ACCOUNT.borrow_bps
    interest_bps: Annotated[WholeNumber, Field(ge=0, le=10 * BPS)] = CASH_ACCOUNT.interest_bps

    def terms(self) -> Terms:
        return Terms(**self.model_dump() | {"intrabar": Intrabar[self.intrabar.upper()]})


class RandomSearch(ApiModel):
    """Draw combinations instead of taking all of the grid."""

    draws: Annotated[WholeNumber, Field(ge=1, le=MAX_COMBINATIONS)]
    seed: Annotated[WholeNumber, Field(ge=0, le=MAX_SEED)] = Field(
        default=0, description="The same seed draws the same combinations."
    )


class WalkForward(ApiModel):
    """Choose on the past, judge on what follows, and move on. Lengths in trading dates."""

    train: _Dates = Field(description="To learn from in each fold.")
    test: _Dates = Field(description="To judge on in each fold.")
    purge: _Dates = Field(default=0, description="Left out between the two.")
    embargo: _Dates = Field(default=0, description="Further ones left out there.")
    anchored: Flag = Field(default=False, description="Train from the first date on.")

    def cut(self) -> Cut:
        return Cut(**self.model_dump())


class CreateSweep(ApiModel):
    """What `POST /v1/sweeps` takes: what a backtest takes, and the parameters to vary."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SWEEP, _STORED]})

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
    start: Day | None = Field(default=None, description="The first trading date on which it may trade.")
    end: Day | None = Field(default=None, description="The last trading date; by default the last one stored.")
    cash: PositiveDecimal = Field(description="Of each run, in the instruments' currency.")
    charges: Annotated[str, Field(max_length=40)] = Field(default="zero", description="A charge schedule.")
    product: Product = Product.DELIVERY
    slippage_bps: Annotated[WholeNumber, Field(ge=0, lt=BPS)] = 0
    terms: SweepTerms = Field(default_factory=SweepTerms)
    grid: Annotated[dict[_Name, _Written], Field(min_length=1, max_length=MAX_AXES)] = Field(
        description="Parameters of the program and their values: `5:24:1` (start:stop:step), `5,10,20`; in a random "
        "search also `integers:5:24`, `uniform:0.5:3`, `log:0.001:0.1`."
    )
    random: RandomSearch | None = None
    metric: Metric = Field(default="sharpe", description="What is best; of each the higher is the better.")
    walk_forward: WalkForward | None = None

    def asked(self) -> AskedSweep:
        """Raises `invalid_id` naming the field."""
        strategy = self.strategy_id
        run = Asked(
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
            start=self.start,
            end=self.end,
            charges=self.charges,
            product=self.product,
            slippage_bps=self.slippage_bps,
            terms=self.terms.terms(),
        )
        drawn, walk = self.random, self.walk_forward
        return AskedSweep(
            run,
            self.grid,
            draws=None if drawn is None else drawn.draws,
            seed=0 if drawn is None else drawn.seed,
            metric=self.metric,
            cut=None if walk is None else walk.cut(),
        )


class SweepSummary(ApiModel):
    """The figures one looks at first; the result has all."""

    sha256: str = Field(description="Of the result's bytes.")
    trials: dict[str, int] = Field(
        description="Combinations asked for, run and refused; `earlier`: run before by sweeps of the same family."
    )
    significance: dict[str, Any] | None = Field(description="How sure the Sharpe ratio is, alone and after all trials.")
    best: dict[str, Any] | None = Field(description="Of a sweep: the best combination.")
    out_of_sample: dict[str, Any] | None = Field(description="Of a walk-forward: the chained curve's figures.")


class SweepOut(ApiModel):
    """One sweep. Ask again until `status` is `succeeded`, `failed` or `cancelled`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_SWEEP,
                    "id": "swp_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "name": "sma_cross",
                    "strategy_id": None,
                    "family": "9f2c…",
                    "interval": "1d",
                    "end": None,
                    "currency": "USD",
                    "cash": "100000.00",
                    "random": None,
                    "metric": "sharpe",
                    "walk_forward": None,
                    "status": "running",
                    "status_reason": None,
                    "combinations": 16,
                    "combinations_done": 8,
                    "created_at": "2026-01-30T12:00:00Z",
                    "started_at": "2026-01-30T12:00:01Z",
                    "finished_at": None,
                    "result": None,
                }
            ]
        }
    )

    id: str
    name: str
    strategy_id: str | None
    template: str | None
    family: str = Field(description="Digest of the program without its name and parameter values: one search, retried.")
    instruments: list[str]
    interval: str
    start: date | None
    end: date | None
    currency: str
    cash: str
    charges: str = Field(description="The charge schedule that it runs with.")
    grid: dict[str, str]
    random: RandomSearch | None
    metric: str
    walk_forward: WalkForward | None
    status: str = Field(description="`queued`, `running`, `succeeded`, `failed` or `cancelled`.")
    status_reason: str | None = Field(description="Why it failed.")
    combinations: int
    combinations_done: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: SweepSummary | None = Field(description="Once it has succeeded.")

    @classmethod
    def of(cls, seen: Seen) -> "SweepOut":
        row, search = seen.row, Search.from_json(seen.row.search)
        plan, cut = search.plan, search.cut
        return cls(
            id=encode_id(PREFIX, row.id),
            name=row.name,
            strategy_id=encode_id("str", row.strategy_id) if row.strategy_id else None,
            template=row.template,
            family=row.family,
            instruments=[encode_id("ins", one.instrument_id) for one in plan.listed],
            interval=plan.interval,
            start=plan.start,
            end=plan.end,
            currency=row.currency,
            cash=format_scaled(plan.cash, currency_exponent(row.currency)),
            charges=plan.charges,
            grid=search.grid,
            random=None if search.draws is None else RandomSearch(draws=search.draws, seed=search.seed),
            metric=search.metric,
            walk_forward=None
            if cut is None
            else WalkForward(
                train=cut.train, test=cut.test, purge=cut.purge, embargo=cut.embargo, anchored=cut.anchored
            ),
            status=row.status,
            status_reason=row.status_reason,
            combinations=row.combinations,
            combinations_done=seen.done,
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            result=SweepSummary(sha256=row.result_sha256, **row.summary)
            if row.summary is not None and row.result_sha256 is not None
            else None,
        )
