"""`/v1/events`: what happened, in the tenant's own order. An event appears once its position is settled."""

from datetime import datetime
from typing import Annotated, Any, cast

from fastapi import Depends, Query
from pydantic import ConfigDict, Field
from sqlmodel import select

from app.infra.database import Tx
from app.infra.events.tables import EventRow
from app.kernel.errors import invalid
from app.kernel.ids import decode_id, encode_id
from app.web.auth import requires
from app.web.cursors import Cursor
from app.web.models import ApiModel
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

PREFIX = "evt"
SUBJECTS = {
    "account": "acc",
    "api_key": "key",
    "backtest": "bkt",
    "deployment": "dep",
    "fill": "fil",
    "journal": "jrn",
    "member": "mem",
    "order": "ord",
    "position": "pos",
    "strategy": "str",
    "sweep": "swp",
    "tenant": "ten",
}
"""The id prefix of an event's subject, by the first part of its type."""

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
                    "data": {"status": "filled"},
                }
            ]
        }
    )

    id: str
    type: str
    position: int
    subject_id: str
    account_id: str | None
    recorded_at: datetime
    request_id: str | None
    data: dict[str, Any] = Field(description="What the event tells besides; depends on its type.")

    @classmethod
    def of(cls, row: EventRow) -> "EventOut":
        return cls(
            id=encode_id(PREFIX, row.id),
            type=row.type,
            position=row.position or 0,
            subject_id=encode_id(SUBJECTS.get(row.type.partition(".")[0], "obj"), row.subject_id),
            account_id=encode_id("acc", row.account_id) if row.account_id else None,
            recorded_at=row.recorded_at,
            request_id=row.request_id,
            data=row.data,
        )


@router.get("", summary="List events", dependencies=[Depends(requires("events:read"))])
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
