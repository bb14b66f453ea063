"""The decision from a book; and a paper driver made of the plain public functions that equals the backtest."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from app.engine.apply import FLAT, Position, apply_fill, apply_split
from app.engine.bars import EPOCH, Bars, Split
from app.engine.columns import Intrabar
from app.engine.decision import Book, Holding, decide
from app.engine.fills import SlippageModel, bar_path, match
from app.engine.instruments import Instrument
from app.engine.layout import WEIGHT, Flag
from app.engine.program import Program, compile_program
from app.engine.runtime import ProgramRuntime, Signals
from app.engine.schedule import charges, schedule_named
from app.engine.simulation import backtest
from app.engine.terms import Terms
from app.kernel.errors import DomainError
from app.kernel.money import Rounding, divide
from app.kernel.orders import Intent, OrderType, Side

Maker = Callable[..., Bars]
Slots = Callable[..., list[Instrument]]
Documents = Callable[..., dict[str, Any]]


def signals(*pairs: tuple[float, Flag]) -> Signals:
    return Signals(tuple(round(w * WEIGHT) for w, _ in pairs), tuple(f for _, f in pairs))


def ask(document: dict[str, Any], slots: list[Instrument], said: Signals, *held: Holding, **cash: int) -> list[Intent]:
    return decide(compile_program(document), slots, said, Book(cash.pop("cash", 10_000_00), held, **cash))


def test_an_entry_is_sized_in_lots_below_the_reserve(program_of: Documents, slots: Slots) -> None:
    said = signals((0.5, Flag.REBALANCE))
    (intent,) = ask(program_of(1), slots(1, lot=10), said, Holding(close=30_0000))
    assert (intent.side, intent.quantity, intent.reason) == (Side.BUY, 160, "enter")  # 4,950 / 30 = 165
    assert (intent.order_type, intent.limit_price, intent.leg) == (OrderType.MARKET, None, 0)


def test_a_position_of_fixed_units_does_not_follow_the_equity(program_of: Documents, slots: Slots) -> None:
    document = program_of(1) | {"sizing": {"type": "units", "units": 150}}
    for weight, cash, wanted in ((1.0, 10_000_00, 150), (0.5, 10_000_00, 70), (1.0, 1_000_00, 90)):
        said = signals((weight, Flag.REBALANCE))
        (intent,) = ask(document, slots(1, lot=10), said, Holding(close=10_0000), cash=cash)
        assert intent.quantity == wanted, "whole lots, as far as the cash goes"
    (sale,) = ask(document, slots(1), signals((0.0, Flag.REBALANCE)), Holding(400, 10_0000))
    assert (sale.side, sale.quantity) == (Side.SELL, 400)


def test_sells_come_before_buys_and_legs_count_up(program_of: Documents, slots: Slots) -> None:
    said = signals((0.2, Flag.REBALANCE), (0.0, Flag.REBALANCE), (0.2, Flag.REBALANCE))
    book = [Holding(close=10_0000), Holding(50, 10_0000), Holding(100, 50_0000)]
    intents = ask(program_of(1), slots(3), said, *book)
    assert [(i.leg, i.instrument_id.int, i.side, i.reason) for i in intents] == [
        (0, 2, Side.SELL, "exit"),
        (1, 3, Side.SELL, "reduce"),
        (2, 1, Side.BUY, "enter"),
    ]


def test_nothing_is_asked_for_between_rebalances(program_of: Documents, slots: Slots) -> None:
    held = Holding(10, 30_0000)
    assert ask(program_of(1), slots(1), signals((0.5, Flag.HOLD)), held) == []
    assert ask(program_of(1), slots(1), signals((0.0, Flag.UNKNOWN)), held) == []
    assert ask(program_of(1), slots(1), signals((0.5, Flag.REBALANCE)), Holding()) == []


def test_an_exit_is_repeated_until_flat_but_not_doubled(program_of: Documents, slots: Slots) -> None:
    said = signals((0.0, Flag.HOLD))
    (intent,) = ask(program_of(1), slots(1, lot=10), said, Holding(15, 30_0000))
    assert (intent.side, intent.quantity) == (Side.SELL, 15)
    assert ask(program_of(1), slots(1), said, Holding(15, 30_0000, open_sell=15)) == []
    assert ask(program_of(1), slots(1), said, Holding(0, 30_0000)) == []


def test_working_orders_count_as_done(program_of: Documents, slots: Slots) -> None:
    said = signals((0.5, Flag.REBALANCE))
    assert ask(program_of(1), slots(1), said, Holding(close=30_0000, open_buy=165), reserved=4950_00) == []
    (more,) = ask(program_of(1), slots(1), said, Holding(close=30_0000, open_buy=100), reserved=3000_00)
    assert more.quantity == 65


def test_a_position_is_never_sold_short(program_of: Documents, slots: Slots) -> None:
    said = signals((0.01, Flag.REBALANCE))
    (intent,) = ask(program_of(1), slots(1), said, Holding(10, 300_0000, open_sell=4), cash=1)
    assert (intent.side, intent.quantity) == (Side.SELL, 6)


def test_buys_share_the_cash_there_is(program_of: Documents, slots: Slots) -> None:
    said = signals((0.5, Flag.REBALANCE), (0.5, Flag.REBALANCE), (0.0, Flag.REBALANCE))
    book = [Holding(close=10_0000), Holding(close=20_0000), Holding(900, 10_0000)]
    intents = ask(program_of(1), slots(3), said, *book, cash=1000_00)
    bought = [i for i in intents if i.side is Side.BUY]
    assert [i.quantity for i in bought] == [49, 24]
    assert ask(program_of(1), slots(3), said, *book, cash=1000_00, reserved=2000_00)[1:] == []


def test_small_adjustments_are_left_out_but_exits_are_not(program_of: Documents, slots: Slots) -> None:
    document = program_of(1, tolerance_bps=100)
    held = Holding(163, 30_0000)
    assert ask(document, slots(1), signals((0.5, Flag.REBALANCE)), held, cash=5110_00) == []
    (intent,) = ask(document, slots(1), signals((0.0, Flag.REBALANCE)), Holding(1, 30_0000))
    assert intent.reason == "exit"


def test_limits_are_better_than_the_close(program_of: Documents, slots: Slots) -> None:
    document = program_of(1, order={"type": "limit", "offset_bps": 50})
    said = signals((0.2, Flag.REBALANCE), (0.0, Flag.REBALANCE))
    sell, buy = ask(document, slots(2), said, Holding(close=33_3300), Holding(5, 33_3300))
    assert (sell.order_type, sell.limit_price) == (OrderType.LIMIT, 33_5000)
    assert buy.limit_price == 33_1600


def test_an_account_without_equity_buys_nothing(program_of: Documents, slots: Slots) -> None:
    assert ask(program_of(1), slots(1), signals((0.5, Flag.REBALANCE)), Holding(close=30_0000), cash=0) == []


def test_a_book_of_another_width_is_refused(program_of: Documents, slots: Slots) -> None:
    with pytest.raises(DomainError, match="agree in number"):
        ask(program_of(1), slots(2), signals((0.5, Flag.REBALANCE)), Holding())


class Paper:
    """A venue and its account from the plain functions alone, as live processes put them together."""

    def __init__(self, program: Program, slots: list[Instrument], cash: int, slippage: SlippageModel) -> None:
        self.program, self.slots, self.cash, self.slippage = program, slots, cash, slippage
        self.runtime = ProgramRuntime(program, slots)
        self.schedule = schedule_named("us_equity")
        self.positions: list[Position] = [FLAT] * len(slots)
        self.closes = [0] * len(slots)
        self.working: list[Intent] = []
        self.day_orders = True
        self.fills: list[tuple[int, ...]] = []

    def split(self, slot: int, numerator: int, denominator: int) -> None:
        price = divide(self.closes[slot] * denominator, numerator, Rounding.HALF_UP)
        applied = apply_split(
            self.positions[slot],
            numerator=numerator,
            denominator=denominator,
            price=price,
            scale=self.slots[slot].scale,
        )
        self.positions[slot], self.closes[slot] = applied.position, price
        self.cash += applied.cash
        self.working = [order for order in self.working if order.instrument_id.int - 1 != slot]

    def open(self, slot: int, side: Side) -> int:
        found = [order for order in self.working if order.instrument_id.int - 1 == slot and order.side is side]
        return sum(order.quantity for order in found)

    def reserved(self) -> int:
        total = 0
        for order in self.working:
            if order.side is Side.BUY:
                slot = order.instrument_id.int - 1
                price = self.closes[slot] if order.limit_price is None else order.limit_price
                total += self.slots[slot].scale.notional(order.quantity, price)
        return total

    def bar(self, row: int, day: date, rows: list[tuple[int, ...] | None], splits: list[Split]) -> int:
        for one in splits:
            self.split(one.slot, one.numerator, one.denominator)
        paths = [
            bar_path(**dict(zip(("open", "high", "low", "close", "volume"), r, strict=True))) if r else () for r in rows
        ]
        for step in range(4):
            for order in list(self.working):
                slot = order.instrument_id.int - 1
                if not paths[slot]:
                    continue
                event = paths[slot][step]
                filled = match(
                    side=order.side, order_type=order.order_type, limit_price=order.limit_price,
                    remaining=order.quantity, price=event.price, volume=event.volume, first=event.first,
                    first_after_arrival=step == 0, tick=self.slots[slot].tick, slippage=self.slippage,
                )  # fmt: skip
                if filled:
                    self.working.remove(order)
                    self.book(row, day, slot, order, *filled)
        for slot, one_row in enumerate(rows):
            self.closes[slot] = one_row[3] if one_row else self.closes[slot]
        self.working = [] if self.day_orders else self.working
        said = self.runtime.on_bar(day, rows, [(s.slot, s.numerator, s.denominator) for s in splits])
        held = tuple(
            Holding(p.quantity, self.closes[i], self.open(i, Side.BUY), self.open(i, Side.SELL))
            for i, p in enumerate(self.positions)
        )
        self.working += decide(self.program, self.slots, said, Book(self.cash, held, self.reserved()))
        worth = [
            s.scale.notional(p.quantity, c) for s, p, c in zip(self.slots, self.positions, self.closes, strict=True)
        ]
        return self.cash + sum(worth)

    def book(self, row: int, day: date, slot: int, order: Intent, price: int, quantity: int) -> None:
        one = self.slots[slot]
        applied = apply_fill(self.positions[slot], side=order.side, quantity=quantity, price=price, scale=one.scale)
        fee = charges(
            self.schedule, notional=abs(applied.cash), quantity=quantity, side=order.side, product=one.product, on=day
        ).total
        if self.cash + applied.cash - fee < 0:
            return
        self.positions[slot] = applied.position
        self.cash += applied.cash - fee
        self.fills.append((row, slot, order.side.sign, quantity, price, abs(applied.cash), fee))


@pytest.mark.parametrize("order", [{"type": "market"}, {"type": "limit", "offset_bps": 30}])
@pytest.mark.parametrize("rebalance", ["on_change", "monthly"])
@pytest.mark.parametrize("day_orders", [True, False])
def test_a_paper_driver_fills_exactly_what_the_backtest_fills(
    bars_of: Maker, slots: Slots, cross_program: Documents, order: dict[str, Any], rebalance: str, day_orders: bool
) -> None:
    bars = bars_of(1200, 3, seed=21, move=0.01)
    splits = [Split(300, 0, 2, 1), Split(700, 2, 1, 3)]
    program = compile_program(cross_program(3, 10, weight=1 / 3, order=order, rebalance=rebalance))
    slippage = SlippageModel(4)
    expected = backtest(
        program, bars, instruments=slots(3), cash=100_000_00, schedule=schedule_named("us_equity"), events=splits,
        slippage=slippage, sessions=None if day_orders else [], terms=Terms(intrabar=Intrabar.PATH),
    )  # fmt: skip
    paper = Paper(program, slots(3), 100_000_00, slippage)
    paper.day_orders = day_orders
    equity = []
    for row in range(bars.rows):
        rows: list[tuple[int, ...] | None] = [tuple(int(v) for v in bars.fields[:, s, row]) for s in range(3)]
        day = date.fromordinal(int(bars.days[row]) + EPOCH)
        equity.append(paper.bar(row, day, rows, [s for s in splits if s.row == row]))
    assert paper.fills == [tuple(row[:7]) for row in expected.fills.tolist()]
    assert equity == expected.equity.tolist()
    assert paper.positions == list(expected.positions)
    assert len(paper.fills) > 30
