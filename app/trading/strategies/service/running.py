"""Run the bars that are due: signals once per program, books by the chunk, intents through the one `place_order`.

A bar may be run again at any time: client order ids follow from (tenant, deployment, bar, leg), the book is read as it
was before the bar's own orders, and `last_bar` only ever grows.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from sqlalchemy import text

from app.engine.decision import Book, Holding, decide
from app.engine.instruments import Instrument
from app.engine.program import Program, compile_program
from app.infra.outages import is_outage
from app.infra.process import App
from app.infra.work.relay import SHARED_ROWS, Waiting
from app.kernel.errors import DomainError
from app.kernel.ids import derive_id
from app.kernel.instrument import TradingRules
from app.kernel.orders import Intent, Product, Side, Validity
from app.market.instruments.service import rules_at, scales_of
from app.trading.orders.service import PlaceOrder, place_order
from app.trading.strategies.service.definitions import templates, templates_build
from app.trading.strategies.service.signals import Bar, SignalBook

CHUNK = 50
log = structlog.get_logger(__name__)
_turn = asyncio.Lock()
Due = Mapping[str, Any]


_RUNS = text(
    "SELECT 1 FROM deployments WHERE tenant_id = :tenant AND id = :deployment AND status = 'running' FOR SHARE"
)


async def due_shards(app: App) -> list[Waiting]:
    """The shards that have a bar to run, for the relay: each is a message by itself."""
    rows = await app.database.dispatch.fetch("select * from strategies_due_shards()")
    return [("strategies", row["shard"], SHARED_ROWS) for row in rows]


async def run_due(app: App, shard: int) -> int:
    """Run every due bar of the shard's deployments. Returns how many deployments were brought up to date."""
    async with _turn:  # signals are computed by one caller at a time
        groups: dict[tuple[Any, ...], list[Due]] = defaultdict(list)
        for due in await app.database.dispatch.fetch("select * from strategies_due($1)", shard):
            key = (due["digest"], tuple(due["instruments"]), due["feed"], due["bar_interval"], due["last_bar"])
            groups[key].append(due)
        done = 0
        for group in groups.values():
            for start in range(0, len(group), CHUNK):
                done += await _run_chunk(app, group[start : start + CHUNK])
        return done


@lru_cache(maxsize=1)
def _signals(pool: asyncpg.Pool, data_dir: Path) -> SignalBook:
    return SignalBook(pool, data_dir)


async def _run_chunk(app: App, group: Sequence[Due]) -> int:
    """Deployments of one program that stand at the same bar."""
    first = group[0]
    try:
        program = await _program(app, first)
        instruments = await _instruments(app, first["instruments"], first["watermark"])
        bars = await _signals(app.database.pool, app.settings.data_dir).bars(
            program, instruments, first["bar_interval"], after=first["last_bar"], until=first["watermark"]
        )
    except Exception as error:
        for due in group:
            await _failed(app, due, error)
        return 0
    results = await asyncio.gather(*(_run_one(app, due, program, instruments, bars) for due in group))
    return sum(results)


async def _run_one(app: App, due: Due, program: Program, instruments: list[Instrument], bars: list[Bar]) -> bool:
    """Each bar in turn: decide, place, advance. A failure leaves the rest for the next run."""
    tenant_id, deployment_id = due["tenant_id"], due["id"]
    try:
        for bar in bars:
            if bar.at == due["watermark"]:  # a bar that passed while nobody ran it is history, not a decision
                found = (await _books(app, [due], bar.at))[deployment_id]
                for intent in decide(program, instruments, bar.signals, _book(found, instruments, bar)):
                    sure = intent.side is Side.SELL or not any(w["unknown"] for w in found["working"])
                    if sure and not await _place(app, due, bar, intent):
                        return False  # it was paused, or stopped, since it was found to be due
        await app.database.pool.fetchval(
            "select strategies_advance($1, $2, $3)", tenant_id, deployment_id, due["watermark"]
        )
    except Exception as error:
        await _failed(app, due, error)
        return False
    return True


async def _place(app: App, due: Due, bar: Bar, intent: Intent) -> bool:
    """Whether the deployment still runs. Whoever pauses it waits for the order that is being placed, and is told that
    it is paused when none can follow."""
    command = PlaceOrder(
        account_id=due["account_id"],
        instrument_id=intent.instrument_id,
        side=intent.side,
        order_type=intent.order_type,
        quantity=intent.quantity,
        limit_price=intent.limit_price,
        product=Product.DELIVERY,
        validity=Validity.DAY,
        client_order_id=derive_id(due["tenant_id"], due["id"], bar.at.isoformat(), intent.leg).hex,
        deployment_id=due["id"],
        reason=intent.reason,
    )
    async with app.database.tx(due["tenant_id"]) as tx:
        if (await tx.execute(_RUNS, {"tenant": due["tenant_id"], "deployment": due["id"]})).first() is None:
            return False
        await place_order(tx, command, now=app.clock())
    return True


async def _books(app: App, chunk: Sequence[Due], at: datetime) -> dict[UUID, dict[str, Any]]:
    rows = await app.database.pool.fetch(
        "select * from strategies_books($1, $2, $3, $4)",
        [due["tenant_id"] for due in chunk],
        [due["account_id"] for due in chunk],
        [due["id"] for due in chunk],
        at,
    )
    return {row["deployment_id"]: json.loads(row["book"]) for row in rows}


def _book(found: dict[str, Any], instruments: Sequence[Instrument], bar: Bar) -> Book:
    working = {(w["instrument_id"], w["side"]): w["remaining"] for w in found["working"]}
    holdings = []
    for one, close in zip(instruments, bar.closes, strict=True):
        name = str(one.instrument_id)
        holdings.append(
            Holding(
                quantity=found["positions"].get(name, 0),
                close=close,
                open_buy=working.get((name, "buy"), 0),
                open_sell=working.get((name, "sell"), 0),
            )
        )
    return Book(cash=found["cash"], holdings=tuple(holdings), reserved=found["held"])


_programs: dict[str, Program] = {}


async def _program(app: App, due: Due) -> Program:
    """The program of a digest, compiled once per process."""
    program = _programs.get(due["digest"])
    if program is None:
        strategy = (await _books(app, [due], due["watermark"]))[due["id"]]["strategy"]
        document = strategy["document"]
        if strategy["template"] is not None:
            parsed = templates()[strategy["template"]].parse(strategy["parameters"])
            document = templates_build(strategy["template"], parsed, len(due["instruments"]))
        program = compile_program(document)
        if program.digest != due["digest"]:
            raise RuntimeError("the strategy's program is not the one that was deployed; deploy it again")
        _programs[due["digest"]] = program
    return program


async def _instruments(app: App, instrument_ids: Sequence[UUID], at: datetime) -> list[Instrument]:
    scales = await scales_of(app.database.pool, instrument_ids)
    found = []
    for instrument_id in instrument_ids:
        scale, rules = scales[instrument_id], await _rules(app, instrument_id, at)
        found.append(
            Instrument(instrument_id, scale.currency, scale.price_exp, scale.qty_exp, tick=rules.tick, lot=rules.lot)
        )
    return found


async def _rules(app: App, instrument_id: UUID, at: datetime) -> TradingRules:
    """An instrument that is not listed yet (or any more) has no bars, so no order is ever sized by these."""
    try:
        return await rules_at(app.database.pool, instrument_id, at)
    except DomainError as error:
        if error.code != "no_rules":
            raise
        return TradingRules(tick=1, lot=1, freeze_quantity=None)


async def _failed(app: App, due: Due, error: Exception) -> None:
    """Counts against the deployment, unless it is the house that is down: then the bar simply waits."""
    if is_outage(error) or isinstance(error, OSError):
        raise error
    log.error("deployment.bar_failed", deployment=str(due["id"]), tenant=str(due["tenant_id"]), exc_info=error)
    await app.database.pool.fetchval("select strategies_fail($1, $2, $3)", due["tenant_id"], due["id"], str(error))
