"""Files from outside against the books: exactly what differs is a break, for as long as it does."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.bootstrap import App
from app.kernel.errors import DomainError
from app.kernel.ids import encode_id
from app.kernel.orders import Mode, Side
from app.trading.portfolio.domain.reconciling import Source
from app.trading.portfolio.service import reconcile
from app.trading.portfolio.tables import Reconciliation
from tests.factories.tenants import TenantWithKey
from tests.integration.trading.conftest import PRICE, Venue

DAY = date(2003, 1, 6)
ISIN = "US0378331005"
NOW = datetime(2026, 1, 31, tzinfo=UTC)
BANK = "date,reference,currency,amount,balance\n"
UNITS = "account_id,isin,quantity\n"
TRADES = "account_id,trade_id,isin,side,quantity,price\n"


async def _send(venue: Venue, source: Source, csv: str, *, day: date = DAY, now: datetime = NOW) -> Reconciliation:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        return await reconcile(tx, source, csv, as_of=day, mode=Mode.TEST, now=now)


async def _breaks(venue: Venue) -> list[dict[str, Any]]:
    return await venue.rows(
        "select id, reference, expected_minor, actual_minor, status, opened_at, currency "
        "from ledger_breaks order by reference"
    )


async def _traded(venue: Venue, *sides: tuple[Side, int]) -> str:
    """Trades of Friday that have settled by Monday's close. Answers the account's id."""
    for side, quantity in sides:
        await venue.order(side=side, quantity=quantity)
        await venue.work()
        await venue.show(PRICE)
    await venue.settle(days=4)
    return encode_id("acc", venue.account_id)


async def _bank(venue: Venue) -> int:
    rows = await venue.rows("select -sum(posted)::bigint as held from ledger_accounts where kind = 'omnibus_bank'")
    return int(rows[0]["held"])


def _statement(minor: int) -> str:
    return f"{BANK}2003-01-06,x,USD,{minor / 100:.2f},{minor / 100:.2f}\n"


async def test_files_that_agree_leave_no_break(venue: Venue) -> None:
    account = await _traded(venue, (Side.BUY, 10), (Side.SELL, 4))
    bank = await _send(venue, Source.BANK, _statement(await _bank(venue)))
    units = await _send(venue, Source.DEPOSITORY, f"{UNITS}{account},{ISIN},6\n")
    trades = await _send(
        venue,
        Source.BROKER,
        f"{TRADES}{account},T1,{ISIN},buy,7,20.00\n{account},T2,{ISIN},buy,3,20\n{account},T3,{ISIN},sell,4,20.00\n",
        day=date(2003, 1, 3),
    )
    assert [(one.lines, one.compared, one.differences) for one in (bank, units, trades)] == [
        (1, 1, 0),
        (1, 1, 0),
        (3, 4, 0),
    ]
    assert await _breaks(venue) == []


async def test_a_difference_keeps_its_age_until_a_file_agrees_and_opens_again_when_it_differs_again(
    venue: Venue,
) -> None:
    held = await _bank(venue)
    first = await _send(venue, Source.BANK, _statement(held + 500))
    assert (first.differences, first.opened, first.closed) == (1, 1, 0)
    (found,) = await _breaks(venue)
    assert (found["expected_minor"], found["actual_minor"], found["status"]) == (held, held + 500, "open")
    second = await _send(venue, Source.BANK, _statement(held + 700), now=NOW + timedelta(days=1))
    assert (second.differences, second.opened, second.closed) == (1, 0, 0)
    (older,) = await _breaks(venue)
    assert (older["actual_minor"], older["opened_at"]) == (held + 700, NOW)
    corrected = await _send(venue, Source.BANK, _statement(held), now=NOW + timedelta(days=2))
    assert (corrected.differences, corrected.opened, corrected.closed) == (0, 0, 1)
    (closed,) = await _breaks(venue)
    assert closed["status"] == "resolved"
    assert (await _send(venue, Source.BANK, _statement(held), day=DAY + timedelta(days=1))).closed == 0
    again = await _send(
        venue, Source.BANK, _statement(held - 1), day=DAY + timedelta(days=2), now=NOW + timedelta(days=3)
    )
    assert again.opened == 1
    (reopened,) = await _breaks(venue)
    assert (reopened["id"], reopened["status"], reopened["opened_at"]) == (
        found["id"],
        "open",
        NOW + timedelta(days=3),
    )
    told = await venue.rows("select type from events where subject_id = :id order by xid, id", id=found["id"])
    assert [row["type"] for row in told] == ["break.opened", "break.resolved", "break.opened"]


async def test_the_same_file_again_changes_nothing_nor_do_ten_at_once(venue: Venue) -> None:
    csv = _statement(await _bank(venue) + 500)
    made = await asyncio.gather(*(_send(venue, Source.BANK, csv) for _ in range(5)))
    assert len({one.id for one in made}) == 1
    assert len(await _breaks(venue)) == 1
    (before,) = await _breaks(venue)
    await venue.rows("update ledger_breaks set status = 'resolved', reason = 'x', resolved_at = now() returning 1")
    await _send(venue, Source.BANK, csv, now=NOW + timedelta(days=9))
    assert [row["status"] for row in await _breaks(venue)] == ["resolved"]
    assert before["status"] == "open"


async def test_what_either_side_leaves_out_is_a_difference(venue: Venue) -> None:
    account = await _traded(venue, (Side.BUY, 10))
    made = await _send(venue, Source.DEPOSITORY, UNITS)
    assert (made.compared, made.differences) == (1, 1)
    ibm = f"{UNITS}{account},{ISIN},10\n{account},US4592001014,3\n"
    made = await _send(venue, Source.DEPOSITORY, ibm)
    assert (made.compared, made.differences, made.opened, made.closed) == (2, 1, 1, 1)
    trades = await _send(venue, Source.BROKER, TRADES, day=date(2003, 1, 3))
    assert trades.differences == 2
    found = {row["reference"].rpartition(":")[2]: row for row in await _breaks(venue) if row["status"] == "open"}
    assert (found["quantity"]["expected_minor"], found["quantity"]["actual_minor"]) == (10, 0)
    assert (found["value"]["expected_minor"], found["value"]["currency"]) == (20_000, "USD")


async def test_another_days_trades_are_no_matter_of_this_days_file(venue: Venue) -> None:
    account = await _traded(venue, (Side.BUY, 10))
    await venue.order(quantity=4)
    await venue.work()
    await venue.show(PRICE, days=4)
    monday = f"{TRADES}{account},T9,{ISIN},buy,4,20.00\n"
    assert (await _send(venue, Source.BROKER, monday)).differences == 0
    assert (await _send(venue, Source.BROKER, TRADES, day=date(2003, 1, 3))).opened == 2


async def test_balances_are_those_of_the_days_end(venue: Venue) -> None:
    account = await _traded(venue, (Side.BUY, 10))
    before = await _send(venue, Source.DEPOSITORY, UNITS, day=date(2003, 1, 5))
    assert before.differences == 0  # they settled on Monday
    assert (await _send(venue, Source.DEPOSITORY, f"{UNITS}{account},{ISIN},10\n")).differences == 0
    with pytest.raises(DomainError, match="2003-01-06 has been compared"):
        await _send(venue, Source.DEPOSITORY, f"{UNITS}{account},{ISIN},1\n", day=date(2003, 1, 5))


async def test_the_other_modes_accounts_are_left_out(live: Venue) -> None:
    """The tenant has a paper account with 10,000.00 and a live one with as much."""
    async with live.app.database.tx(live.tenant_id) as tx:
        made = await reconcile(tx, Source.BANK, _statement(1_000_000), as_of=DAY, mode=Mode.LIVE, now=NOW)
        assert made.differences == 0
        account = encode_id("acc", live.account_id)
        with pytest.raises(DomainError, match="line 2, account_id"):
            await reconcile(tx, Source.DEPOSITORY, f"{UNITS}{account},{ISIN},1\n", as_of=DAY, mode=Mode.TEST, now=NOW)


@pytest.mark.parametrize(
    ("source", "csv", "problem"),
    [
        (Source.BANK, "date,amount\n", "line 1, columns"),
        (Source.BANK, "", "line 1, columns"),
        (Source.BANK, BANK, "line 2, balance"),
        (Source.BANK, BANK + "2003-01-06,x,USD,1.00\n", "line 2, columns"),
        (Source.BANK, BANK + "2003-01-07,x,USD,1.00,1.00\n", "line 2, date"),
        (Source.BANK, BANK + "20030106,x,USD,1.00,1.00\n", "line 2, date"),
        (Source.BANK, BANK + "2003-01-06,x,XYZ,1.00,1.00\n", "line 2, currency"),
        (Source.BANK, BANK + "2003-01-06,x,USD,1.005,1.00\n", "line 2, amount"),
        (Source.BANK, BANK + "2003-01-06,x,USD,1.00,1.00\n2003-01-06,y,USD,1.00,2.01\n", "line 3, balance"),
        (Source.BANK, BANK + '2003-01-06,"x"y,USD,1.00,1.00\n', "columns"),
        (Source.DEPOSITORY, UNITS + "acc_x,{isin},1\n", "line 2, account_id"),
        (Source.DEPOSITORY, UNITS + "{account},US0000000000,1\n", "line 2, isin"),
        (Source.DEPOSITORY, UNITS + "{account},{isin},-1\n", "line 2, quantity"),
        (Source.DEPOSITORY, UNITS + "{account},{isin},1.5\n", "line 2, quantity"),
        (Source.DEPOSITORY, UNITS + "{account},{isin},1\n{account},{isin},2\n", "line 3, isin"),
        (Source.BROKER, TRADES + "{account},T1,{isin},hold,1,20\n", "line 2, side"),
        (Source.BROKER, TRADES + "{account},T1,{isin},buy,0,20\n", "line 2, quantity"),
        (Source.BROKER, TRADES + "{account},T1,{isin},buy,1,nan\n", "line 2, price"),
        (Source.BROKER, TRADES + "{account},,{isin},buy,1,20\n", "line 2, trade_id"),
        (Source.BROKER, TRADES + "{account},T1,{isin},buy,1,20\n{account},T1,{isin},buy,1,20\n", "line 3, trade_id"),
        (Source.BROKER, TRADES + "{account},T1,{isin},buy,9000000000000000000,20\n", "beyond any book"),
    ],
)
async def test_a_line_that_cannot_be_read_is_named_and_nothing_is_written(
    venue: Venue, source: Source, csv: str, problem: str
) -> None:
    text = csv.format(account=encode_id("acc", venue.account_id), isin=ISIN)
    with pytest.raises(DomainError, match=problem) as refused:
        await _send(venue, source, text)
    assert refused.value.param == "csv"
    assert await _breaks(venue) == []
    assert await venue.rows("select 1 from reconciliations") == []


async def test_every_bad_line_is_named_up_to_twenty(venue: Venue) -> None:
    with pytest.raises(DomainError, match=r"line 2, account_id.*line 11, isin: .*; and 5 more"):
        await _send(venue, Source.DEPOSITORY, UNITS + "acc_x,nothing,1\n" * 12 + "acc_x,US0378331005,1\n")


async def test_the_day_must_have_begun(venue: Venue) -> None:
    with pytest.raises(DomainError, match="as_of"):
        await _send(venue, Source.BANK, _statement(1), day=date(2026, 2, 1))


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    trades=st.lists(st.tuples(st.sampled_from([Side.BUY, Side.SELL]), st.integers(1, 20)), min_size=1, max_size=4),
    bank=st.sampled_from([0, 0, -1, 250]),
    units=st.sampled_from([0, 0, 1, 7]),
    quantity=st.sampled_from([0, 0, 2]),
    price=st.sampled_from([0, 0, 1]),
)
def test_exactly_the_differences_that_were_planted_are_found(
    database_urls: dict[str, str],
    app_settings: Any,
    trades: list[tuple[Side, int]],
    bank: int,
    units: int,
    quantity: int,
    price: int,
) -> None:
    asyncio.run(_planted(app_settings, trades, bank, units, quantity, price))


async def _planted(
    settings_: Any, trades: list[tuple[Side, int]], bank: int, units: int, quantity: int, price: int
) -> None:
    from app.bootstrap import bootstrap
    from tests.integration.trading.conftest import open_venue

    async with bootstrap(settings_) as app:
        venue = await open_venue(app)
        account = await _traded(venue, (Side.BUY, 100), *trades)
        held = 100 + sum(amount if side is Side.BUY else -amount for side, amount in trades)
        made = await _send(venue, Source.BANK, _statement(await _bank(venue) + bank))
        assert made.opened == (bank != 0)
        made = await _send(venue, Source.DEPOSITORY, f"{UNITS}{account},{ISIN},{held + units}\n")
        assert made.opened == (units != 0)
        lines = [
            f"{account},T{number},{ISIN},{side},{amount},20.00"
            for number, (side, amount) in enumerate([(Side.BUY, 100), *trades])
        ]
        lines[0] = f"{account},T0,{ISIN},buy,{100 + quantity},{20 + price / 100:.2f}"
        made = await _send(venue, Source.BROKER, TRADES + "\n".join(lines) + "\n", day=date(2003, 1, 3))
        assert made.opened == (quantity != 0) + (quantity != 0 or price != 0)
        opened = {row["reference"].split(":")[-1]: row for row in await _breaks(venue)}
        assert len(opened) == (bank != 0) + (units != 0) + made.opened
        if bank:
            assert opened["USD"]["actual_minor"] - opened["USD"]["expected_minor"] == bank
        if units:
            assert opened[ISIN]["actual_minor"] - opened[ISIN]["expected_minor"] == units


async def test_the_api_answers_counts_and_shows_the_breaks(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey
) -> None:
    opened = await api.post(
        "/v1/accounts", headers=tenant.headers, json={"name": "a", "currency": "USD", "opening_balance": "100.00"}
    )
    assert opened.status_code == 201
    today = datetime.now(UTC).date().isoformat()
    csv = f"{BANK}{today},x,USD,90.00,90.00\n"
    body = {"source": "bank", "as_of": today, "csv": csv}
    made = await api.post("/v1/reconciliations", headers=tenant.headers, json=body)
    assert made.status_code == 201, made.text
    assert (made.json()["differences"], made.json()["opened"], made.json()["mode"]) == (1, 1, "test")
    again = await api.post("/v1/reconciliations", headers=tenant.headers, json=body)
    assert again.json() == made.json()
    shown = await api.get(f"/v1/reconciliations/{made.json()['id']}", headers=tenant.headers)
    listed = await api.get("/v1/reconciliations", headers=tenant.headers)
    assert listed.json()["data"] == [shown.json()] == [made.json()]
    (difference,) = (await api.get("/v1/breaks", headers=tenant.headers)).json()["data"]
    assert (difference["source"], difference["expected"], difference["actual"]) == ("bank_file", "100.00", "90.00")
    refused = await api.post("/v1/reconciliations", headers=tenant.headers, json=body | {"csv": "date\n"})
    assert (refused.status_code, refused.json()["code"], refused.json()["param"]) == (422, "invalid_csv", "csv")
