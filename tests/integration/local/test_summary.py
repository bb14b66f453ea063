"""The summary's figures come from the rows as they are, and `--check` sees what is wrong with them."""

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from app.bootstrap import import_tables
from app.infra import roles
from app.infra.database import open_database
from app.infra.migrate import migrate
from app.infra.settings import Settings
from app.kernel.ids import uuid7
from app.local.figures import broken_invariants, failures
from app.local.postgres import temporary_postgres
from app.local.summary import SummaryReader
from app.market.data.service import seed_reference
from app.market.instruments.service import load_instruments
from app.platform.tenancy.service import create_tenant
from tests.factories.histories import History, open_history

pytestmark = pytest.mark.integration
AT = datetime(2003, 2, 3, 21, tzinfo=UTC)
AAPL, MSFT = (load_instruments()[symbol, "XNAS"]["id"] for symbol in ("AAPL", "MSFT"))
_FEED = """
insert into feed_state (feed, interval, market_at, watermark, bars_published, last_stream_id, speed, status)
values ('replay', '1d', $1, $1, 42, '0-0', 0, 'running')
"""
_STRATEGY = (
    "insert into strategies (tenant_id, id, name, parameters, document, digest) values ($1, $2, $3, '{}', '{}', '')"
)
_DEPLOYMENT = """
insert into deployments (tenant_id, id, strategy_id, account_id, digest, feed, bar_interval, instruments, status,
    failures, first_bar, last_bar)
values ($1, $2, $3, $4, '', 'replay', '1d', '{}', 'running', 0, $5, $5)
"""


@dataclass(frozen=True, slots=True)
class World:
    """A migrated database with reference data."""

    settings: Settings
    admin_url: str

    @property
    def app_url(self) -> str:
        return self.settings.app_database_url.get_secret_value()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    import_tables()
    data_dir: Path = tmp_path_factory.mktemp("summary")
    with temporary_postgres() as server:
        passwords = {role: secrets.token_urlsafe(8) for role in roles.LOGIN_ROLES}
        asyncio.run(roles.ensure_roles(server.dsn, passwords))
        urls = {role: roles.role_url(server.dsn, role, password) for role, password in passwords.items()}
        migrate(urls["mandi_migrate"])
        settings = Settings.model_validate(
            {
                "APP_DATABASE_URL": urls["mandi_app"],
                "DISPATCH_DATABASE_URL": urls["mandi_dispatch"],
                "REFERENCE_DATABASE_URL": urls["mandi_reference"],
                "REDIS_URL": "redis://127.0.0.1:1",
                "MANDI_DATA_DIR": data_dir,
            }
        )
        asyncio.run(_prepare(settings))
        yield World(settings, roles.with_database(server.dsn, "mandi"))


async def _prepare(settings: Settings) -> None:
    database = await open_database(settings, on_commit=lambda queue, shard: None)
    await seed_reference(database.reference, settings.data_dir)
    await database.reference.execute(_FEED, AT)
    for instrument_id, price in ((AAPL, 150_000), (MSFT, 480_050)):
        await database.reference.execute(
            "insert into last_prices (feed, instrument_id, price, market_at, session_date) "
            "values ('replay', $1, $2, $3, $4)",
            instrument_id, price, AT, AT.date(),
        )  # fmt: skip
    await database.close()


async def _trade(settings: Settings, tenant_id: UUID) -> History:
    """Bought 200 AAPL and 101 MSFT before its 2:1 split, sold half of the AAPL; one order rests, one moves, one was
    denied."""
    database = await open_database(settings, on_commit=lambda queue, shard: None)
    await create_tenant(database, slug="t", name="T", tenant_id=tenant_id)
    deployment_id, strategy_id = uuid7(), uuid7()
    opened = await open_history(database, tenant_id, opening=100_000_00, at=AT - timedelta(days=30))
    history = History(database, tenant_id, opened.account_id, "replay", deployment_id)
    await history.call(_STRATEGY, tenant_id, strategy_id, "momentum")
    await history.call(_DEPLOYMENT, tenant_id, deployment_id, strategy_id, history.account_id, AT)
    await history.fill(AAPL, "buy", 200, 140_000, AT - timedelta(days=9), charges=100)
    await history.fill(MSFT, "buy", 101, 480_000, AT - timedelta(days=8), charges=100)
    await history.split(MSFT, (2, 1), 101, 202, AT - timedelta(days=3))
    await history.fill(AAPL, "sell", 100, 150_000, AT - timedelta(days=1), charges=102, held=100)
    await history.order(AAPL, "open", resting=True)
    await history.order(AAPL, "submitting")
    figures = {"limit": "1", "value": "2", "message": "too much"}
    await history.denial(AAPL, [{"rule": "max_order_value", "verdict": "deny", **figures}, {"rule": "x", **figures}])
    await database.close()
    return history


@pytest.fixture
def traded(world: World) -> History:
    return asyncio.run(_trade(world.settings, uuid7()))


@pytest.fixture
def reader(world: World, traded: History) -> Iterator[SummaryReader]:
    opened = SummaryReader(world.app_url, traded.tenant_id)
    yield opened
    opened.close()


async def _write(settings: Settings, history: History, sql: str, *arguments: object) -> None:
    database = await open_database(settings, on_commit=lambda queue, shard: None)
    await History(database, history.tenant_id, history.account_id, "replay").call(sql, *arguments)
    await database.close()


async def _as_admin(world: World, sql: str, *arguments: object) -> None:
    admin = await asyncpg.connect(world.admin_url)
    await admin.execute(sql, *arguments)
    await admin.close()


def test_what_is_deployed_is_seen_before_the_first_price(world: World, reader: SummaryReader) -> None:
    asyncio.run(_as_admin(world, "delete from feed_state where feed = 'replay'"))
    try:
        looked = reader.read()
    finally:
        asyncio.run(_as_admin(world, _FEED, AT))
    assert looked is not None
    assert ([one.name for one in looked.strategies], looked.market_at, looked.bars) == (["momentum"], None, 0)


def test_one_look_finds_orders_fills_positions_money_and_denials(reader: SummaryReader) -> None:
    looked = reader.read()
    assert looked is not None
    (momentum,) = looked.strategies
    assert (looked.market_at, looked.bars, looked.ledger, looked.drifted) == (AT, 42, {"USD": 0}, 0)
    assert looked.denials == {"max_order_value": 1}
    assert (momentum.orders, momentum.resting, momentum.moving, momentum.fills, momentum.denied) == (6, 1, 1, 3, 1)
    assert momentum.positions == momentum.positions_from_fills == (("AAPL", "100"), ("MSFT", "202"))
    cash = 100_000_00 - 2_800_00 - 4_848_00 + 1_500_00 - 302
    assert momentum.cash == cash
    assert momentum.market_value == 100 * 15_00 + 202 * 480_050 // 100
    assert momentum.equity == cash + momentum.market_value
    assert broken_invariants(looked) == []
    assert failures(looked, waited_s=1) == ["momentum: 1 orders are neither terminal nor resting"]


def test_a_position_that_its_fills_do_not_explain_fails_the_check(
    world: World, traded: History, reader: SummaryReader
) -> None:
    sql = "update positions set quantity = quantity + 1 where instrument_id = $1"
    asyncio.run(_write(world.settings, traded, sql, AAPL))
    looked = reader.read()
    assert looked is not None
    assert any("differ from those of its fills" in line for line in broken_invariants(looked))


def test_an_open_order_that_no_venue_knows_does_not_rest(world: World, traded: History, reader: SummaryReader) -> None:
    asyncio.run(_write(world.settings, traded, "delete from paper_orders"))
    looked = reader.read()
    assert looked is not None
    assert (looked.strategies[0].resting, looked.strategies[0].moving) == (0, 2)


def test_another_tenant_sees_nothing_of_it(world: World, traded: History) -> None:
    stranger = SummaryReader(world.app_url, uuid7())
    looked = stranger.read()
    stranger.close()
    assert looked is not None
    assert (looked.strategies, looked.ledger, looked.denials) == ((), {}, {})
