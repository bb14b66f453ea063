"""Runs a program on files of bars: no database, no network, nothing but this process."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from app.engine.bars import Bars, Expiry, align, day_number
from app.engine.fills import SlippageModel
from app.engine.firewall import Check, verify
from app.engine.instruments import Instrument
from app.engine.program import Number, compile_program
from app.engine.schedule import schedule_named
from app.engine.terms import CASH_ACCOUNT, Terms
from app.insight.backtest.domain import Source
from app.insight.backtest.service.prepared import Prepared, cut, first_row
from app.kernel.errors import invalid
from app.kernel.money import currency_exponent, parse_scaled
from app.kernel.orders import Product
from app.market.data.service import read_bars

PRICE_EXP = 4
_DAY_US = 86_400_000_000
_SEED = 7


@dataclass(frozen=True, slots=True)
class FileRun:
    """What to run. `files`: one instrument each, named by the file. `cash`, `tick` and a contract's figures are decimal
    text. Rows before `start` only warm the program up; rows after `end` are left out; both are trading dates. `kind`,
    `multiplier` and `strike`: what the files are of (`app.engine.instruments.Instrument`). `expiry`: on this date
    contracts are settled, after their last bar, at `settlement` or at its close; past the last bar they are still open.
    `finer`: files of finer bars, one for each of `files` and in their order, for terms whose `intrabar` is LOWER.
    """

    program: Mapping[str, Any]
    files: Sequence[Path]
    cash: str
    charges: str = "zero"
    currency: str = "INR"
    parameters: Mapping[str, Number] = field(default_factory=dict)
    tick: str = "0.01"
    lot: int = 1
    product: Product = Product.DELIVERY
    slippage_bps: int = 0
    start: date | None = None
    end: date | None = None
    terms: Terms = CASH_ACCOUNT
    kind: str = "equity"
    multiplier: str = "1"
    strike: str | None = None
    expiry: date | None = None
    settlement: str | None = None
    finer: Sequence[Path] = ()


def run_files(run: FileRun, on_rows: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """The result document. `on_rows(done, of)` follows the run.

    Raises `invalid_program`, `invalid_bars`, `unreadable_file`, `invalid_range`, `invalid_cash`, `too_few_bars`,
    `charge_schedule_not_found`, `charges_unknown`; each names the field.
    """
    ready = prepare_files(run)
    rows = ready.bars.rows
    return ready.document(None if on_rows is None else lambda done: on_rows(done, rows))


def verify_files(run: FileRun) -> Iterator[Check]:
    """The look-ahead tests of `app.engine.firewall` on these files. Raises what `run_files` raises."""
    if run.finer:
        reason = "The look-ahead tests replace the future, and finer bars would contradict it: leave them out."
        raise invalid("invalid_terms", reason, param="finer")
    ready = prepare_files(run)
    return verify(
        lambda bars, block: ready.run(bars, block=block),
        ready.bars,
        warm_up=ready.program.warm_up,
        permutation=np.random.default_rng(_SEED).permutation,
    )


def prepare_files(run: FileRun) -> Prepared:
    """Read and check everything, run nothing. Raises what `run_files` raises."""
    program = compile_program(run.program, run.parameters)
    schedule = schedule_named(run.charges)
    if run.start is not None and run.end is not None and run.end < run.start:
        raise invalid("invalid_range", f"The end {run.end} is before the start {run.start}.", param="end")
    if not run.files:
        raise invalid("invalid_bars", "A backtest needs at least one file of bars.", param="bars")
    cash = parse_scaled(run.cash, currency_exponent(run.currency), param="cash")
    tick = parse_scaled(run.tick, PRICE_EXP, param="tick")
    symbols = _symbols(run.files)
    bars = cut(align([_series(file) for file in run.files]), run.end)
    first = first_row(bars, run.start)
    strike = None if run.strike is None else parse_scaled(run.strike, PRICE_EXP, param="strike")
    common: dict[str, Any] = {"kind": run.kind, "multiplier": _multiplier(run.multiplier), "strike": strike}
    instruments = [
        Instrument(UUID(int=slot + 1), run.currency, PRICE_EXP, tick=tick, lot=run.lot, product=run.product, **common)
        for slot in range(len(run.files))
    ]
    sources = [_source(symbol, file) for symbol, file in zip(symbols, run.files, strict=True)]
    slippage = SlippageModel(run.slippage_bps)
    expiries = _expiries(run, bars)
    finer = align([_series(file) for file in run.finer]) if run.finer else None
    finer_sources = [_source(file.stem, file) for file in run.finer]
    return Prepared(
        program, bars, instruments, sources, cash, schedule, slippage, run.terms, first, expiries, finer, finer_sources
    )


def _source(symbol: str, file: Path) -> Source:
    return Source(symbol, file.name, hashlib.sha256(file.read_bytes()).hexdigest())


def _multiplier(text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise invalid(
            "invalid_decimal", f"{text!r} is no multiplier; give a number, as 50.", param="multiplier"
        ) from None


def _expiries(run: FileRun, bars: Bars) -> list[Expiry]:
    """One per slot, on the last row of the expiry date or, where it has no bar, before it."""
    if run.expiry is None:
        if run.settlement is not None:
            raise invalid("invalid_range", "A settlement price needs the expiry's date.", param="expiry")
        return []
    row = int(np.searchsorted(bars.days, day_number(run.expiry), side="right")) - 1
    if row < 0:
        raise invalid("invalid_range", f"The contracts expire on {run.expiry}, before the first bar.", param="expiry")
    if row == bars.rows - 1 and bars.days[row] < day_number(run.expiry):
        return []
    price = None if run.settlement is None else parse_scaled(run.settlement, PRICE_EXP, param="settlement")
    return [Expiry(row, slot, price) for slot in range(bars.slots)]


def _symbols(files: Sequence[Path]) -> list[str]:
    names = [file.stem for file in files]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise invalid("invalid_bars", f"Two files are named {twice!r}; each is an instrument.", param="bars")
    return names


def _series(file: Path) -> dict[str, Any]:
    found = read_bars(file, price_exp=PRICE_EXP, qty_exp=0, session_close=_end_of_day)
    columns = {name: getattr(found, name) for name in ("open", "high", "low", "close", "volume")}
    return {"times": found.at_us, "days": found.at_us // _DAY_US, **columns}


def _end_of_day(day: date) -> datetime:
    """A bare date closes with the day: no calendar is known of a file."""
    return datetime.combine(day, time.max, UTC)
