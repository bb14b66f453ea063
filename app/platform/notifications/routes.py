"""`/v1/webhook_endpoints` and `/v1/webhook_deliveries`."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response

from app.infra.crypto.sealer import Sealer
from app.infra.database import Tx
from app.infra.process import App
from app.kernel.ids import decode_id, encode_id
from app.platform.notifications import service
from app.platform.notifications.schemas import (
    DELIVERY,
    ENDPOINT,
    ChangeWebhookEndpoint,
    CreateWebhookEndpoint,
    NewWebhookSecretOut,
    WebhookDeliveryOut,
    WebhookEndpointOut,
)
from app.platform.notifications.tables import WebhookEndpoint
from app.web.auth import requires
from app.web.conditional import Expected, Precondition
from app.web.context import now
from app.web.idempotency import idempotent, idempotent_secret
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

ENDPOINTS = "/webhook_endpoints"
READ, WRITE = [Depends(requires("webhooks:read"))], [Depends(requires("webhooks:write"))]
Now = Annotated[datetime, Depends(now)]


async def _sealer(request: Request) -> Sealer:
    process: App = request.app.state.app
    return process.sealer


Seals = Annotated[Sealer, Depends(_sealer)]


def _with_secret(endpoint: WebhookEndpoint, secret: str) -> NewWebhookSecretOut:
    return NewWebhookSecretOut(**WebhookEndpointOut.of(endpoint).model_dump(), secret=secret)


def webhook_routes(*, loopback: bool) -> ApiRouter:
    """The routes; `loopback` lets endpoints name 127.0.0.1, for the local stack."""
    router = ApiRouter(prefix="/v1", tags=["Webhooks"])
    _endpoint_routes(router, loopback=loopback)
    _delivery_routes(router)
    return router


def _endpoint_routes(router: ApiRouter, *, loopback: bool) -> None:
    @router.post(
        ENDPOINTS, summary="Create a webhook endpoint", status_code=201, dependencies=[*WRITE, idempotent_secret]
    )
    async def create(body: CreateWebhookEndpoint, response: Response, tx: OpenTx, sealer: Seals) -> NewWebhookSecretOut:
        """It hears what happens from now on. The answer is the only place that ever shows its secret."""
        made = await service.create_endpoint(tx, sealer, url=body.url, event_types=body.event_types, loopback=loopback)
        response.headers["Location"] = f"/v1{ENDPOINTS}/{encode_id(ENDPOINT, made[0].id)}"
        return _with_secret(*made)

    @router.get(ENDPOINTS, summary="List webhook endpoints", dependencies=READ)
    async def list_all(tx: OpenTx, page: Paged) -> Page[WebhookEndpointOut]:
        """The tenant's endpoints, newest first."""
        return Page.of((await service.list_endpoints(tx, page.cursor(ENDPOINT))).map(WebhookEndpointOut.of))

    @router.get(f"{ENDPOINTS}/{{id}}", summary="Read a webhook endpoint", dependencies=READ)
    async def read(id: str, tx: OpenTx) -> WebhookEndpointOut:
        """One endpoint, without its secret."""
        return WebhookEndpointOut.of(await service.get_endpoint(tx, decode_id(ENDPOINT, id)))

    @router.patch(f"{ENDPOINTS}/{{id}}", summary="Change a webhook endpoint", dependencies=WRITE)
    async def change(id: str, body: ChangeWebhookEndpoint, tx: OpenTx, expected: Expected) -> WebhookEndpointOut:
        """Change URL or event types, disable it or enable it again."""
        changed = await service.change_endpoint(
            tx,
            await _known(tx, id, expected),
            url=body.url,
            event_types=body.event_types,
            status=body.status,
            loopback=loopback,
        )
        return WebhookEndpointOut.of(changed)

    @router.delete(f"{ENDPOINTS}/{{id}}", summary="Delete a webhook endpoint", status_code=204, dependencies=WRITE)
    async def delete(id: str, tx: OpenTx, expected: Expected) -> Response:
        """Delete it and the record of its deliveries."""
        await service.delete_endpoint(tx, await _known(tx, id, expected))
        return Response(status_code=204)

    @router.post(
        f"{ENDPOINTS}/{{id}}/rotate_secret", summary="Rotate a webhook secret", dependencies=[*WRITE, idempotent_secret]
    )
    async def rotate(id: str, tx: OpenTx, sealer: Seals, at: Now, expected: Expected) -> NewWebhookSecretOut:
        """A new secret, shown this once. For a day each delivery carries the signatures of both."""
        endpoint_id = await _known(tx, id, expected)
        return _with_secret(*await service.rotate_secret(tx, sealer, endpoint_id, now=at))


async def _known(tx: Tx, id: str, expected: Precondition) -> UUID:
    endpoint_id = decode_id(ENDPOINT, id)
    if expected.given:
        expected.check(WebhookEndpointOut.of(await service.held_endpoint(tx, endpoint_id)))
    return endpoint_id


def _delivery_routes(router: ApiRouter) -> None:
    @router.post(
        f"{ENDPOINTS}/{{id}}/test", summary="Send a test event", status_code=202, dependencies=[*WRITE, idempotent]
    )
    async def test(id: str, tx: OpenTx, at: Now) -> WebhookDeliveryOut:
        """An event `webhook_endpoint.tested`, to this endpoint whatever it hears otherwise."""
        return WebhookDeliveryOut.of(await service.send_test(tx, decode_id(ENDPOINT, id), now=at))

    @router.get(f"{ENDPOINTS}/{{id}}/deliveries", summary="List deliveries", dependencies=READ)
    async def deliveries(id: str, tx: OpenTx, page: Paged) -> Page[WebhookDeliveryOut]:
        """What was, or is to be, sent to the endpoint, newest first."""
        found = await service.list_deliveries(tx, decode_id(ENDPOINT, id), page.cursor(DELIVERY))
        return Page.of(found.map(WebhookDeliveryOut.of))

    @router.post(
        "/webhook_deliveries/{id}/redeliver", summary="Send again", status_code=202, dependencies=[*WRITE, idempotent]
    )
    async def redeliver(id: str, tx: OpenTx, at: Now) -> WebhookDeliveryOut:
        """Send a finished delivery again, with the same event id."""
        return WebhookDeliveryOut.of(await service.redeliver(tx, decode_id(DELIVERY, id), now=at))
