"""A statement of account is proven against the ledger, and is the same as JSON, CSV and PDF."""

import csv
import io
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from app.custody.ledger.service import fund, withdraw
from app.kernel.errors import DomainError
from app.kernel.ids import encode_id
from app.kernel.money import Money
from app.kernel.orders import Side
from app.trading.portfolio.service import Statement, statement_csv, statement_of, statement_pdf
from app.trading.portfolio.service.statements import _prove
from tests.factories.tenants import make_key
from tests.integration.trading.conftest import AT, Venue
from tests.integration.trading.test_settlement import trade

FIRST, LAST = date(2003, 1, 1), date(2003, 1, 31)


async def statement(venue: Venue, first: date = FIRST, last: date = LAST) -> Statement:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        return await statement_of(tx, venue.account_id, first=first, last=last, now=AT)


async def month(venue: Venue) -> None:
    """Two trades that settle, one that does not, money in and out."""
    await trade(venue, Side.BUY, 10)
    await venue.settle(days=4)
    await trade(venue, Side.SELL, 4, days=5)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        for at, act, minor in ((6, fund, 70_00), (7, withdraw, 20_00)):
            await act(
                tx, venue.account_id, Money(minor, "USD"), idempotency_key=str(at), effective_at=AT + timedelta(at)
            )


async def test_opening_and_movements_are_the_closing_and_what_the_ledger_has(venue: Venue) -> None:
    await month(venue)
    shown = await statement(venue)
    assert [one.kind for one in shown.movements] == ["funding", "fill", "fill", "funding", "withdrawal"]
    assert shown.movements[1].description.startswith("Bought 10 AAPL at 20")
    assert shown.opening + sum(one.amount for one in shown.movements) == shown.closing == shown.movements[-1].balance
    sql = "select posted, posted + receivable - payable as traded from ledger_accounts where kind = 'client_cash'"
    (ledger,) = await venue.rows(sql)
    assert (shown.settled, shown.closing) == (ledger["posted"], ledger["traded"])
    (held,) = shown.holdings
    assert (held.settled, held.waiting) == (10, -4)


async def test_each_period_begins_with_what_the_one_before_ended(venue: Venue) -> None:
    await month(venue)
    whole = await statement(venue)
    for cut in (date(2003, 1, 2), date(2003, 1, 3), date(2003, 1, 7), date(2003, 1, 20)):
        before, after = await statement(venue, FIRST, cut), await statement(venue, cut + timedelta(1), LAST)
        assert before.closing == after.opening
        assert [*before.movements, *after.movements] == whole.movements
        assert (after.closing, after.holdings) == (whole.closing, whole.holdings)


async def test_a_settlement_moves_no_money_but_the_securities(venue: Venue) -> None:
    await trade(venue, Side.BUY, 10)
    await venue.settle(days=4)
    friday, monday = [await statement(venue, FIRST, date(2003, 1, day)) for day in (3, 6)]
    assert (friday.closing, friday.movements) == (monday.closing, monday.movements)
    assert friday.settled > monday.settled == monday.closing
    assert [(one.holdings[0].settled, one.holdings[0].waiting) for one in (friday, monday)] == [(0, 10), (10, 0)]


async def test_a_ledger_that_does_not_add_up_gives_no_statement(venue: Venue) -> None:
    await month(venue)
    shown = await statement(venue)
    with pytest.raises(DomainError) as caught:
        _prove({"opening": shown.opening, "closing": shown.closing + 1}, shown.movements)
    assert caught.value.code == "statement_unproven"


async def test_the_csv_has_every_movement_and_sums_to_the_closing(venue: Venue) -> None:
    await month(venue)
    shown = await statement(venue)
    rows = list(csv.reader(io.StringIO(statement_csv(shown))))
    end = rows.index([])
    opening, *moved, closing = rows[1:end]
    assert len(moved) == len(shown.movements)
    assert Decimal(opening[5]) + sum(Decimal(row[4]) for row in moved) == Decimal(closing[5])
    assert rows[end + 2][1:] == ["AAPL", "Apple Inc.", "10", "-4"]


async def test_words_that_a_spreadsheet_would_run_are_made_harmless(venue: Venue) -> None:
    shown = await statement(venue)
    (first, *_) = shown.movements
    evil = replace(shown, movements=[replace(first, description="=HYPERLINK(1)"), *shown.movements[1:]])
    assert "'=HYPERLINK(1)" in statement_csv(evil)


async def test_the_pdf_counts_its_pages(venue: Venue) -> None:
    await month(venue)
    pdf = statement_pdf(await statement(venue))
    assert pdf.startswith(b"%PDF-") and b"/Count 1" in pdf
    assert statement_pdf(await statement(venue)) == pdf


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ("from=2003-02-01&to=2003-01-01", "invalid_period", "to"),
        ("from=2003-01-01&to=2004-01-02", "period_too_long", "from"),
        ("from=2003-13-01&to=2004-01-02", "invalid_request", "from"),
        ("from=2003-01-01", "invalid_request", "to"),
        ("from=2003-01-01&to=2003-01-02&format=xls", "invalid_request", "format"),
    ],
)
async def test_a_period_that_is_none_is_refused_by_name(
    venue: Venue, api: httpx.AsyncClient, query: str, code: str, param: str
) -> None:
    answer = await _get(venue, api, query)
    problem = answer.json()
    named = problem.get("param") or problem["errors"][0]["param"]
    assert (answer.status_code, problem["code"], named) == (422, code, param)


async def _get(venue: Venue, api: httpx.AsyncClient, query: str) -> Any:
    key = await make_key(venue.app.database, venue.tenant_id)
    path = f"/v1/accounts/{encode_id('acc', venue.account_id)}/statement?{query}"
    return await api.get(path, headers=key.headers)


async def test_the_three_forms_are_served_with_their_types(venue: Venue, api: httpx.AsyncClient) -> None:
    await month(venue)
    period = "from=2003-01-01&to=2003-01-31"
    answers = [await _get(venue, api, f"{period}&format={form}") for form in ("json", "csv", "pdf")]
    assert [one.status_code for one in answers] == [200, 200, 200]
    types = [one.headers["content-type"].partition(";")[0] for one in answers]
    assert types == ["application/json", "text/csv", "application/pdf"]
    shown = answers[0].json()
    total = Decimal(shown["opening"]) + sum(Decimal(one["amount"]) for one in shown["movements"])
    assert total == Decimal(shown["closing"]) and len(shown["movements"]) == 5
