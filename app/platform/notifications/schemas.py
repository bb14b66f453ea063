"""Webhook endpoints and deliveries as the API shows them."""

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.kernel.ids import encode_id
from app.platform.notifications.domain import MAX_PATTERNS, DeliveryStatus, EndpointStatus
from app.platform.notifications.tables import WebhookDelivery, WebhookEndpoint
from app.web.models import ApiModel

ENDPOINT, DELIVERY = "whe", "whd"
_URL = "https://hooks.example.com/mandi"
_EXAMPLE: JsonDict = {
    "id": "whe_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "url": _URL,
    "event_types": ["order.*"],
    "status": "enabled",
    "status_reason": None,
    "api_version": "1",
    "former_secret_until": None,
    "failing_since": None,
    "created_at": "2026-01-30T12:00:00Z",
}
_DELIVERY: JsonDict = {
    "id": "whd_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "endpoint_id": "whe_01kpx4t8yhe6rb2y6x3v1m9d0d",
    "event_id": "evt_01kpx4t8yhe6rb2y6x3v1m9d0e",
    "event_type": "order.filled",
    "status": "pending",
    "attempts": 1,
    "next_at": "2026-01-31T09:15:05Z",
    "response_status": 503,
    "response_body": "busy",
    "error": None,
    "created_at": "2026-01-31T09:15:00Z",
    "finished_at": None,
}
Url = Annotated[str, Field(min_length=1, max_length=2048, description="https on port 443, of a public host.")]
EventTypes = Annotated[
    list[Annotated[str, Field(max_length=81)]],
    Field(min_length=1, max_length=MAX_PATTERNS, description="`order.filled`, `order.*`, or `*` for all."),
]


class CreateWebhookEndpoint(ApiModel):
    """What `POST /v1/webhook_endpoints` takes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"url": _URL, "event_types": ["order.*"]}]})

    url: Url
    event_types: EventTypes


class ChangeWebhookEndpoint(ApiModel):
    """What `PATCH /v1/webhook_endpoints/{id}` takes; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "enabled"}]})

    url: Url | None = None
    event_types: EventTypes | None = None
    status: EndpointStatus | None = Field(
        default=None, description="One that is enabled again hears what happens from then on."
    )


class WebhookEndpointOut(ApiModel):
    """An endpoint without its secret. `status_reason` is `gone` or `failing` when we disabled it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    url: str
    event_types: list[str]
    status: EndpointStatus
    status_reason: str | None = Field(description="`gone` or `failing` when we disabled it; null otherwise.")
    api_version: str = Field(description="The version that its payloads follow.")
    former_secret_until: datetime | None = Field(description="Until then deliveries carry two signatures.")
    failing_since: datetime | None = Field(description="Since when every attempt has failed.")
    created_at: datetime

    @classmethod
    def of(cls, row: WebhookEndpoint) -> "WebhookEndpointOut":
        return cls(
            id=encode_id(ENDPOINT, row.id),
            url=row.url,
            event_types=row.event_types,
            status=EndpointStatus(row.status),
            status_reason=row.status_reason,
            api_version=row.api_version,
            former_secret_until=row.former_until,
            failing_since=row.failing_since,
            created_at=row.created_at,
        )


class NewWebhookSecretOut(WebhookEndpointOut):
    """An endpoint with its secret, shown this once."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [_EXAMPLE | {"secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"}]}
    )

    secret: str = Field(description="`whsec_…`: verify each delivery with it (standardwebhooks.com). Store it now.")


class WebhookDeliveryOut(ApiModel):
    """One event for one endpoint. `response_body` is cut after 2 KB; `error` says why there was no answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DELIVERY]})

    id: str
    endpoint_id: str = Field(description="The endpoint.")
    event_id: str = Field(description="The event; the same in every attempt, as `webhook-id`.")
    event_type: str = Field(description="What happened.")
    status: DeliveryStatus
    attempts: int = Field(description="How often it was tried.")
    next_at: datetime | None = Field(description="When it is tried next; null once it is finished.")
    response_status: int | None = Field(description="The last answer's HTTP status; null when there was none.")
    response_body: str | None = Field(description="The last answer's body, cut after 2 KB.")
    error: str | None = Field(description="Why there was no answer; null when there was one.")
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, row: WebhookDelivery) -> "WebhookDeliveryOut":
        return cls(
            id=encode_id(DELIVERY, row.id),
            endpoint_id=encode_id(ENDPOINT, row.endpoint_id),
            event_id=encode_id("evt", row.event_id),
            event_type=row.event_type,
            status=DeliveryStatus(row.status),
            attempts=row.attempts,
            next_at=row.next_at,
            response_status=row.response_status,
            response_body=row.response_body,
            error=row.error,
            created_at=row.created_at,
            finished_at=row.finished_at,
        )
