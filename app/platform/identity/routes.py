"""`/v1/api_keys`."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request, Response

from app.kernel.ids import decode_id, encode_id
from app.platform.identity import service
from app.platform.identity.schemas import PREFIX, ApiKeyOut, CreateApiKey, NewApiKeyOut
from app.web.auth import requires
from app.web.context import gateway_of, now
from app.web.idempotency import idempotent_secret
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

router = ApiRouter(prefix="/v1/api_keys", tags=["API keys"])
Now = Annotated[datetime, Depends(now)]


@router.post(
    "",
    summary="Create an API key",
    status_code=201,
    dependencies=[Depends(requires("api_keys:write")), idempotent_secret],
)
async def create(body: CreateApiKey, request: Request, response: Response, tx: OpenTx, at: Now) -> NewApiKeyOut:
    """A key with at most your own key's scopes. The answer is the only place that ever shows its secret.

    With an access token, the login behind it must be of the last ten minutes. A live key needs such a token."""
    issued = await service.create_key(
        tx, name=body.name, scopes=body.scopes, cell=gateway_of(request).cell, now=at, expires_at=body.expires_at
    )
    response.headers["Location"] = f"/v1/api_keys/{encode_id(PREFIX, issued.row.id)}"
    return NewApiKeyOut(**ApiKeyOut.of(issued.row).model_dump(), secret=issued.secret)


@router.get("", summary="List API keys", dependencies=[Depends(requires("api_keys:read"))])
async def list_all(tx: OpenTx, page: Paged) -> Page[ApiKeyOut]:
    """The tenant's keys, newest first, revoked ones too."""
    found = await service.list_keys(tx, page.cursor(PREFIX))
    return Page.of(found.map(ApiKeyOut.of))


@router.delete("/{id}", summary="Revoke an API key", dependencies=[Depends(requires("api_keys:write", exits=True))])
async def revoke(id: str, tx: OpenTx, at: Now) -> ApiKeyOut:
    """End a key for ever. Repeating it changes nothing; it stops working within five seconds."""
    return ApiKeyOut.of(await service.revoke_key(tx, decode_id(PREFIX, id), now=at))
