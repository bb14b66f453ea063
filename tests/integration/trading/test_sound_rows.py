"""What holds of every order and of every account of the ledger, condition by condition; and the tables ask for it."""

import json
from typing import Any

import asyncpg
import pytest

from app.infra.database import Database
from app.kernel.ids import uuid7
from app.kernel.orders import Leg, OrderClass, OrderStatus, Product, Side, Validity

Row = dict[str, Any]
ID = str(uuid7())
ORDER: Row = {
    "status": "accepted",
    "side": "buy",
    "order_type": "limit",
    "product": "delivery",
    "validity": "day",
    "quantity": 10,
    "filled_quantity": 0,
    "order_class": "single",
}
TTL: Row = {"validity": "ttl", "validity_minutes": 5, "expires_at": "2026-01-05T09:15:00Z"}
CHILD: Row = {"order_class": "bracket", "leg": "stop", "parent_id": ID, "pair_id": ID, "pair_quantity": 5}
SOUND_ORDERS: list[Row] = [
    *({"status": str(one), "filled_quantity": 10 if one is OrderStatus.FILLED else 0} for one in OrderStatus),
    *({"side": str(one)} for one in Side),
    *({"product": str(one)} for one in Product),
    *({"validity": str(one)} for one in Validity if one is not Validity.TTL),
    *({"order_class": str(one), "leg": None if one is OrderClass.SINGLE else "whole"} for one in OrderClass),
    *({"order_class": "bracket", "leg": str(one)} for one in Leg),
    TTL,
    CHILD,
    {"limit_price": 1, "trigger_price": 1, "market_protection_bps": 10_000, "disclosed_quantity": 9},
]
WRONG_ORDERS: list[Row] = [
    {"status": "sent"},
    {"side": "hold"},
    {"order_type": "Limit"},
    {"order_type": ""},
    {"product": "margin"},
    {"validity": "never"},
    {"quantity": 0},
    {"filled_quantity": -1},
    {"filled_quantity": 11},
    {"status": "filled", "filled_quantity": 9},
    {"limit_price": 0},
    {"trigger_price": 0},
    {"market_protection_bps": 0},
    {"market_protection_bps": 10_001},
    {"disclosed_quantity": 0},
    {"disclosed_quantity": 10},
    TTL | {"expires_at": None},
    TTL | {"validity_minutes": None},
    TTL | {"validity": "day"},
    {"order_class": "pair", "leg": "whole"},
    CHILD | {"leg": "part"},
    CHILD | {"leg": "whole"},
    CHILD | {"order_class": "single"},
    CHILD | {"pair_quantity": None},
    {"leg": "whole"},
    {"order_class": "bracket"},
]
CASH: Row = {
    "kind": "client_cash",
    "account_id": ID,
    "currency": "USD",
    "head": "",
    "book": "client",
    "shard": 0,
    "posted": 100,
    "pending_out": 70,
    "receivable": 20,
    "payable": 80,
    "margin": 15,
    "financed": 30,
    "flows": 90,
    "overdrawn": 0,
    "floor_minor": 0,
}
EMPTY: Row = {
    "posted": 0, "pending_out": 0, "receivable": 0, "payable": 0, "margin": 0, "financed": 0, "flows": 0,
    "floor_minor": None,
}  # fmt: skip
POOL: Row = CASH | EMPTY | {"kind": "charges", "account_id": None, "head": "commission", "shard": 63}
SECURITIES: Row = CASH | EMPTY | {"kind": "client_securities", "currency": "XXX", "instrument_id": ID}
FIRM: Row = POOL | {"kind": "firm_bank", "head": "", "book": "firm"}
SOUND_ACCOUNTS: list[Row] = [
    CASH,
    CASH | {"pending_out": 80, "overdrawn": 10},
    CASH | {"financed": -30, "overdrawn": 60},
    CASH | {"floor_minor": None, "payable": 1_000},
    CASH | EMPTY | {"kind": "client_receivable", "posted": 20},
    CASH | EMPTY | {"kind": "client_payable", "posted": -80},
    CASH | EMPTY | {"kind": "client_margin", "posted": 15},
    SECURITIES,
    SECURITIES | {"kind": "depository", "account_id": None},
    *(POOL | {"kind": kind, "head": ""} for kind in ("omnibus_bank", "clearing", "suspense", "taxes")),
    POOL,
    POOL | {"kind": "taxes", "head": "gst"},
    FIRM,
    FIRM | {"kind": "firm_income"},
]
WRONG_ACCOUNTS: list[Row] = [
    CASH | {"kind": "cash"},
    CASH | {"account_id": None},
    POOL | {"account_id": ID},
    CASH | {"instrument_id": ID, "currency": "XXX"},
    SECURITIES | {"instrument_id": None},
    SECURITIES | {"currency": "USD"},
    CASH | {"currency": "XXX"},
    POOL | {"kind": "clearing"},
    FIRM | {"book": "client"},
    POOL | {"book": "firm"},
    POOL | {"book": "other"},
    POOL | {"shard": -1},
    POOL | {"shard": 64},
    POOL | {"pending_out": -1},
    POOL | {"overdrawn": -1},
    CASH | {"receivable": -1},
    CASH | {"payable": -1},
    CASH | {"margin": -1},
    POOL | {"receivable": 1},
    POOL | {"payable": 1},
    POOL | {"margin": 1},
    POOL | {"financed": 1},
    POOL | {"flows": 1},
    CASH | EMPTY | {"kind": "client_margin", "account_id": None},
    CASH | {"pending_out": 71},
    CASH | {"financed": 29},
]


async def _sound(database: Database, table: str, function: str, row: Row) -> bool:
    """As the table's CHECK takes it: what is null holds."""
    asked = f"select {function}(jsonb_populate_record(null::{table}, $1::jsonb)) is not false"
    return bool(await database.pool.fetchval(asked, json.dumps(row)))


@pytest.mark.parametrize(("rows", "sound"), [(SOUND_ORDERS, True), (WRONG_ORDERS, False)])
async def test_orders(database: Database, rows: list[Row], sound: bool) -> None:
    said = [(row, await _sound(database, "orders", "orders_sound", ORDER | row)) for row in rows]
    assert [row for row, found in said if found is not sound] == []


@pytest.mark.parametrize(("rows", "sound"), [(SOUND_ACCOUNTS, True), (WRONG_ACCOUNTS, False)])
async def test_accounts_of_the_ledger(database: Database, rows: list[Row], sound: bool) -> None:
    said = [(row, await _sound(database, "ledger_accounts", "ledger_account_sound", row)) for row in rows]
    assert [row for row, found in said if found is not sound] == []


async def test_the_tables_ask(database_urls: dict[str, str]) -> None:
    owner = await asyncpg.connect(database_urls["mandi_migrate"])
    try:
        checks = await owner.fetch(
            "select conrelid::regclass::text as name, pg_get_constraintdef(oid) as says, convalidated "
            "from pg_constraint where contype = 'c' and conrelid in ('orders'::regclass, 'ledger_accounts'::regclass) "
            "order by 1"
        )
    finally:
        await owner.close()
    assert [tuple(one) for one in checks] == [
        ("ledger_accounts", "CHECK (ledger_account_sound(ledger_accounts.*))", True),
        ("orders", "CHECK (orders_sound(orders.*))", True),
    ]
