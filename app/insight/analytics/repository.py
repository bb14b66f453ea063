"""Decides how a history is read: through the functions that ledger, orders and portfolio publish."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.infra.database import Tx
from app.insight.analytics.domain import Action, CashEntry, Trade
from app.kernel.orders import Product, Side

_STATEMENT = text("SELECT effective_at, kind, amount FROM ledger_statement(cast(:account AS uuid))")
_FILLS = text(
    "SELECT occurred_at, book_id, instrument_id, product, side, quantity, notional_minor, charges_minor "
    "FROM orders_fill_history(cast(:account AS uuid))"
)
_ACTIONS = text(
    "SELECT effective_at, book_id, instrument_id, product, numerator, denominator, quantity_before, quantity_after, "
    "cash_minor "
    "FROM portfolio_action_history(cast(:account AS uuid))"
)


async def cash_entries(tx: Tx, account_id: UUID) -> list[CashEntry]:
    return [CashEntry(*row) for row in await _rows(tx, _STATEMENT, account=account_id)]


async def trades(tx: Tx, account_id: UUID) -> list[Trade]:
    rows = await _rows(tx, _FILLS, account=account_id)
    return [
        Trade(at, book, instrument, Product(product), Side(side), quantity, notional, charges)
        for at, book, instrument, product, side, quantity, notional, charges in rows
    ]


async def actions(tx: Tx, account_id: UUID) -> list[Action]:
    rows = await _rows(tx, _ACTIONS, account=account_id)
    return [
        Action(at, book, instrument, Product(product), *figures) for at, book, instrument, product, *figures in rows
    ]


async def _rows(tx: Tx, statement: Any, **parameters: UUID) -> Sequence[Any]:
    return (await tx.execute(statement, dict(parameters))).all()
