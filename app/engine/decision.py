"""The decision for live and paper: from one bar's signals and the book to intents, through the simulator's own kernel.

Who calls this owns the cancelling of resting orders; what still works counts as done here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.engine.columns import INTENDED, LIMIT_ORDER, STATE, Intended, Reason, Setting, State
from app.engine.instruments import Instrument, static_array
from app.engine.program import Program
from app.engine.runtime import Signals
from app.kernel.errors import invalid
from app.kernel.orders import Intent, OrderType, Side


@dataclass(frozen=True, slots=True)
class Holding:
    """One slot of the book: signed quantity, last close (0: none yet), working quantities to buy and to sell."""

    quantity: int = 0
    close: int = 0
    open_buy: int = 0
    open_sell: int = 0


@dataclass(frozen=True, slots=True)
class Book:
    """What a deployment has: all its settled cash, what working orders hold of it (minor units), and its slots."""

    cash: int
    holdings: tuple[Holding, ...]
    reserved: int = 0


def decide(program: Program, instruments: Sequence[Instrument], signals: Signals, book: Book) -> list[Intent]:
    """The orders this bar asks for, sells before buys, each side in slot order; `leg` counts from 0.

    Sizing is the kernel's (`app.engine.kernels.sizing`): whole lots of weight × equity at the last closes less the
    program's reserve, buys within the spendable cash. The same arguments always give the same intents.
    """
    slots = len(instruments)
    if any(one.is_contract for one in instruments):
        raise invalid(
            "unsupported_instrument", "Futures and options run in backtests only so far.", param="instruments"
        )
    if not len(signals.weights) == len(book.holdings) == slots:
        raise invalid("invalid_book", "Signals, holdings and instruments must agree in number.", param="book")
    from app.engine.kernels import native

    state = np.zeros((slots, STATE), np.int64)
    for row, holding in zip(state, book.holdings, strict=True):
        row[State.QUANTITY], row[State.CLOSE] = holding.quantity, holding.close
        row[State.OPEN_BUY], row[State.OPEN_SELL] = holding.open_buy, holding.open_sell
    intents = np.zeros((slots, INTENDED), np.int64)
    weights, flags = np.array([signals.weights], np.int64).T, np.array([signals.flags], np.uint8).T
    arrays = (weights.copy(), flags.copy(), state, static_array(instruments), program.settings, intents)
    count = native.bind("decide", *arrays)(0, book.cash, book.reserved)
    limited = program.settings[Setting.ORDER_TYPE] == LIMIT_ORDER
    return [_intent(row, leg, instruments, limited) for leg, row in enumerate(intents[:count].tolist())]


def _intent(row: list[int], leg: int, instruments: Sequence[Instrument], limited: bool) -> Intent:
    return Intent(
        instrument_id=instruments[row[Intended.SLOT]].instrument_id,
        side=Side.BUY if row[Intended.SIDE] > 0 else Side.SELL,
        quantity=row[Intended.QUANTITY],
        order_type=OrderType.LIMIT if limited else OrderType.MARKET,
        limit_price=row[Intended.LIMIT] if limited else None,
        leg=leg,
        reason=Reason(row[Intended.REASON]).name.lower(),
    )
