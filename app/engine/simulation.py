"""The backtest: program and order simulator over the same timeline, block by block, with the result's assumptions."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from app.engine.apply import Position
from app.engine.bars import AnyEvent, Bars, Int64, SessionClose, session_ends, timeline
from app.engine.columns import (
    COUNTER,
    FILL,
    INTENDED,
    ORDER,
    STATE,
    Cause,
    Counter,
    Event,
    FillColumn,
    Intrabar,
    Kind,
    Reason,
    Setting,
    State,
)
from app.engine.fills import NO_SLIPPAGE, SlippageModel
from app.engine.finer import Finer, within
from app.engine.instruments import Instrument, check_events, static_array
from app.engine.layout import ENGINE_VERSION
from app.engine.program import Program
from app.engine.runtime import Pass, ProgramRuntime, splits_of
from app.engine.schedule import Schedule
from app.engine.tariff import check_exercise, rate_table
from app.engine.terms import CASH_ACCOUNT, Terms
from app.kernel.errors import conflict, invalid
from app.kernel.orders import Side

if TYPE_CHECKING:
    from app.engine.kernels.native import Call

MAX_CASH = 2**53
FILLS = 2**16
"""Fills that a run has room for at first; only what is used takes memory."""


@dataclass(frozen=True, slots=True)
class SimulatedFill:
    """One fill. `row`: the bar in which it happened; prices at `price_exp`, money in minor units."""

    row: int
    slot: int
    side: Side
    quantity: int
    price: int
    notional: int
    charges: int
    order: int
    reason: str
    cause: str
    cash_after: int


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a backtest gives. `equity` i8 (rows,): cash + positions at each close, in minor units, after the row's
    fills; the curve starts from `initial_cash`, before the first row. `fills` i8 (fills, `layout.FILL`)."""

    program_digest: str
    initial_cash: int
    cash: int
    equity: Int64
    fills: Int64
    positions: tuple[Position, ...]
    orders: int
    expired_orders: int
    unaffordable_orders: int
    cancelled_orders: int
    ambiguous_bars: int
    margin_calls: int
    borrow_cost: int
    interest: int
    charges: dict[str, int]
    assumptions: dict[str, str]

    def sha256(self) -> str:
        """Of the fills and the equity curve: two runs of one input agree in it."""
        return hashlib.sha256(self.fills.tobytes() + self.equity.tobytes()).hexdigest()

    def fill_records(self) -> list[SimulatedFill]:
        """The fills in order, readable."""
        return [_record(row) for row in self.fills.tolist()]


def _record(row: list[int]) -> SimulatedFill:
    return SimulatedFill(
        row=row[FillColumn.ROW],
        slot=row[FillColumn.SLOT],
        side=Side.BUY if row[FillColumn.SIDE] > 0 else Side.SELL,
        quantity=row[FillColumn.QUANTITY],
        price=row[FillColumn.PRICE],
        notional=row[FillColumn.NOTIONAL],
        charges=row[FillColumn.CHARGES],
        order=row[FillColumn.ORDER],
        reason=Reason(row[FillColumn.REASON]).name.lower(),
        cause=Cause(row[FillColumn.CAUSE]).name.lower(),
        cash_after=row[FillColumn.CASH],
    )


def backtest(
    program: Program,
    bars: Bars,
    *,
    instruments: Sequence[Instrument],
    cash: int,
    schedule: Schedule,
    slippage: SlippageModel = NO_SLIPPAGE,
    terms: Terms = CASH_ACCOUNT,
    events: Iterable[AnyEvent] = (),
    sessions: Iterable[SessionClose] | None = None,
    trade_from: int = 0,
    block: int | None = None,
    on_block: Callable[[int], None] | None = None,
    finer: Bars | None = None,
) -> Result:
    """Run `program` on `bars` from `cash` (minor units of the instruments' one currency).

    `events`: splits, dividends and expiries. `sessions`: where DAY orders expire, by default after the last bar of each
    trading date. Rows before `trade_from` only warm the program up. The result does not depend on `block` (rows; None:
    what suits the program). `on_block` is told the rows done after each block; what it raises ends the run. `finer`:
    bars of a shorter interval, for terms whose `intrabar` is LOWER and for those only; they must agree with `bars`,
    which stand for themselves where there are none (`app.engine.finer`).
    Raises `invalid_bars`, `invalid_event`, `unsupported_instrument`, `invalid_cash`, `invalid_terms`, `too_few_bars`,
    `charges_unknown`.
    """
    run = Run(program, bars, instruments, cash, schedule, slippage, terms, events, sessions, trade_from, block, finer)
    for start in range(0, bars.rows, run.size):
        done = min(start + run.size, bars.rows)
        run.block(start, done)
        if on_block is not None:
            on_block(done)
    return run.result()


def _finer(bars: Bars, finer: Bars | None, terms: Terms) -> Finer | None:
    """Raises `invalid_terms` unless there are finer bars exactly where the terms ask for them."""
    if (terms.intrabar is Intrabar.LOWER) != (finer is not None):
        reason = "Give finer bars with the intrabar policy lower, and only with it."
        raise invalid("invalid_terms", reason, param="intrabar" if finer is not None else "finer")
    return None if finer is None else within(bars, finer)


class Run:
    """A backtest under way: all it knows lies in its arrays. Raises what `backtest` raises."""

    def __init__(
        self,
        program: Program,
        bars: Bars,
        instruments: Sequence[Instrument],
        cash: int,
        schedule: Schedule,
        slippage: SlippageModel,
        terms: Terms,
        events: Iterable[AnyEvent],
        sessions: Iterable[SessionClose] | None,
        trade_from: int,
        block: int | None = None,
        finer: Bars | None = None,
    ) -> None:
        if not 0 < cash < MAX_CASH:
            raise invalid("invalid_cash", "The starting cash must be positive.", param="cash")
        if bars.check().slots != len(instruments):
            raise invalid("invalid_bars", f"{bars.slots} series for {len(instruments)} instruments.", param="bars")
        if bars.rows == 0:
            raise invalid("invalid_bars", "There are no bars.", param="bars")
        if bars.rows < program.warm_up:
            raise invalid(
                "too_few_bars",
                f"The program needs {program.warm_up} bars to begin; there are {bars.rows}.",
                param="bars",
            )
        if not 0 <= trade_from <= bars.rows or (block is not None and block < 1):
            raise invalid("invalid_range", "trade_from must be a row and block positive.", param="trade_from")
        slots = len(instruments)
        self.finer = _finer(bars, finer, terms)
        self.program, self.bars, self.initial, self.schedule, self.slippage = program, bars, cash, schedule, slippage
        self.static = static_array(instruments)
        self.rates, self.units = rate_table(schedule, instruments[0].currency, bars)
        dated_events = [*events, *(sessions or ())]
        check_events(instruments, dated_events)
        check_exercise(schedule, instruments, bars, dated_events)
        self.runtime = ProgramRuntime(program, instruments, block=block)
        self.size = min(self.runtime.block, bars.rows)
        dated = timeline(bars, dated_events)
        ends = dated[:, Event.KIND] == Kind.SESSION_CLOSE
        self.actions = np.ascontiguousarray(dated[~ends])
        self.sessions = session_ends(bars) if sessions is None else np.ascontiguousarray(dated[ends])
        self.settings = program.settings.copy()
        self.settings[Setting.SLIPPAGE_BPS], self.settings[Setting.TRADE_FROM] = slippage.bps, trade_from
        self.terms = terms
        terms.apply(self.settings)
        self.settings[Setting.CONTRACTS] = any(one.is_contract for one in instruments)
        self.cash = np.array([cash], np.int64)
        self.state = np.zeros((slots, STATE), np.int64)
        self.pool = np.zeros((16 * slots + 64, ORDER), np.int64)
        self.counters = np.zeros(COUNTER, np.int64)
        per_bar = 1 if self.finer is None or terms.participation_bps is None else 1 + self.finer.most
        self.buffer = np.empty((max(FILLS, 4 * len(self.pool) * per_bar), FILL), np.int64)
        self.intents = np.zeros((slots, INTENDED), np.int64)
        self.amounts, self.totals = np.zeros((2, len(self.units)), np.int64)
        self.equity = np.empty(bars.rows, np.int64)
        self.weights, self.flags = np.zeros((slots, self.size), np.int64), np.zeros((slots, self.size), np.uint8)
        self._market = self._shown()
        self._over = Pass(self.runtime, self._market, self.weights, self.flags)
        self._simulate = self._bound()

    def _shown(self) -> Any:
        from app.engine.kernels import native
        from app.engine.kernels.book import Market

        market = Market(self.bars.fields, self.bars.valid, self.bars.days, self.actions, self.sessions)
        if self.finer is not None:
            fine = self.finer.bars
            market = market._replace(
                finer=fine.fields, finer_valid=fine.valid, spans=self.finer.spans, alone=self.finer.alone
            )
        return native.part(Market, market)

    def _bound(self) -> "Call":
        from app.engine.kernels import native
        from app.engine.kernels.book import Book

        book = Book(
            self.state, self.static, self.settings, self.cash, self.pool, self.counters, self.buffer, self.intents,
            self.rates, self.units, self.amounts, self.totals,
        )  # fmt: skip
        machine = self.runtime.part(self.size)
        return native.bind("simulate", book, self._market, machine, self.weights, self.flags, self.equity)

    def block(self, start: int, end: int) -> None:
        """Compute and simulate rows [start, end), at most `size`."""
        self.advance(start, end)
        self._simulated(self.program.target, self.program.rule, start, end)

    def advance(self, start: int, end: int) -> None:
        """The columns of rows [start, end), and the signals where they depend on bars alone."""
        self._over.advance(start, end, splits_of(self.actions, start, end))

    @property
    def fills(self) -> Int64:
        """Those of the rows that were run, i8 (fills, `layout.FILL`)."""
        return self.buffer[: self.counters[Counter.FILLS]]

    def _simulated(self, target: int, rule: int, start: int, end: int) -> None:
        row = start
        while row < end:
            row = self._simulate(self.program.early, target, rule, row, end, start)
            if row < 0:
                raise conflict("too_many_orders", f"More than {len(self.pool)} orders work at once.")
            if row < end:
                done = self.fills
                self.buffer = np.empty((2 * len(self.buffer), FILL), np.int64)
                self.buffer[: len(done)] = done
                self._simulate = self._bound()

    def again(self, target: int, rule: int) -> int:
        """From the start over all rows, whose columns `advance` left: how often one of the programs in them fills."""
        for array in (self.state, self.counters, self.totals):  # the pool is as long as its counter says
            array.fill(0)
        self.cash[0] = self.initial
        if target >= 0:
            self._over.signal(target, rule, 0, self.bars.rows)
        self._simulated(target, rule, 0, self.bars.rows)
        return len(self.fills)

    def result(self) -> Result:
        return Result(
            program_digest=self.program.digest,
            initial_cash=self.initial,
            cash=int(self.cash[0]),
            equity=self.equity,
            fills=self.fills,
            positions=tuple(Position(*(int(v) for v in row[: State.CLOSE])) for row in self.state),
            orders=int(self.counters[Counter.ORDERS]),
            expired_orders=int(self.counters[Counter.EXPIRED]),
            unaffordable_orders=int(self.counters[Counter.UNAFFORDABLE]),
            cancelled_orders=int(self.counters[Counter.CANCELLED]),
            ambiguous_bars=int(self.counters[Counter.AMBIGUOUS]),
            margin_calls=int(self.counters[Counter.MARGIN_CALLS]),
            borrow_cost=int(self.counters[Counter.BORROW]),
            interest=int(self.counters[Counter.INTEREST]),
            charges=dict(zip(self.schedule.heads, self.totals.tolist(), strict=True)),
            assumptions={
                "engine": str(ENGINE_VERSION),
                "fills": "orders meet their first price on the next bar; limits fill on trade-through only",
                "slippage": f"market orders pay {self.slippage.bps} bps, rounded against them to the tick",
                "charges": f"{self.schedule.name}, assessed and rounded per fill",
                "splits": "positions and their exits follow them; other working orders of the instrument are cancelled",
                "sessions": "day orders expire at the end of each trading date; intraday positions are squared off at"
                " its last close",
            }
            | self.terms.assumptions()
            | ({} if self.finer is None else {"finer": f"{self.finer.lacking} bars have no finer ones and stand alone"})
            | (self.terms.contract_assumptions() if self.settings[Setting.CONTRACTS] else {}),
        )
