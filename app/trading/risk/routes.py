"""`/v1/accounts/{id}/risk_limits`."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path

from app.infra.database import Tx
from app.kernel.ids import decode_id
from app.trading.risk import service
from app.trading.risk.schemas import RiskLimitList, RiskLimitOut, SetRiskLimit
from app.web.auth import requires
from app.web.conditional import Expected, Precondition
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

router = ApiRouter(prefix="/v1/accounts/{id}/risk_limits", tags=["Risk"])
_WRITE = [Depends(requires("risk:write"))]
_Rule = Annotated[str, Path(max_length=64, examples=["max_order_value"])]


@router.get("", summary="List an account's risk limits", dependencies=[Depends(requires("risk:read"))])
async def list_all(id: str, tx: OpenTx) -> RiskLimitList:
    """What every rule applies to the account's orders."""
    return RiskLimitList(data=[RiskLimitOut.of(one) for one in await service.limits(tx, decode_id("acc", id))])


@router.get("/{rule}", summary="Retrieve a risk limit", dependencies=[Depends(requires("risk:read"))])
async def retrieve(id: str, rule: _Rule, tx: OpenTx) -> RiskLimitOut:
    """What one rule applies to the account's orders. Its `ETag` goes into `If-Match` when you change it."""
    return RiskLimitOut.of(await service.limit(tx, decode_id("acc", id), rule))


@router.put("/{rule}", summary="Set a risk limit", dependencies=_WRITE)
async def replace(id: str, rule: _Rule, body: SetRiskLimit, tx: OpenTx, expected: Expected) -> RiskLimitOut:
    """It holds for every order decided from now on, also for those that are being decided."""
    account_id = decode_id("acc", id)
    await _check(tx, account_id, rule, expected)
    return RiskLimitOut.of(await service.set_limit(tx, account_id, rule, body.parameters))


@router.delete("/{rule}", summary="Clear a risk limit", dependencies=_WRITE)
async def clear(id: str, rule: _Rule, tx: OpenTx, expected: Expected) -> RiskLimitOut:
    """Back to the tenant's limit, or the rule's default; the answer says which."""
    account_id = decode_id("acc", id)
    await _check(tx, account_id, rule, expected)
    return RiskLimitOut.of(await service.clear_limit(tx, account_id, rule))


async def _check(tx: Tx, account_id: UUID, rule: str, expected: Precondition) -> None:
    if expected.given:
        expected.check(RiskLimitOut.of(await service.held_limit(tx, account_id, rule)))
