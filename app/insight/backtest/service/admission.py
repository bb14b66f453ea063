"""Admits a backtest: everything that can be known before it runs is checked here, and pinned in its plan."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from app.engine.bars import EPOCH, Bars, Int64, day_number
from app.engine.columns import Intrabar
from app.engine.fills import SlippageModel
from app.engine.layout import FIELDS
from app.engine.program import Program, compile_program
from app.engine.schedule import schedule_named
from app.engine.simulation import MAX_CASH
from app.engine.tariff import rate_table
from app.infra.database import Tx
from app.insight.backtest import repository
from app.insight.backtest.domain import MAX_CELLS, MAX_COST, MAX_UNFINISHED, Action, Asked, FinerFile, Listed, Plan
from app.insight.backtest.service.running import QUEUE, RUN
from app.insight.backtest.tables import Backtest
from app.kernel.errors import DomainError, Kind, invalid
from app.kernel.ids import encode_id
from app.kernel.instrument import InstrumentScale
from app.kernel.money import currency_exponent, parse_scaled
from app.market.data.domain import from_us, interval_length
from app.market.data.service import Series, find_series, read_times
from app.market.instruments.service import corporate_actions, rules_at, scales_of
from app.platform.plans.domain import QuotaName
from app.platform.plans.service import consume
from app.trading.strategies.service import build_program, get_strategy, is_intraday, program_document

_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class _History:
    """Close times in µs of one instrument, up to the end, and the file they are in."""

    scale: InstrumentScale
    series: Series
    at_us: Int64


@dataclass(frozen=True, slots=True)
class Planned:
    """A run that was checked: what to run, the program as compiled, the bar times of all its instruments, its cells
    (bars × instruments, finer ones among them: what the plan counts)."""

    plan: Plan
    program: Program
    currency: str
    bars: int
    cells: int

    @property
    def cost(self) -> int:
        """Evaluations of the program's nodes: what a run is limited by."""
        return self.program.cost(bars=self.bars, instruments=len(self.plan.listed))


async def create_backtest(tx: Tx, asked: Asked, data_dir: Path) -> Backtest:
    """Check, pin and queue a backtest. Nothing is written when it is refused.

    Raises what `admit_backtest` raises, and `quota_exceeded` when the plan has fewer cells left this month.
    """
    planned = await admit_backtest(tx, asked, data_dir)
    await consume(tx, QuotaName.BACKTEST_CELLS, planned.cells)
    return await _queue(tx, asked, planned)


async def admit_backtest(tx: Tx, asked: Asked, data_dir: Path) -> Planned:
    """What would be queued. Nothing is written.

    Raises what `plan_backtest` raises, and `too_many_backtests` when `MAX_UNFINISHED` of the tenant's wait or run.
    """
    planned = await plan_backtest(tx, asked, data_dir)
    if await repository.count_unfinished(tx) >= MAX_UNFINISHED:
        reason = f"{MAX_UNFINISHED} backtests of yours wait or run; wait for one of them, or cancel it."
        raise DomainError("too_many_backtests", Kind.LIMITED, reason)
    return planned


async def plan_backtest(tx: Tx, asked: Asked, data_dir: Path) -> Planned:
    """Check and pin a run. Nothing is written.

    Raises `invalid_program`, `invalid_parameters`, `unknown_template`, `strategy_not_found`, `one_program`,
    `unknown_instrument`, `repeated_instrument`, `currency_mismatch`, `too_few_instruments`, `unknown_interval`,
    `bars_not_found`, `bars_corrupt`, `invalid_range`, `no_bars_in_range`, `too_few_bars`, `no_rules`, `invalid_cash`,
    `charge_schedule_not_found`, `charges_unknown`, `invalid_terms`, `too_costly`; each names the field.
    """
    _check_finer(asked)
    where, document, parameters, program = await _program(tx, asked)
    if asked.start is not None and asked.end is not None and asked.end < asked.start:
        raise invalid("invalid_range", f"The end {asked.end} is before the start {asked.start}.", param="end")
    scales = await _scales(tx, asked, program)
    cash = _cash(asked.cash, scales[0].currency)
    histories = await _histories(tx, data_dir, asked, scales, asked.interval)
    _holdable(max(len(one.at_us) for one in histories), len(histories))  # the grid of all is at least as long
    times, days = await asyncio.to_thread(_timeline, histories)
    _holdable(len(times), len(histories))
    _affordable(program, where, bars=len(times), instruments=len(scales))
    _charged(asked, scales[0].currency, days)
    finer, finer_bars = await _finer(tx, data_dir, asked, scales, len(times))
    plan = Plan(
        program=document,
        parameters=parameters,
        listed=tuple([await _listed(tx, histories, slot, int(times[-1])) for slot in range(len(histories))]),
        interval=asked.interval,
        start=asked.start,
        end=asked.end,
        cash=cash,
        charges=asked.charges,
        product=asked.product,
        slippage_bps=SlippageModel(asked.slippage_bps).bps,
        terms=asked.terms,
        finer_interval=asked.finer_interval,
        finer=finer,
    )
    return Planned(plan, program, scales[0].currency, len(times), (len(times) + finer_bars) * len(scales))


async def _queue(tx: Tx, asked: Asked, planned: Planned) -> Backtest:
    program, plan = planned.program, planned.plan
    row = Backtest(
        tenant_id=tx.tenant_id,
        name=asked.name or program.name,
        strategy_id=asked.strategy_id,
        template=asked.template,
        digest=program.digest,
        plan=plan.to_json(),
        instruments=list(asked.instruments),
        currency=planned.currency,
        starts_on=asked.start,
        ends_on=asked.end,
        bars=planned.bars,
    )
    tx.add(row)
    tx.work(QUEUE, RUN, row.id, {"backtest_id": str(row.id)})
    tx.emit("backtest.created", row.id, {"digest": program.digest})
    await tx.flush()
    return row


async def _program(tx: Tx, asked: Asked) -> tuple[str, dict[str, Any], dict[str, Any], Program]:
    """The field that names it, the document, what replaces its parameters, and it compiled."""
    given = [name for name in ("strategy_id", "template", "program") if getattr(asked, name) is not None]
    if len(given) != 1:
        raise invalid("one_program", "Send one of strategy_id, template and program.", param="program")
    count, parameters = len(asked.instruments), asked.parameters or {}
    if asked.program is not None:
        return "program", asked.program, parameters, _compiled(asked.program, parameters)
    if asked.strategy_id is not None:
        if asked.parameters:
            reason = "A stored strategy has its parameters; send its template with other ones instead."
            raise invalid("invalid_parameters", reason, param="parameters")
        strategy = await get_strategy(tx, asked.strategy_id)
        template, document = strategy.template, program_document(strategy, count)
    else:
        template, document = asked.template, build_program(asked.template or "", parameters, count)
    if template is not None and is_intraday(template) and asked.interval == "1d":
        reason = f"{template} needs bars within the day; send another interval."
        raise invalid("needs_intraday_bars", reason, param="interval")
    return given[0], document, {}, compile_program(document)


def _compiled(document: dict[str, Any], parameters: dict[str, Any]) -> Program:
    """Raises `invalid_program` with the path from the request's body on."""
    try:
        return compile_program(document, parameters)
    except DomainError as error:
        path = error.param or ""
        if path.partition(".")[2] in parameters and path.startswith("parameters."):
            raise
        message = error.message.removeprefix(f"{path}: ")
        path = f"program.{path}".rstrip(".")
        raise invalid(error.code, f"{path}: {message}", param=path) from None


async def _scales(tx: Tx, asked: Asked, program: Program) -> list[InstrumentScale]:
    """Of each instrument, in order: all exist, once each, in one currency, and enough for the program."""
    found = await scales_of(tx, asked.instruments)
    chosen: list[InstrumentScale] = []
    for slot, instrument_id in enumerate(asked.instruments):
        param = f"instruments.{slot}"
        if instrument_id not in found:
            name = encode_id("ins", instrument_id)
            raise invalid("unknown_instrument", f"No instrument has the id {name}.", param=param)
        if instrument_id in asked.instruments[:slot]:
            raise invalid("repeated_instrument", f"{found[instrument_id].symbol} is there twice.", param=param)
        chosen.append(found[instrument_id])
        if chosen[slot].currency != chosen[0].currency:
            reason = f"{chosen[slot].symbol} trades in {chosen[slot].currency}, {chosen[0].symbol} in "
            raise invalid("currency_mismatch", f"{reason}{chosen[0].currency}; a run has one.", param=param)
    if len(chosen) < program.instruments:
        reason = f"The program reads instrument {program.instruments} of its list; name as many."
        raise invalid("too_few_instruments", reason, param="instruments")
    return chosen


def _cash(text: str, currency: str) -> int:
    cash = parse_scaled(text, currency_exponent(currency), param="cash")
    if not 0 < cash < MAX_CASH:
        raise invalid("invalid_cash", "The starting cash must be positive, and at most 90 trillion.", param="cash")
    return cash


def _check_finer(asked: Asked) -> None:
    """Finer bars are named where the terms ask for them, and only there. Raises `invalid_terms`, `unknown_interval`."""
    lower, interval = asked.terms.intrabar is Intrabar.LOWER, asked.finer_interval
    if interval is None:
        if lower:
            reason = "The intrabar policy lower reads finer bars: send finer_interval, shorter than interval."
            raise invalid("invalid_terms", reason, param="finer_interval")
        return
    if not lower:
        reason = "Only the intrabar policy lower reads finer bars: send it as terms.intrabar, or no finer_interval."
        raise invalid("invalid_terms", reason, param="terms.intrabar")
    try:
        length = interval_length(interval)
    except DomainError as error:
        raise invalid(error.code, error.message, param="finer_interval") from None
    if length >= interval_length(asked.interval):
        reason = f"{interval} bars are not finer than {asked.interval} bars: send a shorter finer_interval."
        raise invalid("invalid_terms", reason, param="finer_interval")


async def _finer(
    tx: Tx, data_dir: Path, asked: Asked, scales: Sequence[InstrumentScale], bars: int
) -> tuple[tuple[FinerFile, ...], int]:
    """The files of finer bars, in the instruments' order, and how many bars.

    Raises `bars_not_found`, `no_bars_in_range`, `too_costly`.
    """
    if asked.finer_interval is None:
        return (), 0
    histories = await _histories(tx, data_dir, asked, scales, asked.finer_interval)
    _holdable(bars, len(histories), finer=max(len(one.at_us) for one in histories))
    times, _ = await asyncio.to_thread(_timeline, histories)
    _holdable(bars, len(histories), finer=len(times))
    return tuple(FinerFile(one.series.path, one.series.sha256) for one in histories), len(times)


async def _histories(
    tx: Tx, data_dir: Path, asked: Asked, scales: Sequence[InstrumentScale], interval: str
) -> list[_History]:
    interval_length(interval)
    return [await _history(tx, data_dir, asked, slot, scale, interval) for slot, scale in enumerate(scales)]


async def _history(tx: Tx, data_dir: Path, asked: Asked, slot: int, scale: InstrumentScale, interval: str) -> _History:
    param = f"instruments.{slot}"
    try:
        series = await find_series(tx, scale.instrument_id, interval)
    except DomainError as error:
        if error.code != "bars_not_found":
            raise
        reason = f"No {interval} bars of {scale.symbol} are stored; see GET /v1/bars, or import them."
        raise invalid("bars_not_found", reason, param=param) from None
    at_us = await asyncio.to_thread(read_times, data_dir, series)
    days = at_us // _DAY_US
    last = len(days) if asked.end is None else int(np.searchsorted(days, day_number(asked.end), side="right"))
    first = 0 if asked.start is None else int(np.searchsorted(days, day_number(asked.start)))
    if first >= last:
        have = f"{series.first_at.date()} to {series.last_at.date()}"
        reason = f"{scale.symbol} has no bar from start to end; its {interval} bars are from {have}."
        raise invalid("no_bars_in_range", reason, param=param)
    return _History(scale, series, at_us[:last])


def _holdable(bars: int, instruments: int, *, finer: int = 0) -> None:
    if (bars + finer) * instruments > MAX_CELLS:
        count = f"{bars:,} bars and {finer:,} finer ones" if finer else f"{bars:,} bars"
        reason = f"{count} of {instruments} instruments are more than {MAX_CELLS:,}; name fewer, or end earlier."
        raise invalid("too_costly", reason, param="instruments")


def _timeline(histories: Sequence[_History]) -> tuple[Int64, Int64]:
    """The run's bar times in µs, and its trading dates as days since 1970-01-01."""
    times = np.unique(np.concatenate([one.at_us for one in histories]))
    return times, np.unique(times // _DAY_US)


def _affordable(program: Program, where: str, *, bars: int, instruments: int) -> None:
    if bars < program.warm_up:
        reason = f"The program needs {program.warm_up:,} bars to begin, and up to the end there are {bars:,}: "
        raise invalid("too_few_bars", f"{reason}shorten its windows, or use a shorter interval.", param=where)
    cost = program.cost(bars=bars, instruments=instruments)
    if cost > MAX_COST:
        reason = f"The run needs {cost:,} evaluations, more than {MAX_COST:,}: use a smaller program or fewer bars."
        raise invalid("too_costly", reason, param=where)


def _charged(asked: Asked, currency: str, days: Int64) -> None:
    """Rates are needed where it may trade. Raises `charge_schedule_not_found`, `charges_unknown`."""
    try:
        schedule = schedule_named(asked.charges)
    except DomainError as error:
        raise invalid(error.code, f"No charge schedule is named {asked.charges!r}.", param="charges") from None
    nothing = np.empty(0, np.int64)
    bare = Bars(nothing, nothing, np.empty((FIELDS, 0, 0), np.int64), np.empty((0, 0), np.uint8))
    rate_table(schedule, currency, bare)  # refuses another currency
    dates = (date.fromordinal(int(day) + EPOCH) for day in days)
    missing = next((on for on in dates if (asked.start is None or on >= asked.start) and not schedule.covers(on)), None)
    if missing is not None:
        reason = f"{asked.charges!r} has no rates for {missing}; start later, or take another schedule."
        raise invalid("charges_unknown", reason, param="charges")


async def _listed(tx: Tx, histories: Sequence[_History], slot: int, last_us: int) -> Listed:
    """Symbols that two venues share are told apart by the venue."""
    scale, series = histories[slot].scale, histories[slot].series
    alone = [one.scale.symbol for one in histories].count(scale.symbol) == 1
    try:
        rules = await rules_at(tx, scale.instrument_id, from_us(last_us))
    except DomainError as error:
        raise invalid(error.code, error.message, param=f"instruments.{slot}") from None
    return Listed(
        instrument_id=scale.instrument_id,
        symbol=scale.symbol if alone else f"{scale.symbol}@{scale.venue}",
        currency=scale.currency,
        price_exp=series.price_exp,
        qty_exp=series.qty_exp,
        tick=rules.tick,
        lot=rules.lot,
        path=series.path,
        sha256=series.sha256,
        actions=await _actions(tx, scale.instrument_id),
    )


async def _actions(tx: Tx, instrument_id: UUID) -> tuple[Action, ...]:
    found = await corporate_actions(tx, instrument_id)
    return tuple(
        Action(
            kind=row["kind"],
            ex_date=row["ex_date"],
            effective_at=row["effective_at"],
            numerator=row["numerator"],
            denominator=row["denominator"],
            amount=row["amount"],
        )
        for row in found
    )
