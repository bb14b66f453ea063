"""Define a strategy, put it on an account, pause, resume and stop it."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, cast
from uuid import UUID

from sqlmodel import col, select

from app.custody.accounts.service import get_account
from app.engine.program import compile_program
from app.infra.database import Tx
from app.kernel.errors import conflict, invalid, not_found
from app.kernel.ids import encode_id
from app.kernel.plugins import discover
from app.market.instruments.service import scales_of
from app.platform.plans.domain import QuotaName
from app.platform.plans.service import consume, release
from app.trading.strategies.tables import Deployment, Strategy
from app.web.cursors import Cursor, Slice

_Deployment = cast(Any, Deployment)
MAX_INSTRUMENTS = 100


@lru_cache(maxsize=1)
def templates() -> dict[str, Any]:
    """The library's strategies, by name: `.title`, `.reference`, `.parameters`, `.build`."""
    return discover("app.trading.strategies.library")


async def create_strategy(
    tx: Tx,
    *,
    name: str,
    template: str | None,
    parameters: dict[str, Any],
    now: datetime,
    n_instruments: int | None = None,
    document: dict[str, Any] | None = None,
) -> Strategy:
    """Store a template of the library with parameters, or a program of one's own.

    `n_instruments` is for how many a template's program is shown; each deployment builds it for its own.

    Raises `unknown_template`, `invalid_parameters` naming the parameter, `invalid_program` with the path of the node.
    """
    del now
    if (template is None) == (document is None):
        raise invalid("template_or_program", "Send either a template or a program.", param="template")
    built = _document(template, parameters, n_instruments) if template is not None else dict(document or {})
    program = compile_program(built)
    checked = _checked(template, parameters) if template is not None else {}
    row = Strategy(
        tenant_id=tx.tenant_id,
        name=name,
        template=template,
        parameters=checked,
        document=built,
        digest=program.digest,
    )
    tx.add(row)
    tx.emit("strategy.created", row.id, {"name": name, "template": template, "digest": program.digest})
    await tx.flush()
    return row


def _checked(template: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return cast(dict[str, Any], _parsed(template, parameters).model_dump(mode="json"))


def _parsed(template: str, parameters: dict[str, Any]) -> Any:
    known = templates().get(template)
    if known is None:
        names = ", ".join(templates())
        raise invalid(
            "unknown_template", f"No template is named {template[:64]!r}; there are {names}.", param="template"
        )
    return known.parse(parameters)


def _document(template: str, parameters: dict[str, Any], n_instruments: int | None) -> dict[str, Any]:
    parsed = _parsed(template, parameters)
    return templates_build(template, parsed, templates()[template].least if n_instruments is None else n_instruments)


def templates_build(template: str, parsed: Any, n_instruments: int) -> dict[str, Any]:
    """The program of a template for a number of instruments."""
    return dict(templates()[template].build(parsed, n_instruments))


def build_program(template: str, parameters: dict[str, Any], n_instruments: int) -> dict[str, Any]:
    """What a template writes for `n_instruments`. Raises `unknown_template`, `invalid_parameters` naming the field."""
    return _document(template, parameters, n_instruments)


def is_intraday(template: str) -> bool:
    """Whether the template needs bars within the day."""
    return bool(templates()[template].intraday)


def program_document(strategy: Strategy, n_instruments: int) -> dict[str, Any]:
    """What a deployment on `n_instruments` runs: a template is built for their number, a program is as it is."""
    if strategy.template is None:
        return strategy.document
    return _document(strategy.template, strategy.parameters, n_instruments)


async def deploy(
    tx: Tx,
    *,
    strategy_id: UUID,
    account_id: UUID,
    instruments: Sequence[UUID],
    bar_interval: str = "1d",
    now: datetime,
) -> Deployment:
    """Run a strategy on an account, from the next bar of the account's feed on.

    `now` is the market's time for a feed that has not begun. Raises `strategy_not_found`, `account_not_found`,
    `unknown_instrument`, `currency_mismatch`, `account_in_use`, `quota_exceeded`.
    """
    strategy = await get_strategy(tx, strategy_id)
    account = await get_account(tx, account_id)
    chosen = list(dict.fromkeys(instruments))
    if not 0 < len(chosen) <= MAX_INSTRUMENTS:
        raise invalid("invalid_instruments", f"Name 1 to {MAX_INSTRUMENTS} instruments.", param="instruments")
    scales = await scales_of(tx, chosen)
    for instrument_id in chosen:
        if instrument_id not in scales:
            raise invalid(
                "unknown_instrument",
                f"No instrument has the id {encode_id('ins', instrument_id)}.",
                param="instruments",
            )
        if scales[instrument_id].currency != account.currency:
            symbol = scales[instrument_id].symbol
            raise invalid("currency_mismatch", f"{symbol} does not trade in {account.currency}.", param="instruments")
    taken = await tx.scalars(
        select(Deployment).where(
            col(Deployment.tenant_id) == tx.tenant_id,
            _Deployment.account_id == account_id,
            _Deployment.status != "stopped",
        )
    )
    if taken.first() is not None:
        raise conflict(
            "account_in_use", "The account runs a deployment; stop it, or use another account.", param="account_id"
        )
    watermark = await tx.fetchval("select market_watermark($1)", account.feed) or now
    await consume(tx, QuotaName.DEPLOYMENTS)
    row = Deployment(
        tenant_id=tx.tenant_id,
        strategy_id=strategy_id,
        account_id=account_id,
        digest=_deployable(strategy, len(chosen)),
        feed=account.feed,
        bar_interval=bar_interval,
        instruments=chosen,
        first_bar=watermark,
        last_bar=watermark,
    )
    tx.add(row)
    tx.emit("deployment.started", row.id, {"strategy_id": encode_id("str", strategy_id)}, account_id=account_id)
    await tx.flush()
    return row


def _deployable(strategy: Strategy, n_instruments: int) -> str:
    """The digest of a program that deployments can run."""
    if strategy.template is not None and templates()[strategy.template].intraday:
        reason = f"{strategy.template} needs bars within the day; deployments have daily bars for now."
        raise conflict("not_deployable", reason, param="bar_interval")
    program = compile_program(program_document(strategy, n_instruments))
    if n_instruments < program.instruments:
        reason = f"The program reads instrument {program.instruments} of its list; name as many."
        raise invalid("too_few_instruments", reason, param="instruments")
    if not program.live:
        raise conflict(
            "not_deployable",
            "Deployments run long targets only for now: this program has trades, short positions, position words or "
            "sizing at the fill. It can be backtested.",
            param="strategy_id",
        )
    return program.digest


async def set_status(tx: Tx, deployment_id: UUID, status: str, *, reason: str | None = None) -> Deployment:
    """Pause, resume (`running`) or stop. A stopped deployment stays stopped; resuming skips the bars it missed.

    Working orders stay as they are: cancel them through the orders. Raises `deployment_stopped`.
    """
    row = await get_deployment(tx, deployment_id)
    # Its place in the quota is given back once, however many stop it at the same time, and nobody resumes it who has
    # not seen that; no order of it is on its way any more when it is paused.
    await tx.session.refresh(row, with_for_update={"key_share": True})
    if row.status == "stopped" and status != "stopped":
        raise conflict("deployment_stopped", "The deployment has been stopped; deploy the strategy again.")
    if row.status != status:
        if status == "running":
            row.last_bar = await tx.fetchval("select market_watermark($1)", row.feed) or row.last_bar
            row.failures = 0
        if status == "stopped":
            await release(tx, QuotaName.DEPLOYMENTS)
        row.status, row.status_reason = status, reason
        verb = {"running": "resumed"}.get(status, status)
        tx.emit(f"deployment.{verb}", row.id, {"reason": reason} if reason else {}, account_id=row.account_id)
        await tx.flush()
    return row


async def get_strategy(tx: Tx, strategy_id: UUID) -> Strategy:
    """Raises `strategy_not_found`."""
    row = await tx.get(Strategy, strategy_id)
    if row is None:
        raise not_found("strategy", encode_id("str", strategy_id))
    return row


async def get_deployment(tx: Tx, deployment_id: UUID) -> Deployment:
    """Raises `deployment_not_found`."""
    row = await tx.get(Deployment, deployment_id)
    if row is None:
        raise not_found("deployment", encode_id("dep", deployment_id))
    return row


class TenantDeployments:
    """The tenant's deployments: risk's port `Deployments`."""

    async def account_of(self, tx: Tx, deployment_id: UUID) -> UUID:
        """Raises `deployment_not_found`."""
        return (await get_deployment(tx, deployment_id)).account_id


async def held_deployment(tx: Tx, deployment_id: UUID) -> Deployment:
    """The deployment as it stays until `tx` ends: whoever else changes it waits. Raises `deployment_not_found`."""
    await get_deployment(tx, deployment_id)
    locked = select(Deployment).where(col(Deployment.tenant_id) == tx.tenant_id, col(Deployment.id) == deployment_id)
    statement = locked.with_for_update(key_share=True).execution_options(populate_existing=True)
    found: Deployment = (await tx.scalars(statement)).one()
    return found


async def list_strategies(tx: Tx, cursor: Cursor) -> Slice[Strategy]:
    """Newest first."""
    statement = select(Strategy).where(col(Strategy.tenant_id) == tx.tenant_id)
    return cursor.cut((await tx.scalars(cursor.apply(cast(Any, statement), cast(Any, Strategy).id))).all())


async def list_deployments(tx: Tx, cursor: Cursor, *, status: str | None = None) -> Slice[Deployment]:
    """Newest first."""
    statement = select(Deployment).where(col(Deployment.tenant_id) == tx.tenant_id)
    if status is not None:
        statement = statement.where(_Deployment.status == status)
    return cursor.cut((await tx.scalars(cursor.apply(cast(Any, statement), _Deployment.id))).all())
