"""Decides what an event is: who, what, about which thing, when, and its place in the tenant's order."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Index, text
from sqlmodel import BigInteger, Field, SQLModel

from app.infra.columns import TenantRow, bigint, jsonb, utc_now_column

PARTITIONS = 8


class EventRow(TenantRow, table=True):
    """Append-only. `position` is stamped by the follower once no older transaction can still commit.

    Who: the credential, the person who answers for it and, under an act-as grant, that grant and the caller's tenant;
    or the platform's operator, by the name he goes by. Neither: the platform did it by itself.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("events_tenant_id_position_idx", "tenant_id", "position", unique=True),
        Index("events_unstamped_idx", "xid", postgresql_where=text("position IS NULL")),
        {
            "postgresql_partition_by": "HASH (tenant_id)",
            "info": {"app": "SELECT, INSERT", "dispatch": "SELECT, UPDATE (position)"},
        },
    )

    type: str
    subject_id: UUID
    account_id: UUID | None = None
    data: dict[str, Any] = jsonb()
    actor_key_id: UUID | None = None
    actor_user_id: UUID | None = None
    actor_tenant_id: UUID | None = None
    grant_id: UUID | None = None
    actor_operator: str | None = None
    source_ip: str | None = None
    session_id: str | None = None
    request_id: str | None = None
    recorded_at: datetime = utc_now_column()
    xid: int | None = Field(
        default=None,
        sa_column=Column(
            BigInteger,
            nullable=False,
            server_default=text("(pg_current_xact_id()::text)::bigint"),
        ),
    )
    position: int | None = bigint(nullable=True)


class EventHead(SQLModel, table=True):
    """The last stamped position of each tenant; only the follower reads or writes it."""

    __tablename__ = "event_heads"
    __table_args__ = ({"info": {"dispatch": "SELECT, INSERT, UPDATE"}},)

    tenant_id: UUID = Field(primary_key=True)
    position: int = bigint()
