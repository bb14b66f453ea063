"""What became of a change that a broker was asked for: recorded once, whoever hears of it first."""

import json
from collections.abc import Mapping
from typing import Any

import asyncpg

from app.kernel.money import format_scaled, format_trimmed, parse_scaled
from app.trading.brokers.ports import BrokerOrder, Report

_DONE = "select orders_change_done($1, $2, $3::jsonb)"
_REFUSED = "select orders_change_refused($1, $2, $3::jsonb)"
_IN_BOOK = "select orders_change_in_book($1, $2, $3::jsonb)"


async def change_done(pool: asyncpg.Pool, order: BrokerOrder, pending: Mapping[str, Any]) -> None:
    """The order is so from now on."""
    await pool.fetchval(_DONE, order.tenant_id, order.order_id, json.dumps(told(order, pending)))


async def change_refused(pool: asyncpg.Pool, order: BrokerOrder, reason: str) -> None:
    """The order stays as it was."""
    await pool.fetchval(_REFUSED, order.tenant_id, order.order_id, json.dumps({"reason": reason}))


async def change_in_book(pool: asyncpg.Pool, order: BrokerOrder, pending: Mapping[str, Any]) -> None:
    """The paper venue's order and ours change together, or stay together."""
    await pool.fetchval(_IN_BOOK, order.tenant_id, order.order_id, json.dumps(told(order, pending)))


def told(order: BrokerOrder, pending: Mapping[str, Any]) -> dict[str, str | None]:
    """What the event says: the order as it is then."""
    prices = {name: pending[name] for name in ("limit_price", "trigger_price")}
    return {"quantity": format_scaled(pending["quantity"], order.qty_exp)} | {
        name: None if price is None else format_trimmed(price, order.price_exp) for name, price in prices.items()
    }


def shows(report: Report, order: BrokerOrder, pending: Mapping[str, Any]) -> bool:
    """Whether the broker's order is as it was asked to become."""
    if parse_scaled(report.quantity, order.qty_exp, param="quantity") != pending["quantity"]:
        return False
    for name, before in (("limit_price", order.limit_price), ("trigger_price", order.trigger_price)):
        said: str | None = getattr(report, name)
        shown = before if said is None else parse_scaled(said, order.price_exp, param=name)
        if shown != pending[name]:
            return False
    return True
