"""Decides what the engine can trade, and turns instruments into the static array. Refusals name the reason.

A future is not paid for: it ties up margin, and its profit and loss are what moves cash, when a part is closed; until
then they are in the equity, at each close. An option is paid for in full, and its writer receives the premium and ties
up margin. Both end with an `Expiry`, settled in cash.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import gcd
from uuid import UUID

import numpy as np

from app.engine.apply import ONE, Scale
from app.engine.bars import AnyEvent, Dividend, Expiry, Int64, SessionClose, Split
from app.engine.columns import STATIC, Class, Static
from app.engine.layout import FIELDS, PRICE_LIMIT, Field
from app.kernel.errors import invalid
from app.kernel.money import currency_exponent
from app.kernel.orders import Product


@dataclass(frozen=True, slots=True)
class Instrument:
    """One slot of a run. `tick` at `price_exp`, `lot` at `qty_exp`. `kind`: `equity`, `future` or `option`.

    `multiplier`: money per unit of price and quantity. An index future held in units of the index has 1 and its lot in
    `lot`; a currency future held in contracts of 1,000 dollars has 1,000, a gold one of 1 kg quoted per 10 g has 100.
    `strike` at `price_exp`: an option's, whose writer's margin is a share of it. `money_exp` None: the currency's own
    exponent; benchmarks may run the book at a finer one.
    """

    instrument_id: UUID
    currency: str
    price_exp: int
    qty_exp: int = 0
    tick: int = 1
    lot: int = 1
    product: Product = Product.DELIVERY
    kind: str = "equity"
    money_exp: int | None = None
    multiplier: Fraction = ONE
    strike: int | None = None

    @property
    def is_contract(self) -> bool:
        return self.kind in _CONTRACTS

    @property
    def scale(self) -> Scale:
        money = currency_exponent(self.currency) if self.money_exp is None else self.money_exp
        return Scale(self.price_exp, self.qty_exp, money, self.multiplier, self.kind == "future")


_CONTRACTS = ("future", "option")
_MOST = 10**6
_WIDEST = 2**17
"""A price below `PRICE_LIMIT` times this fits into 64 bits."""


def static_array(instruments: Sequence[Instrument]) -> Int64:
    """i8 (slots, STATIC), read-only. Raises `unsupported_instrument` for what the engine cannot run yet."""
    return _static_array(tuple(instruments))


@lru_cache(maxsize=1024)
def _static_array(instruments: tuple[Instrument, ...]) -> Int64:
    if not instruments:
        raise invalid("unsupported_instrument", "A run needs at least one instrument.", param="instruments")
    static = np.zeros((len(instruments), STATIC), np.int64)
    for slot, one in enumerate(instruments):
        param = f"instruments[{slot}]"
        _check_contract(one, param)
        if one.currency != instruments[0].currency:
            raise invalid("unsupported_instrument", "All instruments of a run share one currency for now.", param=param)
        if not (0 <= one.price_exp <= 9 and 0 <= one.qty_exp <= 9 and one.tick > 0 and one.lot > 0):
            raise invalid("unsupported_instrument", "Exponents are 0 to 9; tick and lot are positive.", param=param)
        static[slot, Static.MULTIPLY], static[slot, Static.DIVIDE] = _worth(one, param)
        static[slot, Static.CLASS] = Class[one.kind.upper()]
        static[slot, Static.MARGINED], static[slot, Static.STRIKE] = one.kind == "future", one.strike or 0
        static[slot, Static.TICK], static[slot, Static.LOT] = one.tick, one.lot
        static[slot, Static.UNIT] = 10**one.qty_exp
        static[slot, Static.PRODUCT] = list(Product).index(one.product)
        static[slot, Static.PRICE_SCALE], static[slot, Static.MONEY_SCALE] = (
            10**one.price_exp,
            10**one.scale.money_exp,
        )
    static.flags.writeable = False
    return static


def _check_contract(one: Instrument, param: str) -> None:
    if one.kind != "equity" and not one.is_contract:
        raise invalid("unsupported_instrument", f"{one.kind} cannot be traded; equity, future or option.", param=param)
    if not one.is_contract and one.multiplier != 1:
        raise invalid("unsupported_instrument", "Only futures and options have a multiplier.", param=param)
    if not 0 < one.multiplier <= _MOST or one.multiplier.denominator > _MOST:
        raise invalid("unsupported_instrument", f"A multiplier is above 0 and at most {_MOST}.", param=param)
    if (one.kind == "option") != (one.strike is not None):
        raise invalid("unsupported_instrument", "An option needs its strike, and nothing else has one.", param=param)
    if one.strike is not None and not 0 < one.strike < PRICE_LIMIT:
        raise invalid("unsupported_instrument", "A strike is positive.", param=param)


def _worth(one: Instrument, param: str) -> tuple[int, int]:
    """MULTIPLY and DIVIDE in lowest terms."""
    shift = one.qty_exp + one.price_exp - one.scale.money_exp
    multiply, divide = 10 ** max(-shift, 0) * one.multiplier.numerator, 10 ** max(shift, 0) * one.multiplier.denominator
    common = gcd(multiply, divide)
    multiply, divide = multiply // common, divide // common
    if one.is_contract and not (multiply < _WIDEST and divide < 2**61):
        reason = "The multiplier and the exponents of price and quantity are too far from those of money."
        raise invalid("unsupported_instrument", reason, param=param)
    return multiply, divide


def check_events(instruments: Sequence[Instrument], events: Iterable[AnyEvent]) -> None:
    """Raises `invalid_event` for an expiry of what does not expire, or twice, for a dividend on a contract, and for a
    split of an option, whose strike would change."""
    expired: set[int] = set()
    for event in events:
        if isinstance(event, SessionClose) or not 0 <= event.slot < len(instruments):
            continue
        one, reason = instruments[event.slot], None
        if isinstance(event, Dividend) and one.is_contract:
            reason = "a contract pays no dividend"
        elif isinstance(event, Split) and one.kind == "option":
            reason = "an option's strike would change; end it with an expiry and hold the new one in another slot"
        elif isinstance(event, Expiry) and (not one.is_contract or event.slot in expired):
            reason = "only a contract expires, and once"
        elif isinstance(event, Expiry):
            expired.add(event.slot)
        if reason is not None:
            raise invalid("invalid_event", f"{event}: {reason}.", param="events")


def scales(static: Int64) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """f8 (slots, FIELDS): what one natural unit of each field is."""
    found = np.empty((static.shape[0], FIELDS), np.float64)
    found[:] = static[:, Static.PRICE_SCALE][:, None]
    found[:, Field.VOLUME] = static[:, Static.UNIT]
    return found
