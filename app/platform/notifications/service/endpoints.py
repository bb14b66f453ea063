"""Decides what a tenant can do with its webhook endpoints. Secrets are shown when they are made, and never again."""

import os
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from app.infra.crypto.sealer import Sealer
from app.infra.database import Tx
from app.infra.outbound.urls import check_url
from app.kernel.errors import conflict, not_found
from app.kernel.ids import encode_id, uuid7
from app.platform.notifications import repository
from app.platform.notifications.domain import (
    API_VERSION,
    FORMER_SECRET_FOR,
    DeliveryStatus,
    EndpointStatus,
    check_event_types,
)
from app.platform.notifications.service.delivering import queue_delivery, queue_work
from app.platform.notifications.tables import WebhookDelivery, WebhookEndpoint
from app.web.cursors import Cursor, Slice
from app.web.event_types import TYPES

MAX_ENDPOINTS = 20
TABLE = "webhook_endpoints"
_SECRET_BYTES = 32


async def create_endpoint(
    tx: Tx, sealer: Sealer, *, url: str, event_types: Sequence[str], loopback: bool
) -> tuple[WebhookEndpoint, str]:
    """A new endpoint that hears what happens from now on, and its secret.

    Raises `invalid_url`, `invalid_event_types`, `too_many_endpoints`.
    """
    checked, patterns = check_url(url, loopback=loopback), check_event_types(event_types, TYPES)
    endpoint_id, secret = uuid7(), _new_secret()
    sealed = await sealer.seal(tx, TABLE, "secret", endpoint_id, secret.encode())
    if await repository.count(tx) >= MAX_ENDPOINTS:
        raise conflict("too_many_endpoints", f"A tenant has at most {MAX_ENDPOINTS} endpoints: delete one first.")
    endpoint = WebhookEndpoint(
        tenant_id=tx.tenant_id,
        id=endpoint_id,
        url=checked,
        event_types=patterns,
        secret=sealed,
        api_version=API_VERSION,
        position=await repository.head(tx),
    )
    tx.add(endpoint)
    tx.emit("webhook_endpoint.created", endpoint_id, {"event_types": patterns})
    await tx.flush()
    return endpoint, secret


async def get_endpoint(tx: Tx, endpoint_id: UUID) -> WebhookEndpoint:
    """Raises `webhook_endpoint_not_found`."""
    found = await tx.get(WebhookEndpoint, endpoint_id)
    if found is None:
        raise not_found("webhook_endpoint", encode_id("whe", endpoint_id))
    return found


async def held_endpoint(tx: Tx, endpoint_id: UUID) -> WebhookEndpoint:
    """The endpoint as it stays until `tx` ends: whoever else changes it waits. Raises `webhook_endpoint_not_found`."""
    found = await repository.locked(tx, endpoint_id)
    if found is None:
        raise not_found("webhook_endpoint", encode_id("whe", endpoint_id))
    return found


async def list_endpoints(tx: Tx, cursor: Cursor) -> Slice[WebhookEndpoint]:
    """One page, newest first."""
    return cursor.cut(await repository.endpoints(tx, cursor))


async def change_endpoint(
    tx: Tx,
    endpoint_id: UUID,
    *,
    url: str | None,
    event_types: Sequence[str] | None,
    status: EndpointStatus | None,
    loopback: bool,
) -> WebhookEndpoint:
    """Change what is given. One that is enabled again hears what happens from then on."""
    endpoint = await get_endpoint(tx, endpoint_id)
    if url is not None:
        endpoint.url = check_url(url, loopback=loopback)
    if event_types is not None:
        endpoint.event_types = check_event_types(event_types, TYPES)
    if status is not None and status != endpoint.status:
        endpoint.status, endpoint.status_reason, endpoint.failing_since = status.value, None, None
        if status is EndpointStatus.ENABLED:
            endpoint.position = await repository.head(tx)
    tx.emit("webhook_endpoint.updated", endpoint_id, {"status": endpoint.status})
    return endpoint


async def delete_endpoint(tx: Tx, endpoint_id: UUID) -> None:
    """Delete the endpoint and the record of its deliveries."""
    await get_endpoint(tx, endpoint_id)
    await repository.delete_endpoint(tx, endpoint_id)
    tx.emit("webhook_endpoint.deleted", endpoint_id, {})


async def rotate_secret(tx: Tx, sealer: Sealer, endpoint_id: UUID, *, now: datetime) -> tuple[WebhookEndpoint, str]:
    """A new secret. For a day deliveries carry signatures of both, so that the receiver can change over."""
    secret = _new_secret()
    sealed = await sealer.seal(tx, TABLE, "secret", endpoint_id, secret.encode())
    endpoint = await held_endpoint(tx, endpoint_id)
    former = await sealer.unseal(tx, TABLE, "secret", endpoint_id, endpoint.secret)
    endpoint.former_secret = await sealer.seal(tx, TABLE, "former_secret", endpoint_id, former)
    endpoint.former_until, endpoint.secret = now + FORMER_SECRET_FOR, sealed
    tx.emit("webhook_endpoint.secret_rotated", endpoint_id, {})
    return endpoint, secret


async def send_test(tx: Tx, endpoint_id: UUID, *, now: datetime) -> WebhookDelivery:
    """An event `webhook_endpoint.tested` for this endpoint, whatever it hears otherwise. Raises `endpoint_disabled`."""
    endpoint = await _hearing(tx, endpoint_id)
    event_id = tx.emit("webhook_endpoint.tested", endpoint_id, {})
    await tx.flush()
    delivery = queue_delivery(tx, endpoint.id, event_id, "webhook_endpoint.tested", now=now)
    await tx.flush()
    return delivery


async def list_deliveries(tx: Tx, endpoint_id: UUID, cursor: Cursor) -> Slice[WebhookDelivery]:
    """One page of the endpoint's deliveries, newest first."""
    await get_endpoint(tx, endpoint_id)
    return cursor.cut(await repository.deliveries(tx, endpoint_id, cursor))


async def redeliver(tx: Tx, delivery_id: UUID, *, now: datetime) -> WebhookDelivery:
    """Send a finished delivery again, by the whole schedule. Raises `delivery_pending`, `endpoint_disabled`."""
    delivery = await tx.get(WebhookDelivery, delivery_id)
    if delivery is None:
        raise not_found("webhook_delivery", encode_id("whd", delivery_id))
    await _hearing(tx, delivery.endpoint_id)
    if delivery.status == DeliveryStatus.PENDING:
        raise conflict("delivery_pending", "This delivery is not finished: it is tried again by itself.")
    delivery.status, delivery.attempts, delivery.next_at, delivery.finished_at = "pending", 0, now, None
    queue_work(tx, delivery)
    return delivery


async def _hearing(tx: Tx, endpoint_id: UUID) -> WebhookEndpoint:
    endpoint = await get_endpoint(tx, endpoint_id)
    if endpoint.status != EndpointStatus.ENABLED:
        raise conflict("endpoint_disabled", "This endpoint is disabled: enable it first (PATCH, status enabled).")
    return endpoint


def _new_secret() -> str:
    return "whsec_" + b64encode(os.urandom(_SECRET_BYTES)).decode()
