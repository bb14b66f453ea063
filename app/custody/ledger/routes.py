"""`/v1/balances`."""

from typing import Annotated

from fastapi import Depends, Query

from app.custody.accounts.service import PREFIX
from app.custody.ledger import service
from app.custody.ledger.schemas import BalanceList, BalanceOut
from app.kernel.ids import decode_id
from app.web.auth import requires
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

router = ApiRouter(prefix="/v1/balances", tags=["Accounts"])


@router.get("", summary="Retrieve an account's balances", dependencies=[Depends(requires("accounts:read"))])
async def retrieve(
    tx: OpenTx, account_id: Annotated[str, Query(max_length=64, description="The account whose cash to show.")]
) -> BalanceList:
    """Posted, held and available cash, as exact decimal strings."""
    found = await service.balances(tx, decode_id(PREFIX, account_id, param="account_id"))
    return BalanceList(data=[BalanceOut.of(balance) for balance in found])
