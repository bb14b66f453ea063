"""Decides what the demo tenant is: its accounts, their funding, its two strategies, its key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.bootstrap import App, bootstrap
from app.custody.accounts.domain import NewAccount
from app.custody.accounts.service import create_account, get_account
from app.custody.ledger.service import Books
from app.infra.database import Database, Tx
from app.infra.settings import load_settings
from app.kernel.errors import DomainError, Kind
from app.kernel.ids import derive_id
from app.kernel.money import Money
from app.local.home import Credentials
from app.market.data.service import read_feed_state, seed_reference
from app.market.instruments.service import load_instruments
from app.platform.identity.service import KeyAuthenticator, create_key
from app.platform.tenancy.domain import PERMISSIONS
from app.platform.tenancy.service import create_tenant, get_tenant
from app.trading.strategies.service import create_strategy, deploy

TENANT = derive_id("demo")
FEED = "replay"
BEGIN = datetime(2003, 1, 1, tzinfo=UTC)
"""When the recorded market begins to move: what lies before is the strategies' history."""
FUNDING = Money(100_000_00, "USD")
INSTRUMENTS = (("AAPL", "XNAS"), ("IBM", "XNYS"), ("MSFT", "XNAS"), ("GOOG", "XNAS"))


@dataclass(frozen=True, slots=True)
class DemoStrategy:
    """A template of the library with parameters, deployed on a paper account of its own."""

    template: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def account_id(self) -> UUID:
        return derive_id("demo", "account", self.template)


STRATEGIES = (DemoStrategy("momentum"), DemoStrategy("mean_reversion"))


async def seed_demo(known: Credentials | None) -> Credentials:
    """Seed reference data, the demo tenant and its deployments, idempotently; settings come from the environment.

    `known` are the credentials of an earlier seed. They are returned when the tenant still has that key; a new key
    is made otherwise.
    """
    async with bootstrap(load_settings()) as app:
        await seed_reference(app.database.reference, app.settings.data_dir)
        await _tenant(app.database)
        feed = await read_feed_state(app.database.reference, FEED)
        market_now = BEGIN if feed is None else feed.market_at
        for strategy in STRATEGIES:
            async with app.database.tx(TENANT) as tx:
                await _deployed(tx, strategy, now=market_now)
        return await _credentials(app, known)


async def _tenant(database: Database) -> None:
    async with database.tx(TENANT) as tx:
        if await _exists(get_tenant(tx)):
            return
    await create_tenant(database, slug="demo", name="Demo", tenant_id=TENANT)


async def _deployed(tx: Tx, strategy: DemoStrategy, *, now: datetime) -> None:
    """Account, funding, strategy and deployment: all of them in one transaction, or they are there already."""
    if await _exists(get_account(tx, strategy.account_id)):
        return
    asked = NewAccount(
        name=f"Demo {strategy.template.replace('_', ' ')}",
        currency=FUNDING.currency,
        opening_balance=FUNDING,
        feed=FEED,
        charge_schedule="us_equity",
        slippage_bps=5,
    )
    await create_account(tx, asked, books=Books(), now=now, account_id=strategy.account_id)
    known = load_instruments()
    instruments = [known[listing]["id"] for listing in INSTRUMENTS]
    made = await create_strategy(
        tx,
        name=strategy.template,
        template=strategy.template,
        parameters=dict(strategy.parameters),
        n_instruments=len(instruments),
        now=now,
    )
    await deploy(
        tx, strategy_id=made.id, account_id=strategy.account_id, instruments=instruments, bar_interval="1d", now=now
    )


async def _credentials(app: App, known: Credentials | None) -> Credentials:
    """`known` while its key is in force for the demo tenant, else those of a new key."""
    now = app.clock()
    if known is not None and known.tenant_id == str(TENANT):
        authenticator = KeyAuthenticator(app.database, cell=app.settings.cell)
        try:
            principal = await authenticator.authenticate(known.api_key, now=now)
        except DomainError as error:
            if error.kind is not Kind.UNAUTHENTICATED:
                raise
        else:
            if principal.tenant_id == TENANT and principal.scopes >= set(PERMISSIONS):
                return known
    async with app.database.tx(TENANT) as tx:
        issued = await create_key(tx, name="demo", scopes=list(PERMISSIONS), cell=app.settings.cell, now=now)
    return Credentials(str(TENANT), issued.secret)


async def _exists(found: Any) -> bool:
    try:
        await found
    except DomainError as error:
        if error.kind is not Kind.NOT_FOUND:
            raise
        return False
    return True
