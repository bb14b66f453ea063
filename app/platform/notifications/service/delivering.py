"""Decides how one delivery is made: attempt counted, sent outside of any transaction, outcome written after.

A process that dies in between sends it again, with the same id: receivers drop what they have seen (`webhook-id`).
"""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from weakref import WeakValueDictionary

from standardwebhooks import Webhook

from app.infra.crypto.envelope import UnsealError
from app.infra.crypto.sealer import Sealer
from app.infra.database import Tx
from app.infra.events.tables import EventRow
from app.infra.outbound.client import CallFailed
from app.infra.process import App
from app.infra.work.runner import Handler, Item, Retry
from app.kernel.errors import DomainError
from app.kernel.ids import encode_id
from app.platform.notifications import repository
from app.platform.notifications.domain import (
    SCHEDULE,
    Attempt,
    DeliveryStatus,
    EndpointStatus,
    is_given_up,
    parse_retry_after,
    seconds_until_next,
)
from app.platform.notifications.ports import Sender
from app.platform.notifications.tables import WebhookDelivery, WebhookEndpoint
from app.web.events import EventOut

WEBHOOKS = "default"
KIND = "deliver_webhook"
BUSY_SECONDS = 5.0
AT_ONCE = 4
"""Deliveries that one process sends to one endpoint at the same time."""

_KEPT = 2_000


@dataclass(frozen=True, slots=True)
class _Letter:
    """What is to be sent, and under which number of attempt."""

    endpoint: WebhookEndpoint
    event: EventRow
    attempts: int


def queue_delivery(tx: Tx, endpoint_id: UUID, event_id: UUID, event_type: str, *, now: datetime) -> WebhookDelivery:
    """A new delivery with its row of work."""
    delivery = WebhookDelivery(
        tenant_id=tx.tenant_id, endpoint_id=endpoint_id, event_id=event_id, event_type=event_type, next_at=now
    )
    tx.add(delivery)
    queue_work(tx, delivery)
    return delivery


def queue_work(tx: Tx, delivery: WebhookDelivery) -> None:
    """A row of work for a delivery. Each is a lane of its own: one that waits holds up no other."""
    payload = {"delivery_id": str(delivery.id), "endpoint_id": str(delivery.endpoint_id)}
    tx.work(WEBHOOKS, KIND, delivery.id, payload)


def handlers(app: App, sender: Sender) -> Mapping[str, Handler]:
    """What runs rows of work of this slice."""
    return {KIND: Handler(_Deliverer(app, sender).run, never_dies=True)}  # `_begin` bounds the attempts


class _Deliverer:
    def __init__(self, app: App, sender: Sender) -> None:
        self._app = app
        self._sender = sender
        self._turns: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    async def run(self, item: Item) -> None:
        """Raises `Retry` when the delivery is to be tried again."""
        endpoint_id, delivery_id = UUID(item.payload["endpoint_id"]), UUID(item.payload["delivery_id"])
        turn = self._turns.get(endpoint_id) or asyncio.Semaphore(AT_ONCE)
        self._turns[endpoint_id] = turn
        if turn.locked():
            raise Retry(BUSY_SECONDS, "the endpoint has as many deliveries as it may have at once")
        async with turn:
            wait = await self._deliver(item.tenant_id, delivery_id)
        if wait is not None:
            raise Retry(float(wait), "to be tried again")

    async def _deliver(self, tenant_id: UUID, delivery_id: UUID) -> int | None:
        async with self._app.database.tx(tenant_id) as tx:
            letter = await _begin(tx, delivery_id, now=self._app.clock())
        if letter is None:
            return None
        outcome, body = await self._send(letter, now=self._app.clock())
        async with self._app.database.tx(tenant_id) as tx:
            return await _end(tx, delivery_id, letter, outcome, body, now=self._app.clock())

    async def _send(self, letter: _Letter, *, now: datetime) -> tuple[Attempt, str | None]:
        body = message_of(letter.event)
        try:
            signed = await _signatures(self._app.sealer, letter.endpoint, letter.event, body, now=now)
        except UnsealError:
            return Attempt(None, "secret_erased"), None
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Mandi-Webhooks/1",
            "Webhook-Id": encode_id("evt", letter.event.id),
            "Webhook-Timestamp": str(int(now.timestamp())),
            "Webhook-Signature": signed,
        }
        try:
            answer = await self._sender.post(letter.endpoint.url, headers, body.encode())
        except CallFailed as error:
            return Attempt(None, str(error)), None
        except DomainError as error:
            return Attempt(None, error.code), None
        attempt = Attempt(answer.status, None, parse_retry_after(answer.headers.get("retry-after")))
        return attempt, _shown(answer.body)


def message_of(event: EventRow) -> str:
    """The body: what `GET /v1/events` shows of the event."""
    return EventOut.of(event).model_dump_json()


async def _signatures(sealer: Sealer, endpoint: WebhookEndpoint, event: EventRow, body: str, *, now: datetime) -> str:
    place = (endpoint.tenant_id, "webhook_endpoints")
    found = [await sealer.unseal(*place, "secret", endpoint.id, endpoint.secret)]
    if endpoint.former_secret is not None and endpoint.former_until is not None and now < endpoint.former_until:
        found.append(await sealer.unseal(*place, "former_secret", endpoint.id, endpoint.former_secret))
    message_id = encode_id("evt", event.id)
    return " ".join(Webhook(secret.decode()).sign(message_id, now, body) for secret in found)


async def _begin(tx: Tx, delivery_id: UUID, *, now: datetime) -> _Letter | None:
    """The letter, its attempt counted; None when there is nothing to send any more."""
    delivery = await tx.get(WebhookDelivery, delivery_id)
    if delivery is None or delivery.status != DeliveryStatus.PENDING:
        return None
    endpoint, event = await tx.get(WebhookEndpoint, delivery.endpoint_id), await tx.get(EventRow, delivery.event_id)
    if endpoint is None or event is None or endpoint.status != EndpointStatus.ENABLED:
        delivery.status, delivery.next_at, delivery.finished_at = DeliveryStatus.FAILED.value, None, now
        delivery.error = "endpoint_disabled"
        return None
    if delivery.attempts >= len(SCHEDULE):  # it was cut off each time, before an outcome was written
        delivery.status, delivery.next_at, delivery.finished_at = DeliveryStatus.FAILED.value, None, now
        return None
    delivery.attempts += 1
    return _Letter(endpoint, event, delivery.attempts)


async def _end(
    tx: Tx, delivery_id: UUID, letter: _Letter, outcome: Attempt, body: str | None, *, now: datetime
) -> int | None:
    """Write what came of it; seconds until the next attempt, None when there is none."""
    endpoint = await repository.locked(tx, letter.endpoint.id)
    delivery = await tx.get(WebhookDelivery, delivery_id)
    if endpoint is None or delivery is None:
        return None
    delivery.response_status, delivery.response_body, delivery.error = outcome.status, body, outcome.error
    if outcome.succeeded:
        endpoint.failing_since = None
        delivery.status, delivery.next_at, delivery.finished_at = DeliveryStatus.SUCCEEDED.value, None, now
        return None
    endpoint.failing_since = endpoint.failing_since or now
    if endpoint.status == EndpointStatus.ENABLED and (outcome.is_gone or is_given_up(endpoint.failing_since, now=now)):
        endpoint.status = EndpointStatus.DISABLED.value
        endpoint.status_reason = "gone" if outcome.is_gone else "failing"
        tx.emit("webhook_endpoint.disabled", endpoint.id, {"reason": endpoint.status_reason})
    wait = None
    if endpoint.status == EndpointStatus.ENABLED:
        wait = seconds_until_next(letter.attempts, outcome, draw=secrets.randbelow(1_001))
    if wait is None:
        delivery.status, delivery.next_at, delivery.finished_at = DeliveryStatus.FAILED.value, None, now
    else:
        delivery.next_at = now + timedelta(seconds=wait)
    return wait


def _shown(body: bytes) -> str:
    """At most 2 KB, as text that PostgreSQL takes."""
    return body[:_KEPT].decode("utf-8", "replace").replace("\x00", "\ufffd")[:_KEPT]
