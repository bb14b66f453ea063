"""Performance as the API shows it: money as decimal strings, ratios as numbers, undefined ones null with a reason."""

from bisect import bisect_right
from datetime import date

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.insight.analytics.domain import Assessment, Curve
from app.insight.analytics.service import Report
from app.kernel.ids import encode_id
from app.kernel.money import currency_exponent, format_scaled
from app.quant.performance import Drawdown, Metric
from app.web.models import ApiModel

MAX_POINTS = 2000
_EXAMPLE: JsonDict = {
    "account_id": "acc_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "deployment_id": "dep_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "currency": "USD",
    "start": "2003-01-01",
    "end": "2004-12-31",
    "periods": 504,
    "periods_per_year": 252,
    "initial_equity": "100000.00",
    "final_equity": "131204.40",
    "charges": "84.12",
    "total_return": 0.312044,
    "cagr": 0.145445,
    "volatility": 0.1612,
    "sharpe": 0.9312,
    "sortino": 1.4021,
    "max_drawdown": -0.1204,
    "drawdown": {
        "depth": -0.1204,
        "peak": "2004-01-26",
        "trough": "2004-08-12",
        "recovered": "2004-11-04",
        "periods": 197,
        "days": 283,
    },
    "win_rate": 0.6,
    "profit_factor": None,
    "trades": 5,
    "undefined": {"profit_factor": "no round trip lost money"},
    "curve": None,
}


class PointOut(ApiModel):
    """Equity at the close of one trading day, and what of it is cash."""

    date: date
    equity: str
    cash: str
    flow: str = Field(description="Money paid in (negative: out) since the point before, which is no profit.")


class CurvePage(ApiModel):
    """Points, oldest first. Ask for the next ones with `starting_after` = the last point's date."""

    data: list[PointOut]
    has_more: bool

    @classmethod
    def of(cls, curve: Curve, money: int, *, starting_after: date | None, limit: int) -> "CurvePage":
        points = curve.points
        first = bisect_right(points, starting_after, key=lambda point: point.day) if starting_after else 0
        shown = [
            PointOut(
                date=point.day,
                equity=format_scaled(point.equity, money),
                cash=format_scaled(point.cash, money),
                flow=format_scaled(point.flow, money),
            )
            for point in points[first : first + limit]
        ]
        return cls(data=shown, has_more=first + limit < len(points))


class DrawdownOut(ApiModel):
    """The deepest fall: `depth` is a share of the peak, at or below 0; `recovered` null while it lasts."""

    depth: float
    peak: date
    trough: date
    recovered: date | None
    periods: int = Field(description="Trading days from the peak to the recovery, or to the end.")
    days: int = Field(description="The same in calendar days.")

    @classmethod
    def of(cls, fall: Drawdown) -> "DrawdownOut":
        return cls(
            depth=fall.depth,
            peak=fall.peak,
            trough=fall.trough,
            recovered=fall.recovered,
            periods=fall.periods,
            days=fall.days,
        )


class PerformanceOut(ApiModel):
    """What was earned, and at which risk. Returns are daily; nothing is annualised but what says so.

    A figure that is not defined is null, and `undefined` says why.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    account_id: str
    deployment_id: str | None = Field(description="Null when the whole account was asked for.")
    currency: str
    start: date
    end: date | None = Field(description="The last close in it; null before the first.")
    periods: int = Field(description="Trading days.")
    periods_per_year: float
    initial_equity: str
    final_equity: str
    charges: str = Field(description="Commissions, fees and taxes of all fills.")
    total_return: float | None
    cagr: float | None = Field(description="(1 + total_return)^(periods_per_year / periods) - 1.")
    volatility: float | None = Field(description="Standard deviation of returns (divisor n - 1), annualised.")
    sharpe: float | None = Field(description="Mean return over its standard deviation, annualised; risk-free rate 0.")
    sortino: float | None = Field(description="Mean return over the root mean square of the negative ones, annualised.")
    max_drawdown: float | None
    drawdown: DrawdownOut | None
    win_rate: float | None = Field(description="Share of round trips (FIFO, net of charges) that earned.")
    profit_factor: float | None = Field(description="Their profits over their losses.")
    trades: int = Field(description="Closed round trips.")
    undefined: dict[str, str] = Field(description="Why a figure is null, by its name.")
    curve: CurvePage | None = Field(description="Null unless asked for with `curve=true`.")

    @classmethod
    def of(cls, report: Report, curve: CurvePage | None) -> "PerformanceOut":
        found, money = report.assessment, currency_exponent(report.currency)
        judged, points = found.performance, found.curve.points
        metrics = _metrics(found)
        return cls(
            account_id=encode_id("acc", report.account_id),
            deployment_id=encode_id("dep", report.deployment_id) if report.deployment_id else None,
            currency=report.currency,
            start=found.curve.start.date(),
            end=points[-1].day if points else None,
            periods=judged.periods,
            periods_per_year=judged.periods_per_year,
            initial_equity=format_scaled(found.curve.initial, money),
            final_equity=format_scaled(points[-1].equity if points else found.curve.initial, money),
            charges=format_scaled(found.charges, money),
            drawdown=DrawdownOut.of(judged.drawdown) if judged.drawdown else None,
            trades=found.trades,
            undefined={name: metric.reason or "" for name, metric in metrics.items() if metric.value is None},
            curve=curve,
            **{name: metric.value for name, metric in metrics.items()},
        )


def _metrics(found: Assessment) -> dict[str, Metric]:
    judged = found.performance
    return {
        "total_return": judged.total_return,
        "cagr": judged.cagr,
        "volatility": judged.volatility,
        "sharpe": judged.sharpe,
        "sortino": judged.sortino,
        "max_drawdown": judged.maximum_drawdown,
        "win_rate": found.win_rate,
        "profit_factor": found.profit_factor,
    }
