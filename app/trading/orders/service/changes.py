"""What became of a change that a broker was asked for: recorded once, whoever hears of it first."""

import json
from collections.abc import Mapping
from typing import Any

import asyncpg

from app.kernel.money import format_scaled, format_trimmed, parse_scaled
from app.trading.brokers.ports import BrokerOrder, Report

_DONE = "select orders_change_done($1, $2, $3::jsonb, $4::jsonb)"
_REFUSED = "select orders_change_refused($1, $2, $3::jsonb, $4::jsonb)"
_IN_BOOK = "select orders_change_in_book($1, $2, $3::jsonb)"


async def change_done(pool: asyncpg.Pool, order: BrokerOrder, sent: Mapping[str, Any]) -> bool:
    """The order is so from now on. False: `sent`, the pending change that the broker was asked for, is settled already.
    One that was asked for since has its own work, and its own answer to come."""
    done: bool = await pool.fetchval(_DONE, order.tenant_id, order.order_id, json.dumps(sent), _event(order, sent))
    return done


async def change_refused(pool: asyncpg.Pool, order: BrokerOrder, sent: Mapping[str, Any], reason: str) -> bool:
    """The order stays as it was. False as for `change_done`."""
    event = json.dumps({"reason": reason})
    refused: bool = await pool.fetchval(_REFUSED, order.tenant_id, order.order_id, json.dumps(sent), event)
    return refused


async def change_in_book(pool: asyncpg.Pool, order: BrokerOrder, pending: Mapping[str, Any]) -> None:
    """The paper venue's order and ours change together, or stay together."""
    await pool.fetchval(_IN_BOOK, order.tenant_id, order.order_id, _event(order, pending))


def told(changed: Mapping[str, Any], *, price_exp: int, qty_exp: int) -> dict[str, Any]:
    """What the event says: the order as it is then."""
    prices = {name: changed[name] for name in ("limit_price", "trigger_price")}
    texts = {name: None if price is None else format_trimmed(price, price_exp) for name, price in prices.items()}
    news = {name: value for name in ("validity", "parameters") if (value := changed.get(name)) is not None}
    return {"quantity": format_scaled(changed["quantity"], qty_exp)} | texts | news


def _event(order: BrokerOrder, pending: Mapping[str, Any]) -> str:
    return json.dumps(told(pending, price_exp=order.price_exp, qty_exp=order.qty_exp))


def shows(report: Report, order: BrokerOrder, pending: Mapping[str, Any]) -> bool:
    """Whether the broker's order is as it was asked to become. What it was not sent with, it cannot show."""
    if parse_scaled(report.quantity, order.qty_exp, param="quantity") != pending["quantity"]:
        return False
    for name, before in (("limit_price", order.limit_price), ("trigger_price", order.trigger_price)):
        if before is None:
            continue
        said: str | None = getattr(report, name)
        shown = before if said is None else parse_scaled(said, order.price_exp, param=name)
        if shown != pending[name]:
            return False
    return pending.get("validity") in (None, report.validity)
