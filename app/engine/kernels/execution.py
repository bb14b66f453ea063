"""What the prices of one bar do to the working orders: fills, the exits they activate, and the exits they cancel.

Every open is shown first, then the extremes, then the close. When only these four are known, their order within the
bar is a policy. PATH: the extreme against the bar's own direction, then the other one. PESSIMISTIC: stops are shown
the extreme that hurts before limits are shown the one that helps, and what an order activated within the bar could
have met before it existed counts against it. LOWER: finer bars come in turn, each pessimistic.
"""

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
from app.engine.kernels.book import Bar, Book, Market
from app.engine.kernels.charging import charge
from app.engine.kernels.exits import activate, resume, settle_exit
from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import inlined, kernel
from app.engine.kernels.matching import match, triggered
from app.engine.kernels.pool import append, cancel, on_tick, reduce, sweep
from app.engine.kernels.positions import apply_notional, notional_of, tied, worth_of
from app.engine.layout import BPS, Field

OPEN, HIGH, LOW, CLOSE, VOLUME = (int(f) for f in Field)
HELD, LAST, TRADED, BARS_HELD = (int(c) for c in (State.QUANTITY, State.CLOSE, State.TRADED, State.BARS_HELD))
OPENED = int(State.OPENED)
MULTIPLY, DIVIDE, TICK, LOT = int(Static.MULTIPLY), int(Static.DIVIDE), int(Static.TICK), int(Static.LOT)
UNIT, PRODUCT, CURRENCY = int(Static.UNIT), int(Static.PRODUCT), int(Static.CURRENCY)
POOL, FILLS, UNAFFORDABLE = int(Counter.POOL), int(Counter.FILLS), int(Counter.UNAFFORDABLE)
AMBIGUOUS, EXPIRED = int(Counter.AMBIGUOUS), int(Counter.EXPIRED)
ID, SLOT, SIDE, TYPE, LIMIT, TRIGGER = (int(c) for c in list(Order)[:6])
REMAINING, BUDGET, ROLE, TRAIL = int(Order.REMAINING), int(Order.BUDGET), int(Order.ROLE), int(Order.TRAIL)
SEEN, ORDER_REASON, UNSURE = int(Order.SEEN), int(Order.REASON), int(Order.UNSURE)
VALIDITY, ONE_BAR = int(Order.VALIDITY), int(Validity.BAR)
(FILL_ROW, FILL_SLOT, FILL_SIDE, FILL_QUANTITY, FILL_PRICE, FILL_NOTIONAL, FILL_CHARGES, FILL_ORDER, FILL_REASON,
 FILL_CAUSE, FILL_CASH) = (int(c) for c in FillColumn)  # fmt: skip
SLIPPAGE, SHORT, MARGIN = int(Setting.SLIPPAGE_BPS), int(Setting.SHORT), int(Setting.MARGIN_BPS)
POLICY, PARTICIPATION = int(Setting.INTRABAR), int(Setting.PARTICIPATION_BPS)
PATH, LOWER = int(Intrabar.PATH), int(Intrabar.LOWER)
ENTRY, EXIT, TRAILING = int(Role.ENTRY), int(Role.EXIT), int(Reason.TRAILING_STOP)
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


@inlined
def cost_of(book: Book, slot: int, quantity: int, price: int, side: int, day: int) -> int:
    """What a fill moves, charges included."""
    fixed = book.static[slot]
    notional = notional_of(quantity, price, fixed)
    return notional + charge(
        book.rates, book.units, notional, quantity, fixed[UNIT], side, fixed[PRODUCT], day, book.amounts
    )


@inlined
def bought_for(book: Book, slot: int, budget: int, price: int, side: int, day: int) -> int:
    """The most lots that `budget`, or the cash if it is less, pays for at this price, charges included.

    Scaled down by what it is too dear, until it is not; where roundings took a lot too many away, it comes back.
    """
    fixed, money = book.static[slot], min(budget, book.cash[0])
    lot = fixed[LOT]
    quantity = multiply_divide(money, fixed[DIVIDE], price * fixed[MULTIPLY], False)
    quantity -= quantity % lot
    cost = 0
    for _ in range(16):
        if quantity <= 0:
            return 0
        cost = cost_of(book, slot, quantity, price, side, day)
        if cost <= money:
            break
        less = multiply_divide(quantity, money, cost, False)
        quantity = less - less % lot if less < quantity else quantity - lot
    if money - cost < notional_of(lot, price, fixed) - 1:  # a lot more costs as much, but for a rounding
        return int(quantity)
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
    held, notional = own[HELD], notional_of(quantity, price, fixed)
    book.cash[fixed[CURRENCY]] += apply_notional(own, fixed, side, quantity, notional) - fee
    own[TRADED] += quantity
    if held * own[HELD] <= 0:
        own[BARS_HELD] = 0
    reduce(book, index, quantity)
    fill = book.fills[book.counters[FILLS]]
    fill[FILL_ROW], fill[FILL_SLOT], fill[FILL_SIDE], fill[FILL_QUANTITY] = row, slot, side, quantity
    fill[FILL_PRICE], fill[FILL_NOTIONAL], fill[FILL_CHARGES] = price, notional, fee
    fill[FILL_ORDER], fill[FILL_REASON], fill[FILL_CAUSE] = order[ID], order[ORDER_REASON], cause
    fill[FILL_CASH] = book.cash[fixed[CURRENCY]]
    book.counters[FILLS] += 1


@inlined
def shown(book: Book, bar: Bar, index: int, step: int) -> int:
    """The price that an order sees at a step: 0 open, 1 and 2 extremes, 3 close; 0 for none."""
    order = book.pool[index]
    slot, side, kind = order[SLOT], order[SIDE], order[TYPE]
    fields, row = bar.fields, bar.at
    if step == 0:
        return int(book.state[slot, OPENED])
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
def fillable(book: Book, bar: Bar, index: int, price: int) -> int:
    """How much of an order may fill on this bar: what remains, within its budget and the share of the bar's volume."""
    order = book.pool[index]
    slot = order[SLOT]
    if order[BUDGET] > 0:
        most = bought_for(book, slot, order[BUDGET], price, order[SIDE], bar.day)
        reduce(book, index, order[REMAINING] - max(most, 1))
        if most == 0:
            return 0
    quantity = order[REMAINING]
    if book.settings[PARTICIPATION] > 0:
        cap = multiply_divide(bar.fields[VOLUME, slot, bar.at], book.settings[PARTICIPATION], BPS, False)
        cap -= cap % book.static[slot, LOT] + book.state[slot, TRADED]
        quantity = min(quantity, max(cap, 0))
    return int(quantity)


@inlined
def fill(book: Book, bar: Bar, index: int, price: int, cause: int, step: int) -> None:
    """Fill what may be filled of an order at `price`. One that the account cannot carry is dropped and counted."""
    order = book.pool[index]
    quantity = fillable(book, bar, index, price)
    capped = book.settings[PARTICIPATION] > 0 and quantity == 0
    if capped and order[BUDGET] == 0:
        return
    if quantity == 0 or not execute(book, index, quantity, price, cause, bar.row, bar.day):
        book.counters[UNAFFORDABLE] += 1
        reduce(book, index, order[REMAINING])
    elif order[ROLE] == ENTRY:
        activate(book, index, quantity, price, bar.row, step > 0)
    elif order[ROLE] == EXIT:
        settle_exit(book, bar, index, quantity, step)


@inlined
def follow(book: Book, bar: Bar, before: int) -> None:
    """After the bar: trailing stops follow its best price; those it activated, from place `before` on, its close."""
    for index in range(book.counters[POOL]):
        order = book.pool[index]
        slot, side = order[SLOT], order[SIDE]
        order[UNSURE] = 0
        if order[TRAIL] == 0 or order[ROLE] != EXIT or bar.valid[slot, bar.at] == 0:
            continue
        best = bar.fields[CLOSE if index >= before else (HIGH if side < 0 else LOW), slot, bar.at]
        trigger = on_tick(best + side * order[TRAIL], book.static[slot, TICK], side)
        if (trigger - order[TRIGGER]) * side < 0:
            order[TRIGGER], order[ORDER_REASON] = trigger, TRAILING


@inlined
def age(book: Book) -> None:
    """After the row: orders for one bar expire."""
    for index in range(book.counters[POOL]):
        order = book.pool[index]
        if order[VALIDITY] == ONE_BAR and order[SEEN] == 1 and order[REMAINING] > 0:
            book.counters[EXPIRED] += 1
            if not resume(book, index):
                reduce(book, index, order[REMAINING])


@inlined
def present(book: Book, bar: Bar, index: int, step: int) -> None:
    """Show one order the price of a step."""
    order = book.pool[index]
    slot = order[SLOT]
    if order[REMAINING] == 0 or bar.valid[slot, bar.at] == 0:
        return
    price = shown(book, bar, index, step)
    fresh = order[SEEN] == 0
    order[SEEN] = 1
    paid, cause = meet(order, price, step == 0, fresh, book.static[slot, TICK], book.settings[SLIPPAGE])
    if paid != 0:
        fill(book, bar, index, paid, cause, step)


@inlined
def walk(book: Book, bar: Bar) -> bool:
    """Show a bar's prices to the working orders: at each step to the exits, then to the others and what they activate.
    Does any order still work?"""
    arrived = book.counters[POOL]
    for index in range(arrived):  # opens lie far apart in memory: asked for together, they come together
        slot = book.pool[index, SLOT]
        book.state[slot, OPENED], book.state[slot, TRADED] = bar.fields[OPEN, slot, bar.at], 0
    for step in range(4):
        before, alive = book.counters[POOL], False
        for others in range(2):
            index = 0
            while index < (book.counters[POOL] if others == 1 else before):
                exits = book.pool[index, ROLE] == EXIT and index < before
                if exits != (others == 1):
                    present(book, bar, index, step)
                    alive = alive or book.pool[index, REMAINING] > 0
                index += 1
        if not alive:
            return False
    follow(book, bar, arrived)
    return True


@inlined
def trade(book: Book, market: Market, row: int) -> None:
    """Show the row's bars to the working orders. LOWER: first those that have no finer ones, then the finer bars in
    turn."""
    lower, first, last, alive = book.settings[POLICY] == LOWER, 0, 0, True
    if lower:
        first, last = market.spans[row], market.spans[row + 1]
    own = Bar(market.fields, market.alone if lower else market.valid, row, row, market.days[row])
    for at in range(first - 1, last):
        bar = own if at < first else Bar(market.finer, market.finer_valid, at, row, market.days[row])
        alive = walk(book, bar)
        if not alive:
            break
    if alive:
        age(book)
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
