"""Decides what a file from outside says, line by line, and where the books say something else.

A file is read whole or not at all: every line that cannot be understood is named with its field. Both sides become
figures at places; a place that one side does not mention stands at zero there.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from uuid import UUID

from app.custody.ledger.domain import BreakKind, Difference
from app.kernel.errors import DomainError, invalid
from app.kernel.ids import decode_id, encode_id
from app.kernel.money import INT64_MAX, currency_exponent, notional_minor, parse_scaled
from app.kernel.orders import Side

UNITS = "XXX"
"""ISO 4217's code for no currency: units of an instrument are counted."""

_MOST_PROBLEMS = 20


class Source(StrEnum):
    """Who wrote the file."""

    BANK = "bank"
    BROKER = "broker"
    DEPOSITORY = "depository"


COLUMNS: Mapping[Source, tuple[str, ...]] = {
    Source.BANK: ("date", "reference", "currency", "amount", "balance"),
    Source.BROKER: ("account_id", "trade_id", "isin", "side", "quantity", "price"),
    Source.DEPOSITORY: ("account_id", "isin", "quantity"),
}
"""The first line of each file."""


@dataclass(frozen=True, slots=True)
class Paper:
    """What an ISIN stands for, whichever venue trades it: scales, the currency, and one instrument to name it by."""

    isin: str
    instrument_id: UUID
    currency: str
    price_exp: int
    qty_exp: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a figure stands. `reference` names it in its source, in every file alike."""

    reference: str
    currency: str
    account_id: UUID | None = None
    instrument_id: UUID | None = None


Figures = Mapping[Place, int]
"""Minor units of money, or units at the instrument's scale."""


@dataclass(frozen=True, slots=True)
class Trade:
    """One execution. `worth` is quantity times price at the sum of their exponents, not rounded."""

    account_id: UUID
    isin: str
    side: Side
    quantity: int
    worth: int


@dataclass(frozen=True, slots=True)
class Known:
    """What a file may name: the papers by ISIN, and the accounts of the mode."""

    papers: Mapping[str, Paper]
    accounts: Collection[UUID]


@dataclass(slots=True)
class _Problems:
    found: list[str] = field(default_factory=list)

    def add(self, line: int, name: str, why: str) -> None:
        self.found.append(f"line {line}, {name}: {why}")

    def settle(self) -> None:
        """Raises `invalid_csv` when there are any."""
        if self.found:
            more = len(self.found) - _MOST_PROBLEMS
            rest = f"; and {more} more" if more > 0 else ""
            raise invalid("invalid_csv", "; ".join(self.found[:_MOST_PROBLEMS]) + rest, param="csv")


Line = tuple[int, dict[str, str]]


def read_lines(source: Source, text: str) -> list[Line]:
    """Each line with its number. Raises `invalid_csv` for another first line, or a line of other columns."""
    problems, lines = _Problems(), list[Line]()
    columns = COLUMNS[source]
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        if tuple(next(reader, ())) != columns:
            problems.add(1, "columns", f"the first line is {','.join(columns)}")
            problems.settle()
        for values in reader:
            if len(values) != len(columns):
                problems.add(reader.line_num, "columns", f"{len(columns)} are expected, {len(values)} are there")
            else:
                lines.append((reader.line_num, dict(zip(columns, values, strict=True))))
    except csv.Error as error:
        problems.add(reader.line_num, "columns", str(error))
    problems.settle()
    return lines


def isins_of(lines: Sequence[Line]) -> set[str]:
    return {values["isin"] for _, values in lines if "isin" in values}


def bank_figures(lines: Sequence[Line], *, mode: str, day: date) -> Figures:
    """The closing balance of each currency. Raises `invalid_csv`, also where a balance is not the one before and the
    amount, so that a line that is missing is seen."""
    problems, balances = _Problems(), dict[str, int]()
    for number, values in lines:
        currency = values["currency"]
        try:
            exponent = currency_exponent(currency)
        except DomainError:
            problems.add(number, "currency", "no currency that accounts are kept in")
            continue
        amount = _number(problems, number, values, "amount", exponent)
        balance = _number(problems, number, values, "balance", exponent)
        _check_day(problems, number, values["date"], day)
        if amount is None or balance is None:
            continue
        if currency in balances and balances[currency] + amount != balance:
            problems.add(number, "balance", "it is not the balance before and the amount")
        balances[currency] = balance
    if not lines:
        problems.add(2, "balance", "a statement has one line or more")
    problems.settle()
    return {bank_place(mode, currency): balance for currency, balance in balances.items()}


def _check_day(problems: _Problems, number: int, text: str, day: date) -> None:
    try:
        if len(text) != 10 or date.fromisoformat(text) > day:
            problems.add(number, "date", f"it is a day up to {day}, such as 2026-01-31")
    except ValueError:
        problems.add(number, "date", f"it is a day up to {day}, such as 2026-01-31")


def bank_place(mode: str, currency: str) -> Place:
    return Place(f"{mode}:{currency}", currency)


def depository_figures(lines: Sequence[Line], known: Known, *, mode: str) -> Figures:
    """Units of each account's papers. Raises `invalid_csv`, also for a paper that an account has twice."""
    problems, units = _Problems(), dict[Place, int]()
    for number, values in lines:
        account_id, paper = _owner(problems, number, values, known)
        if account_id is None or paper is None:
            continue
        quantity = _number(problems, number, values, "quantity", paper.qty_exp, check=lambda value: value >= 0)
        place = units_place(mode, account_id, paper)
        if place in units:
            problems.add(number, "isin", "the account has it on another line")
        units[place] = quantity or 0
    problems.settle()
    return units


def units_place(mode: str, account_id: UUID, paper: Paper) -> Place:
    return Place(f"{mode}:{encode_id('acc', account_id)}:{paper.isin}", UNITS, account_id, paper.instrument_id)


def broker_trades(lines: Sequence[Line], known: Known) -> list[Trade]:
    """Every trade of the file. Raises `invalid_csv`, also for a trade that is there twice."""
    problems, trades, seen = _Problems(), list[Trade](), Counter[str]()
    for number, values in lines:
        account_id, paper = _owner(problems, number, values, known)
        if not 1 <= len(values["trade_id"]) <= 64:
            problems.add(number, "trade_id", "it has 1 to 64 characters")
        seen[values["trade_id"]] += 1
        if seen[values["trade_id"]] > 1:
            problems.add(number, "trade_id", "it is on another line")
        if values["side"] not in tuple(Side):
            problems.add(number, "side", "it is buy or sell")
        if account_id is None or paper is None:
            continue
        quantity = _number(problems, number, values, "quantity", paper.qty_exp, check=lambda value: value > 0)
        price = _number(problems, number, values, "price", paper.price_exp, check=lambda value: value > 0)
        if quantity is not None and price is not None and values["side"] in tuple(Side):
            trades.append(Trade(account_id, paper.isin, Side(values["side"]), quantity, quantity * price))
    problems.settle()
    return trades


def trade_figures(trades: Sequence[Trade], papers: Mapping[str, Paper], *, mode: str, day: date) -> Figures:
    """Quantity and value of a day by account, paper and side; the value is rounded once, half up."""
    quantities: defaultdict[tuple[UUID, str, Side], int] = defaultdict(int)
    worths: defaultdict[tuple[UUID, str, Side], int] = defaultdict(int)
    for trade in trades:
        quantities[trade.account_id, trade.isin, trade.side] += trade.quantity
        worths[trade.account_id, trade.isin, trade.side] += trade.worth
    figures = dict[Place, int]()
    for (account_id, isin, side), quantity in quantities.items():
        paper = papers[isin]
        name = f"{mode}:{day}:{encode_id('acc', account_id)}:{isin}:{side}"
        worth = worths[account_id, isin, side]
        exponent = currency_exponent(paper.currency)
        value = notional_minor(1, worth, qty_exp=0, price_exp=paper.price_exp + paper.qty_exp, money_exp=exponent)
        if max(quantity, value) > INT64_MAX:
            raise invalid("invalid_csv", f"the trades of {isin} together are beyond any book", param="csv")
        figures[Place(f"{name}:quantity", UNITS, account_id, paper.instrument_id)] = quantity
        figures[Place(f"{name}:value", paper.currency, account_id, paper.instrument_id)] = value
    return figures


def differences(books: Figures, told: Figures) -> dict[Place, Difference]:
    """Every place where the two sides differ."""
    return {
        place: Difference(BreakKind.DIFFERENCE, books.get(place, 0), told.get(place, 0))
        for place in [*books, *(place for place in told if place not in books)]
        if books.get(place, 0) != told.get(place, 0)
    }


def _owner(
    problems: _Problems, number: int, values: Mapping[str, str], known: Known
) -> tuple[UUID | None, Paper | None]:
    account_id = None
    with suppress(DomainError):
        account_id = decode_id("acc", values["account_id"], param="account_id")
    if account_id not in known.accounts:
        problems.add(number, "account_id", "no account of this mode has it")
        account_id = None
    paper = known.papers.get(values["isin"])
    if paper is None:
        problems.add(number, "isin", "no instrument has it")
    return account_id, paper


def _number(
    problems: _Problems,
    number: int,
    values: Mapping[str, str],
    name: str,
    exponent: int,
    *,
    check: Callable[[int], bool] = lambda value: True,
) -> int | None:
    try:
        value = parse_scaled(values[name], exponent, param=name)
    except DomainError as error:
        problems.add(number, name, error.message)
        return None
    if not check(value):
        problems.add(number, name, "it is below what it can be")
        return None
    return value
