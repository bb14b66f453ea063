"""What the prices of one bar do to the working orders: fills, the exits they activate, and the exits they cancel.

Every open is shown first, then the extremes, then the close. When only these four are known, their order within the
bar is a policy. PATH: the extreme against the bar's own direction, then the other one. PESSIMISTIC: stops are shown
the extreme that hurts before limits are shown the one that helps, and what an order activated within the bar could
have met before it existed counts against it.
"""

import numpy as np

from app.engine.columns import (
    LIMIT_ORDER,
    MARKET,
    STOP_LIMIT,
    STOP_ORDER,
    Class,
    Counter,
    FillColumn,
    Intrabar,
    Order,
    Reason,
    Role,
    Setting,
    State,
    Static,
    Validity,
)
from app.engine.kernels.book import Book, Market
from app.engine.kernels.charging import charge
from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import inlined, kernel
from app.engine.kernels.matching import match, triggered
from app.engine.kernels.pool import append, away, cancel, on_tick, reduce, sweep
from app.engine.kernels.positions import apply_fill, notional_of, tied, worth_of
from app.engine.layout import BPS, Field

OPEN, HIGH, LOW, CLOSE, VOLUME = (int(f) for f in Field)
HELD, LAST, TRADED, BARS_HELD = (int(c) for c in (State.QUANTITY, State.CLOSE, State.TRADED, State.BARS_HELD))
MULTIPLY, DIVIDE, TICK, LOT = int(Static.MULTIPLY), int(Static.DIVIDE), int(Static.TICK), int(Static.LOT)
UNIT, PRODUCT, CURRENCY = int(Static.UNIT), int(Static.PRODUCT), int(Static.CURRENCY)
POOL, FILLS, UNAFFORDABLE = int(Counter.POOL), int(Counter.FILLS), int(Counter.UNAFFORDABLE)
AMBIGUOUS, EXPIRED = int(Counter.AMBIGUOUS), int(Counter.EXPIRED)
VALIDITY, TILL_CANCELLED, ONE_BAR = int(Order.VALIDITY), int(Validity.TILL_CANCELLED), int(Validity.BAR)
ID, SLOT, SIDE, TYPE, LIMIT, TRIGGER = (int(c) for c in list(Order)[:6])
QUANTITY, REMAINING, BUDGET, ROLE = int(Order.QUANTITY), int(Order.REMAINING), int(Order.BUDGET), int(Order.ROLE)
SEEN, ORDER_REASON, ORDER_ROW = int(Order.SEEN), int(Order.REASON), int(Order.ROW)
UNSURE, STOP, TAKE, TRAIL = int(Order.UNSURE), int(Order.STOP), int(Order.TAKE), int(Order.TRAIL)
(FILL_ROW, FILL_SLOT, FILL_SIDE, FILL_QUANTITY, FILL_PRICE, FILL_NOTIONAL, FILL_CHARGES, FILL_ORDER, FILL_REASON,
 FILL_CAUSE, FILL_CASH) = (int(c) for c in FillColumn)  # fmt: skip
SLIPPAGE, SHORT, MARGIN = int(Setting.SLIPPAGE_BPS), int(Setting.SHORT), int(Setting.MARGIN_BPS)
POLICY, PARTICIPATION = int(Setting.INTRABAR), int(Setting.PARTICIPATION_BPS)
STOP_RELATIVE, TAKE_RELATIVE = int(Setting.STOP_RELATIVE), int(Setting.TAKE_RELATIVE)
TRAIL_RELATIVE, PATH = int(Setting.TRAIL_RELATIVE), int(Intrabar.PATH)
ENTRY, EXIT = int(Role.ENTRY), int(Role.EXIT)
STOP_LOSS, TAKE_PROFIT, TRAILING = int(Reason.STOP_LOSS), int(Reason.TAKE_PROFIT), int(Reason.TRAILING_STOP)
CLASS, EQUITY, CONTRACTS = int(Static.CLASS), int(Class.EQUITY), int(Setting.CONTRACTS)
NO_PRICE = 0


@inlined
def affordable(book: Book, slot: int, side: int, quantity: int, price: int, cost: int) -> bool:
    """May the account carry this fill? Closing is always allowed. Without shorts and margin: the cash must pay for it;
    with them or contracts: afterwards, margin × the value of all positions, and what contracts tie up, must not exceed
    the equity. `cost`: with charges."""
    held = book.state[slot, HELD]
    if held * side < 0 and quantity <= abs(held):
        return True
    margin = book.settings[MARGIN]
    if side > 0 and margin == BPS and book.settings[SHORT] == 0 and book.settings[CONTRACTS] == 0:
        return bool(cost <= book.cash[0])
    notional = notional_of(quantity, price, book.static[slot])
    equity, gross, bound = book.cash[0] - (cost - notional), 0, 0
    for other in range(book.state.shape[0]):
        now, close = book.state[other, HELD], price if other == slot else book.state[other, LAST]
        fixed = book.static[other]
        if now != 0:
            equity += worth_of(book.state[other], close, fixed)
        after = now + side * quantity if other == slot else now
        if after != 0 and fixed[CLASS] == EQUITY:
            gross += abs(notional_of(after, close, fixed))
        elif after != 0:
            bound += tied(after, close, fixed, book.settings)
    return bool(multiply_divide(gross, margin, BPS, True) + bound <= equity)


@kernel
def cost_of(book: Book, slot: int, quantity: int, price: int, side: int, day: int) -> int:
    """What a fill moves, charges included."""
    fixed = book.static[slot]
    notional = notional_of(quantity, price, fixed)
    return notional + charge(
        book.rates, book.units, notional, quantity, fixed[UNIT], side, fixed[PRODUCT], day, book.amounts
    )


@kernel
def bought_for(book: Book, slot: int, budget: int, price: int, side: int, day: int) -> int:
    """The most lots that `budget`, or the cash if it is less, pays for at this price, charges included.

    Scaled down by what it is too dear, until it is not; where roundings took a lot too many away, it comes back.
    """
    fixed, money = book.static[slot], min(budget, book.cash[0])
    lot = fixed[LOT]
    quantity = multiply_divide(money, fixed[DIVIDE], price * fixed[MULTIPLY], False)
    quantity -= quantity % lot
    for _ in range(16):
        if quantity <= 0:
            return 0
        cost = cost_of(book, slot, quantity, price, side, day)
        if cost <= money:
            break
        less = multiply_divide(quantity, money, cost, False)
        quantity = less - less % lot if less < quantity else quantity - lot
    for _ in range(16):
        if cost_of(book, slot, quantity + lot, price, side, day) > money:
            break
        quantity += lot
    return int(quantity)


@inlined
def execute(book: Book, index: int, quantity: int, price: int, cause: int, row: int, day: int) -> bool:
    """Book one fill with its charges. False, and nothing booked, when the account cannot carry it."""
    order = book.pool[index]
    slot, side = order[SLOT], order[SIDE]
    fixed = book.static[slot]
    notional = notional_of(quantity, price, fixed)
    fee = charge(book.rates, book.units, notional, quantity, fixed[UNIT], side, fixed[PRODUCT], day, book.amounts)
    if not affordable(book, slot, side, quantity, price, notional + fee):
        return False
    record(book, index, quantity, price, fee, cause, row)
    return True


@inlined
def record(book: Book, index: int, quantity: int, price: int, fee: int, cause: int, row: int) -> None:
    """Book one fill of an order; the heads of its charges are in `amounts`."""
    order = book.pool[index]
    slot, side = order[SLOT], order[SIDE]
    own, fixed = book.state[slot], book.static[slot]
    for head in range(book.totals.shape[0]):
        book.totals[head] += book.amounts[head]
    held = own[HELD]
    book.cash[fixed[CURRENCY]] += apply_fill(own, fixed, side, quantity, price) - fee
    own[TRADED] += quantity
    if held * own[HELD] <= 0:
        own[BARS_HELD] = 0
    reduce(book, index, quantity)
    fill = book.fills[book.counters[FILLS]]
    fill[FILL_ROW], fill[FILL_SLOT], fill[FILL_SIDE], fill[FILL_QUANTITY] = row, slot, side, quantity
    fill[FILL_PRICE], fill[FILL_NOTIONAL], fill[FILL_CHARGES] = price, notional_of(quantity, price, fixed), fee
    fill[FILL_ORDER], fill[FILL_REASON], fill[FILL_CAUSE] = order[ID], order[ORDER_REASON], cause
    fill[FILL_CASH] = book.cash[fixed[CURRENCY]]
    book.counters[FILLS] += 1


@kernel
def exit_of(book: Book, slot: int, kind: int) -> int:
    """The place of the slot's working exit of this type, or -1."""
    for index in range(book.counters[POOL]):
        order = book.pool[index]
        if order[SLOT] == slot and order[ROLE] == EXIT and order[TYPE] == kind and order[REMAINING] > 0:
            return index
    return -1


@kernel
def exit_for(book: Book, slot: int, side: int, kind: int, quantity: int, row: int) -> int:
    """The place of the slot's exit of this type, raised by the quantity, or of a new one."""
    at = exit_of(book, slot, kind)
    if at >= 0:
        book.pool[at, QUANTITY] += quantity
        book.pool[at, REMAINING] += quantity
        return at
    at = append(book, slot, side, kind, quantity, EXIT, STOP_LOSS, row)
    book.pool[at, SEEN], book.pool[at, VALIDITY] = 1, TILL_CANCELLED
    return at


@kernel
def activate(book: Book, index: int, quantity: int, price: int, row: int, within: bool) -> None:
    """After a fill of an entry: raise its exits by the quantity, or make them, at distances from this price.

    A stop-loss and a trailing stop are one stop order, at the nearer of the two. `within`: the fill came after the
    bar's open, so that some of the bar's prices may have come before it.
    """
    entry = book.pool[index]
    slot, side, settings, tick = entry[SLOT], entry[SIDE], book.settings, book.static[entry[SLOT], TICK]
    loss, trail = away(price, entry[STOP], settings[STOP_RELATIVE]), away(price, entry[TRAIL], settings[TRAIL_RELATIVE])
    if loss > 0 or trail > 0:
        fresh = exit_of(book, slot, STOP_ORDER) < 0
        order = book.pool[exit_for(book, slot, -side, STOP_ORDER, quantity, row)]
        if fresh:
            nearer = trail if loss == 0 or 0 < trail < loss else loss
            order[ORDER_REASON] = STOP_LOSS if nearer == loss else TRAILING
            order[TRIGGER], order[TRAIL] = on_tick(price - side * nearer, tick, -side), trail
            order[UNSURE] = 1 if within and entry[TYPE] == STOP_ORDER else 0
    gain = away(price, entry[TAKE], settings[TAKE_RELATIVE])
    if gain > 0:
        fresh = exit_of(book, slot, LIMIT_ORDER) < 0
        order = book.pool[exit_for(book, slot, -side, LIMIT_ORDER, quantity, row)]
        if fresh:
            order[ORDER_REASON], order[LIMIT] = TAKE_PROFIT, on_tick(price + side * gain, tick, side)
            order[UNSURE] = 1 if within and entry[TYPE] == LIMIT_ORDER else 0


@kernel
def within_reach(book: Book, index: int, low: int, high: int) -> bool:
    """Could the bar's range fill this working exit?"""
    order = book.pool[index]
    if order[TYPE] == STOP_ORDER:
        return bool(order[TRIGGER] >= low if order[SIDE] < 0 else order[TRIGGER] <= high)
    return bool(order[TYPE] == LIMIT_ORDER and (high > order[LIMIT] if order[SIDE] < 0 else low < order[LIMIT]))


@kernel
def settle_exit(book: Book, market: Market, index: int, quantity: int, row: int, step: int) -> None:
    """After a fill of an exit: the slot's other exits lose that quantity, and what is left of its entry is cancelled.

    Within the bar, another exit that its range could have filled too makes the bar ambiguous.
    """
    filled = book.pool[index]
    slot = filled[SLOT]
    low, high = market.fields[LOW, slot, row], market.fields[HIGH, slot, row]
    ambiguous = 0 < step < 3 and filled[UNSURE] == 1  # at the close nothing is unsure
    for other in range(book.counters[POOL]):
        order = book.pool[other]
        if other == index or order[SLOT] != slot or order[REMAINING] == 0:
            continue
        if order[ROLE] == EXIT:
            ambiguous |= step > 0 and within_reach(book, other, low, high)
            reduce(book, other, min(quantity, order[REMAINING]))
        elif order[ROLE] == ENTRY and order[SIDE] != filled[SIDE]:
            reduce(book, other, order[REMAINING])
    if ambiguous:
        book.counters[AMBIGUOUS] += 1


@inlined
def shown(book: Book, market: Market, index: int, row: int, step: int) -> int:
    """The price that an order sees at a step: 0 open, 1 and 2 extremes, 3 close; 0 for none."""
    order = book.pool[index]
    slot, side, kind = order[SLOT], order[SIDE], order[TYPE]
    fields = market.fields
    if step == 0:
        return int(fields[OPEN, slot, row])
    if step == 3:
        return int(fields[CLOSE, slot, row])
    if kind == MARKET:
        return NO_PRICE
    if book.settings[POLICY] == PATH:
        rising = fields[CLOSE, slot, row] >= fields[OPEN, slot, row]
        return int(fields[LOW if (step == 1) == rising else HIGH, slot, row])
    if kind == LIMIT_ORDER:
        if step == 1:
            return NO_PRICE
        price = int(fields[LOW if side > 0 else HIGH, slot, row])
        if order[UNSURE] == 1:
            close = fields[CLOSE, slot, row]
            if (order[LIMIT] - price) * side > 0 and (order[LIMIT] - close) * side <= 0:
                book.counters[AMBIGUOUS] += 1
            return NO_PRICE
        return price
    return int(fields[HIGH if side > 0 else LOW, slot, row])


@inlined
def meet(order, price: int, first: bool, fresh: bool, tick: int, bps: int) -> tuple[int, int]:  # type: ignore[no-untyped-def]
    """(price, cause) of an order's fill at a price it is shown; price 0: none. A stop-limit that is triggered beyond
    its limit becomes a limit order and rests."""
    kind = order[TYPE]
    if kind < STOP_ORDER:
        return match(order[SIDE], kind, order[LIMIT], price, first, fresh, tick, bps)
    paid, cause = triggered(order[SIDE], order[TRIGGER], price, first, tick, bps)
    if kind == STOP_LIMIT and paid != 0:
        order[TYPE] = LIMIT_ORDER
        if (order[LIMIT] - paid) * order[SIDE] < 0:
            return NO_PRICE, cause
    return paid, cause


@inlined
def fillable(book: Book, market: Market, index: int, row: int, price: int) -> int:
    """How much of an order may fill on this bar: what remains, within its budget and the share of the bar's volume."""
    order = book.pool[index]
    slot = order[SLOT]
    if order[BUDGET] > 0:
        most = bought_for(book, slot, order[BUDGET], price, order[SIDE], market.days[row])
        reduce(book, index, order[REMAINING] - max(most, 1))
        if most == 0:
            return 0
    quantity = order[REMAINING]
    if book.settings[PARTICIPATION] > 0:
        cap = multiply_divide(market.fields[VOLUME, slot, row], book.settings[PARTICIPATION], BPS, False)
        cap -= cap % book.static[slot, LOT] + book.state[slot, TRADED]
        quantity = min(quantity, max(cap, 0))
    return int(quantity)


@inlined
def fill(book: Book, market: Market, index: int, price: int, cause: int, row: int, step: int) -> None:
    """Fill what may be filled of an order at `price`. One that the account cannot carry is dropped and counted."""
    order = book.pool[index]
    quantity = fillable(book, market, index, row, price)
    capped = book.settings[PARTICIPATION] > 0 and quantity == 0
    if capped and order[BUDGET] == 0:
        return
    if quantity == 0 or not execute(book, index, quantity, price, cause, row, market.days[row]):
        book.counters[UNAFFORDABLE] += 1
        reduce(book, index, order[REMAINING])
    elif order[ROLE] == ENTRY:
        activate(book, index, quantity, price, row, step > 0)
    elif order[ROLE] == EXIT:
        settle_exit(book, market, index, quantity, row, step)


@inlined
def age(book: Book, market: Market, row: int) -> None:
    """After the bar: orders for one bar expire; trailing stops follow its best price, on the bar of their activation
    its close."""
    for index in range(book.counters[POOL]):
        order = book.pool[index]
        slot, side = order[SLOT], order[SIDE]
        order[UNSURE] = 0
        if order[VALIDITY] == ONE_BAR and order[SEEN] == 1 and order[REMAINING] > 0:
            book.counters[EXPIRED] += 1
            reduce(book, index, order[REMAINING])
        if order[TRAIL] == 0 or order[ROLE] != EXIT or market.valid[slot, row] == 0:
            continue
        best = market.fields[CLOSE if order[ORDER_ROW] == row else (HIGH if side < 0 else LOW), slot, row]
        trigger = on_tick(best + side * order[TRAIL], book.static[slot, TICK], side)
        if (trigger - order[TRIGGER]) * side < 0:
            order[TRIGGER], order[ORDER_REASON] = trigger, TRAILING


@inlined
def present(book: Book, market: Market, index: int, row: int, step: int) -> None:
    """Show one order the price of a step."""
    order = book.pool[index]
    slot = order[SLOT]
    if order[REMAINING] == 0 or market.valid[slot, row] == 0:
        return
    price = shown(book, market, index, row, step)
    fresh = order[SEEN] == 0
    order[SEEN] = 1
    paid, cause = meet(order, price, step == 0, fresh, book.static[slot, TICK], book.settings[SLIPPAGE])
    if paid != 0:
        fill(book, market, index, paid, cause, row, step)


@inlined
def trade(book: Book, market: Market, row: int) -> None:
    """Show the row's prices to the working orders: at each step to the exits, then to the others and what they
    activate."""
    for slot in range(book.state.shape[0]):
        book.state[slot, TRADED] = 0
    for step in range(4):
        before, alive = book.counters[POOL], False
        for others in range(2):
            index = 0
            while index < (book.counters[POOL] if others == 1 else before):
                exits = book.pool[index, ROLE] == EXIT and index < before
                if exits != (others == 1):
                    present(book, market, index, row, step)
                    alive = alive or book.pool[index, REMAINING] > 0
                index += 1
        if not alive:
            break
    age(book, market, row)
    sweep(book)


@kernel
def liquidate(book: Book, market: Market, slot: int, reason: int, row: int) -> None:
    """Close a slot's position at the row's close, slipped, and cancel its orders."""
    cancel(book, slot, -1)
    held = book.state[slot, HELD]
    if held == 0 or market.valid[slot, row] == 0:
        return
    side = -1 if held > 0 else 1
    at = append(book, slot, side, MARKET, abs(held), EXIT, reason, row)
    price = market.fields[CLOSE, slot, row]
    paid, cause = match(side, MARKET, 0, price, True, True, book.static[slot, TICK], book.settings[SLIPPAGE])
    execute(book, at, abs(held), paid, cause, row, market.days[row])
