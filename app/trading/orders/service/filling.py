"""Record a fill: gather order and position, reduce and charge, then write fill, order, position, ledger at once."""

import json
from typing import Any
from uuid import UUID

import asyncpg

from app.engine.apply import FLAT, Position, Scale, apply_fill
from app.engine.schedule import charges, schedule_named
from app.kernel.ids import uuid7
from app.kernel.money import currency_exponent, format_scaled, format_trimmed
from app.kernel.orders import Fill, Product, Side
from app.kernel.times import format_time

ATTEMPTS = 5
_RECORD = "select orders_record_fill($1, $2::jsonb, $3, $4::jsonb, $5, $6, $7, $8::jsonb)"


async def record_fill(pool: asyncpg.Pool, tenant_id: UUID, fill: Fill) -> str:
    """`recorded`, `replayed` (the same venue fill id was there) or `gone` (the paper venue had let the order go).

    `fill.charges_minor` is ignored: the account's charge schedule says what this execution costs.
    """
    for _ in range(ATTEMPTS):
        found = json.loads(await pool.fetchval("select orders_fill_context($1, $2)", tenant_id, fill.order_id))
        try:
            answer: str = await pool.fetchval(_RECORD, tenant_id, *_writes(fill, found))
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
            continue
        if answer != "conflict":
            return answer
    raise RuntimeError(f"order {fill.order_id} never held still while its fill was recorded")


def _writes(fill: Fill, found: dict[str, Any]) -> tuple[Any, ...]:
    order, account, instrument = found["order"], found["account"], found["instrument"]
    money = currency_exponent(account["currency"])
    scale = Scale(instrument["price_exp"], instrument["qty_exp"], money)
    held = FLAT if found["version"] is None else Position(found["quantity"], found["cost"], found["realised"])
    applied = apply_fill(held, side=fill.side, quantity=fill.quantity, price=fill.price, scale=scale)
    notional = abs(applied.cash)
    fees = charges(
        schedule_named(account["charge_schedule"]),
        notional=notional,
        quantity=fill.quantity,
        side=fill.side,
        product=Product(order["product"]),
        on=fill.occurred_at.date(),
        qty_exp=instrument["qty_exp"],
    )
    row = {
        "id": str(uuid7()),
        "order_id": str(fill.order_id),
        "account_id": order["account_id"],
        "deployment_id": order["deployment_id"],
        "instrument_id": order["instrument_id"],
        "venue_fill_id": fill.venue_fill_id,
        "side": fill.side,
        "quantity": fill.quantity,
        "price": fill.price,
        "notional_minor": notional,
        "charges_minor": fees.total,
        "heads": fees.as_dict(),
        "realised_minor": applied.position.realised - held.realised,
        "occurred_at": fill.occurred_at.isoformat(),
    }
    position = {
        "version": found["version"],
        "quantity": applied.position.quantity,
        "cost": applied.position.cost,
        "realised": applied.position.realised,
    }
    last = order["filled_quantity"] + fill.quantity == order["quantity"]
    release = None if last else order["hold_minor"] * fill.quantity // order["quantity"]
    event = {
        "quantity": format_scaled(fill.quantity, instrument["qty_exp"]),
        "price": format_trimmed(fill.price, instrument["price_exp"]),
        "charges": format_scaled(fees.total, money),
        "currency": account["currency"],
        "market_at": format_time(fill.occurred_at),
    }
    cash = notional if fill.side is Side.SELL else -notional
    return (
        json.dumps(row),
        order["filled_quantity"],
        json.dumps(position),
        account["currency"],
        cash,
        release,
        json.dumps(event),
    )
