"""Decides how the summary's figures are read: one snapshot, as the application's role, under the tenant's policy."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from app.infra.outages import AWAY
from app.kernel.money import format_trimmed
from app.kernel.orders import WORKING
from app.local.figures import Change, Holding, Position, StrategyFigures, Summary, market_value, reduced

T = TypeVar("T")
_FEED = "select market_at, status, bars_published from feed_state where feed = 'replay'"
_LEDGER_SUMS = """
select a.currency, sum(e.amount)::bigint as total
from ledger_entries e
join ledger_accounts a on a.tenant_id = e.tenant_id and a.id = e.ledger_account_id
group by a.currency
"""
_DRIFTED = """
select count(*) from ledger_accounts a
where a.posted <> (
    select coalesce(sum(e.amount), 0) from ledger_entries e
    where e.tenant_id = a.tenant_id and e.ledger_account_id = a.id
)
"""
_DEPLOYMENTS = """
select s.name, d.status || coalesce(': ' || left(d.status_reason, 60), '') as status,
       a.id as account_id, a.currency, c.posted as cash, portfolio_equity(a.id) as equity
from deployments d
join strategies s on s.tenant_id = d.tenant_id and s.id = d.strategy_id
join accounts a on a.tenant_id = d.tenant_id and a.id = d.account_id
cross join lateral ledger_cash(a.id) c
where d.status <> 'stopped'
order by d.created_at, s.name desc
"""
_ORDERS = """
select o.account_id, o.status in ('open', 'partially_filled') and p.id is not null as resting, o.status, count(*) as n
from orders o left join paper_orders p on p.tenant_id = o.tenant_id and p.id = o.id
group by 1, 2, 3
"""
_FILLS = "select account_id, count(*) as n from fills group by 1"
_POSITIONS = """
select p.account_id, p.book_id, p.instrument_id, p.product, p.quantity, p.cost_minor, i.symbol,
       i.currency, i.price_exp, i.qty_exp, l.price
from positions p
join instruments i on i.id = p.instrument_id
join accounts a on a.tenant_id = p.tenant_id and a.id = p.account_id
left join last_prices l on l.feed = a.feed and l.instrument_id = p.instrument_id
order by i.symbol
"""
# at one market time a split comes before the price that it restates, and so before that price's fills
_CHANGES = """
select f.account_id, coalesce(f.deployment_id, f.account_id) as book_id, f.instrument_id, o.product,
       case f.side when 'buy' then f.quantity else -f.quantity end as quantity, 1 as numerator, 1 as denominator,
       f.occurred_at as at, 1 as rank, f.id
from fills f join orders o on o.tenant_id = f.tenant_id and o.id = f.order_id
union all
select a.account_id, a.book_id, a.instrument_id, p.product, 0, a.numerator, a.denominator, a.effective_at, 0, a.id
from position_actions a join positions p on p.tenant_id = a.tenant_id and p.id = a.position_id where a.kind = 'split'
order by at, rank, id
"""
_DENIALS = """
select f ->> 'rule' as rule, count(*) as n
from risk_decisions d, jsonb_array_elements(d.findings) f
where d.verdict = 'denied' and f ->> 'verdict' = 'deny'
group by 1
"""
_LOST = (*AWAY, OSError, asyncpg.OperatorInterventionError)
"""A server that restarts or is slow; a mistake in a statement is not among them and is raised."""


class SummaryReader:
    """Reads `Summary`s over one connection of role `mandi_app`, reopened when it breaks. Blocking; one thread."""

    def __init__(self, app_url: str, tenant_id: UUID) -> None:
        self._url, self._tenant_id = app_url, tenant_id
        self._runner = asyncio.Runner()
        self._connection: asyncpg.Connection | None = None

    def read(self) -> Summary | None:
        """The figures now; None while the database cannot be reached."""
        return self._runner.run(self._with_connection(self._read))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._runner.close()

    async def _with_connection(self, go: Callable[[Any], Awaitable[T]]) -> T | None:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(self._url, timeout=5, command_timeout=10)
            async with self._connection.transaction(isolation="repeatable_read", readonly=True):
                await self._connection.execute("select set_config('app.tenant_id', $1, true)", str(self._tenant_id))
                return await go(self._connection)
        except _LOST:
            if self._connection is not None:
                self._connection.terminate()
            self._connection = None
            return None

    async def _read(self, connection: Any) -> Summary:
        feed = await connection.fetchrow(_FEED)
        if feed is None:  # no price was replayed yet
            return Summary(strategies=await _strategies(connection))
        sums = await connection.fetch(_LEDGER_SUMS)
        return Summary(
            market_at=feed["market_at"],
            feed_status=feed["status"],
            bars=feed["bars_published"],
            strategies=await _strategies(connection),
            ledger={row["currency"]: row["total"] for row in sums},
            drifted=await connection.fetchval(_DRIFTED),
            denials={row["rule"]: row["n"] for row in await connection.fetch(_DENIALS)},
        )


async def _strategies(connection: Any) -> tuple[StrategyFigures, ...]:
    orders: dict[UUID, Counter[str]] = {}
    for row in await connection.fetch(_ORDERS):
        counts = orders.setdefault(row["account_id"], Counter())
        state = "resting" if row["resting"] else "moving" if row["status"] in WORKING else str(row["status"])
        counts[state] += row["n"]
    fills = {row["account_id"]: row["n"] for row in await connection.fetch(_FILLS)}
    holdings = [Holding(**row) for row in await connection.fetch(_POSITIONS)]
    changes = [Change(*list(row)[:7]) for row in await connection.fetch(_CHANGES)]
    scales = {one.instrument_id: (one.symbol, one.qty_exp) for one in holdings}
    found = []
    for row in await connection.fetch(_DEPLOYMENTS):
        account_id = row["account_id"]
        counts = orders.get(account_id, Counter())
        own = [one for one in holdings if one.account_id == account_id]
        held = {(one.book_id, one.instrument_id, one.product): one.quantity for one in own}
        from_fills = reduced(change for change in changes if change.account_id == account_id)
        found.append(
            StrategyFigures(
                name=row["name"],
                status=row["status"],
                currency=row["currency"],
                orders=counts.total(),
                resting=counts["resting"],
                moving=counts["moving"],
                fills=fills.get(account_id, 0),
                denied=counts["denied"],
                cash=row["cash"],
                market_value=sum(market_value(one) for one in own),
                equity=row["equity"],
                positions=_named(held, scales),
                positions_from_fills=_named(from_fills, scales),
            )
        )
    return tuple(found)


def _named(quantities: dict[Position, int], scales: dict[UUID, tuple[str, int]]) -> tuple[tuple[str, str], ...]:
    """(symbol, quantity) of what is not flat; several positions in one instrument stay apart."""
    found = []
    for (_, instrument_id, _), quantity in quantities.items():
        symbol, exponent = scales.get(instrument_id, (str(instrument_id), 0))
        if quantity:
            found.append((symbol, format_trimmed(quantity, exponent, places=0)))
    return tuple(sorted(found))
