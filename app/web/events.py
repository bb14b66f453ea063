"""`/v1/events`: what happened, in the tenant's own order, as a list and as a stream. An event appears once its position
is settled."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Annotated, Any, cast

from fastapi import Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import ConfigDict, Field
from sqlmodel import select

from app.infra.database import Tx
from app.infra.events.hub import Told
from app.infra.events.tables import EventRow
from app.kernel.errors import DomainError, invalid
from app.kernel.events import check_patterns, family_of, matches
from app.kernel.ids import decode_id, encode_id
from app.kernel.principal import Principal
from app.web.auth import ACT_AS, admitted, bearer_of, requires
from app.web.context import gateway_of
from app.web.cors import origin_of
from app.web.cursors import Cursor
from app.web.event_types import SUBJECTS, TYPES
from app.web.models import ApiModel
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

PREFIX = "evt"
NEEDS = "events:read"
HEARTBEAT_SECONDS = 5.0
RECONNECT_MS = 2_000
CHECK_SECONDS = 1.0
"""How often a stream asks whether its caller would still be let in."""

_Row = cast(Any, EventRow)
router = ApiRouter(prefix="/v1/events", tags=["Events"])


class EventOut(ApiModel):
    """One event. `position` is dense per tenant: a gap means a lost event, and there is none."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "evt_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "type": "order.filled",
                    "position": 42,
                    "subject_id": "ord_01kpx4t8yhe6rb2y6x3v1m9d0d",
                    "account_id": "acc_01kpx4t8yhe6rb2y6x3v1m9d0e",
                    "recorded_at": "2026-01-31T09:15:00Z",
                    "request_id": "req_01kpx4t8yhe6rb2y6x3v1m9d0f",
                    "act_as_grant_id": None,
                    "data": {"status": "filled"},
                }
            ]
        }
    )

    id: str
    type: str = Field(
        description="One of the types that `/events` describes. There will be more: pass over what you do not know.",
        json_schema_extra={"x-extensible-enum": list(TYPES)},
    )
    position: int
    subject_id: str
    account_id: str | None
    recorded_at: datetime
    request_id: str | None
    act_as_grant_id: str | None = Field(description="The grant under which another tenant's person did it for you.")
    data: dict[str, Any] = Field(description="What it tells besides: `/events` describes the fields of each type.")

    @classmethod
    def of(cls, row: EventRow) -> "EventOut":
        return cls(
            id=encode_id(PREFIX, row.id),
            type=row.type,
            position=row.position or 0,
            subject_id=encode_id(SUBJECTS.get(family_of(row.type), "obj"), row.subject_id),
            account_id=encode_id("acc", row.account_id) if row.account_id else None,
            recorded_at=row.recorded_at,
            request_id=row.request_id,
            act_as_grant_id=encode_id("act", row.grant_id) if row.grant_id else None,
            data=row.data,
        )


def render(row: EventRow) -> bytes:
    """An event as streams tell it: the JSON of `EventOut`."""
    return EventOut.of(row).model_dump_json().encode()


def wanted(event: Told, patterns: Sequence[str]) -> bool:
    """Does one of the patterns name the event? None given: all do."""
    return not patterns or any(matches(pattern, event.type) for pattern in patterns)


@router.get(
    "/stream",
    summary="Stream events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events. `id` is the position, `event` the type, `data` the event as JSON.",
            "content": {
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "example": 'id: 42\nevent: order.filled\ndata: {"id": "evt_…", "type": "order.filled", …}\n\n',
                }
            },
        }
    },
)
async def stream_events(
    request: Request,
    principal: Annotated[Principal, Depends(requires(NEEDS))],
    since: Annotated[
        int | None,
        Query(ge=0, description="The last position that you have; what follows is sent. By default, from now on."),
    ] = None,
    types: Annotated[
        list[str] | None,
        Query(max_length=20, description="Only these types, such as `order.*`; give the parameter again for more."),
    ] = None,
    last_event_id: Annotated[int | None, Header(ge=0, description="As `since`: browsers send it again.")] = None,
) -> StreamingResponse:
    """Every event once and in order, also after a reconnect with the last `id`. A comment comes every five seconds.
    The stream ends when its credential does."""
    gateway, after = gateway_of(request), since if last_event_id is None else last_event_id
    patterns = check_patterns(types or (), TYPES, param="types")
    if after is not None and after > (head := await gateway.hub.head(principal.tenant_id)):
        param = "since" if last_event_id is None else "Last-Event-ID"
        raise invalid("unknown_position", f"The last event has position {head}; send one up to it.", param=param)
    followed = gateway.hub.follow(principal.tenant_id, since=after, idle=HEARTBEAT_SECONDS)
    await anext(followed)  # refuses here, while there can be an error answer
    credential, act_as = bearer_of(request) or "", request.headers.get(ACT_AS)
    ask = partial(admitted, gateway, credential, (NEEDS,), act_as=act_as, origin=origin_of(request))
    body = _frames(followed, ask, patterns)
    return StreamingResponse(body, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _frames(
    followed: AsyncGenerator[Sequence[Told]], ask: Callable[[], Awaitable[Principal]], patterns: Sequence[str]
) -> AsyncIterator[bytes]:
    yield b"retry: %d\n\n" % RECONNECT_MS
    check_at = monotonic() + CHECK_SECONDS
    async with aclosing(followed):
        async for batch in followed:
            if monotonic() >= check_at:
                check_at = monotonic() + CHECK_SECONDS
                try:
                    await ask()
                except DomainError as error:
                    yield b'event: stream.ended\ndata: {"code": "%s"}\n\n' % error.code.encode()
                    return
            frames = [
                b"id: %d\nevent: %s\ndata: %s\n\n" % (event.position, event.type.encode(), event.body)
                for event in batch
                if wanted(event, patterns)
            ]
            if not frames:  # the position, so that a reconnect does not read again what was left out
                frames = [b"id: %d\n\n" % batch[-1].position if batch else b": heartbeat\n\n"]
            yield b"".join(frames)


@router.get("", summary="List events", dependencies=[Depends(requires(NEEDS))])
async def list_events(
    tx: OpenTx,
    page: Paged,
    type: Annotated[str | None, Query(max_length=64, description="Only this type, such as `order.filled`.")] = None,
) -> Page[EventOut]:
    """Events, latest position first. To follow them, ask with `ending_before` = the newest id you have."""
    cursor = Cursor(
        page.limit,
        after=await _position(tx, page.starting_after, "starting_after"),
        before=await _position(tx, page.ending_before, "ending_before"),
    )
    statement = select(EventRow).where(_Row.position.is_not(None))
    if type is not None:
        check_patterns([type], TYPES, param="type")
        statement = statement.where(_Row.type == type)
    rows = (await tx.scalars(cursor.apply(statement, _Row.position))).all()
    return Page.of(cursor.cut(rows).map(EventOut.of))


async def _position(tx: Tx, event_id: str | None, param: str) -> int | None:
    if event_id is None:
        return None
    row = await tx.get(EventRow, decode_id(PREFIX, event_id, param=param))
    if row is None or row.position is None:
        raise invalid("unknown_cursor", f"{param} names no event: use an id from an earlier page.", param=param)
    return row.position
