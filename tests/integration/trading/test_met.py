"""What the matcher's one question leaves out of a random book is what its prices do nothing to."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import asyncpg
import pytest

from app.kernel.ids import uuid7
from app.trading.paper.domain import Close, Price, execute
from app.trading.paper.service import as_resting

FEED = "met"
INSTRUMENTS = [uuid7(), uuid7(), uuid7()]
VENUES = ["XNAS", "XNSE"]
AT = datetime(2026, 1, 5, 10, tzinfo=UTC)
_INSERT = """
insert into paper_orders
select p.* from jsonb_array_elements($1::jsonb) e, jsonb_populate_record(null::paper_orders, e) p
"""
_MET = "select rests from orders_met($1, $2, $3, $4, $5, null, null)"


@pytest.fixture
async def connection(database_urls: dict[str, str]) -> AsyncIterator[asyncpg.Connection]:
    """Its rows are of no order and stay in a transaction that is taken back."""
    opened = await asyncpg.connect(database_urls["admin"].rpartition("/")[0] + "/mandi")
    await opened.execute("set session_replication_role = replica")
    yield opened
    await opened.close()


def _order(random: Random) -> dict[str, Any]:
    kind = random.choice(("market", "limit", "limit", "sl", "sl_m"))
    price = random.randrange(90, 111)
    trigger = random.randrange(90, 111) if kind in ("sl", "sl_m") else None
    validity = random.choice(("day", "gtc", "gtc", "ioc", "ttl"))
    return {
        "tenant_id": str(uuid7()),
        "id": str(uuid7()),
        "account_id": str(uuid7()),
        "feed": random.choice((FEED, FEED, FEED, "other")),
        "instrument_id": str(random.choice(INSTRUMENTS)),
        "venue": random.choice(VENUES),
        "side": random.choice(("buy", "sell")),
        "order_type": kind,
        "validity": validity,
        "limit_price": price if kind in ("limit", "sl") else None,
        "remaining": random.randrange(1, 50),
        "tick": 1,
        "slippage_bps": random.choice((0, 5, 500)),
        "trigger_price": trigger,
        "triggered_at": f"{random.randrange(10)}-0" if kind == "sl" and random.random() < 0.4 else None,
        "protected_price": random.randrange(90, 111) if trigger and random.random() < 0.3 else None,
        "expires_at": (AT + timedelta(seconds=random.randrange(-5, 15))).isoformat() if validity == "ttl" else None,
        "arrived_after": f"{random.randrange(12)}-0",
        "arrived_at": AT.isoformat(),
    }


def _tape(random: Random) -> list[Price | Close]:
    tape: list[Price | Close] = []
    for place in range(random.randrange(1, 8)):
        entry, at = f"{10 + place}-0", AT + timedelta(seconds=place)
        if random.random() < 0.1:
            tape.append(Close(entry, random.choice(VENUES), at))
        else:
            shown = random.choice(INSTRUMENTS[:2]), random.randrange(92, 109), random.randrange(100)
            tape.append(Price(entry, *shown, first=random.random() < 0.2, at=at))
    return tape


async def _met(connection: asyncpg.Connection, tape: Sequence[Price | Close]) -> list[dict[str, Any]]:
    shown = [entry for entry in tape if isinstance(entry, Price)]
    instruments = list(dict.fromkeys(entry.instrument_id for entry in shown))
    prices = [[entry.price for entry in shown if entry.instrument_id == one] for one in instruments]
    venues = [entry.venue for entry in tape if isinstance(entry, Close)]
    rows = await connection.fetch(_MET, FEED, instruments, [*map(min, prices)], [*map(max, prices)], venues)
    return [json.loads(row["rests"]) for row in rows]


@pytest.mark.parametrize("seed", range(8))
async def test_what_is_left_out_meets_nothing(connection: asyncpg.Connection, seed: int) -> None:
    random = Random(seed)
    left_out = executed = 0
    for _ in range(12):
        book = [_order(random) for _ in range(60)]
        seen = {order["id"]: random.random() < 0.5 for order in book}
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("delete from paper_orders")
        await connection.execute(_INSERT, json.dumps(book))
        for _ in range(10):
            tape = _tape(random)
            met = await _met(connection, tape)
            whole = [order for order in book if order["feed"] == FEED]
            done = execute([as_resting(row, seen=seen[row["id"]]) for row in whole], tape)
            assert execute([as_resting(row, seen=seen[row["id"]]) for row in met], tape) == done
            left_out += len(whole) - len(met)
            executed += len(done)
        await transaction.rollback()
    assert left_out > 500 and executed > 500
