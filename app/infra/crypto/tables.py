"""Decides what is stored about data keys: wrapped, never in the clear; and which columns hold sealed values."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field

from app.infra.columns import TenantRow, utc_now_column

PLATFORM = UUID(int=0)
"""Whose keys seal what belongs to no tenant: the platform's own. No tenant has this id (theirs are UUIDv7)."""

SEALED = "sealed"
"""The mark in a column's `info`."""


def sealed_column(*, nullable: bool = False) -> Any:
    """A `bytea` column of sealed values. Rotation finds it by its mark; the model grants `app` UPDATE on it."""
    return Field(
        default=None if nullable else ...,
        sa_type=LargeBinary,
        nullable=nullable,
        repr=False,
        sa_column_kwargs={"info": {SEALED: True}},
    )


class TenantKey(TenantRow, table=True):
    """One data key. Exactly one of a tenant is `active`: it seals, the others only open.

    `retiring`: a rotation is moving what it sealed to the active one. `destroyed`: nothing sealed under it can be
    opened again, here or in any backup that lacks this table; `wrapped` is gone, the row tells that it existed.
    """

    __tablename__ = "tenant_keys"
    __table_args__ = (
        UniqueConstraint("tenant_id", "version"),
        Index("tenant_keys_active_key", "tenant_id", unique=True, postgresql_where=text("state = 'active'")),
        CheckConstraint("state IN ('active', 'retiring', 'retired', 'destroyed')", name="state"),
        CheckConstraint("(state = 'destroyed') = (wrapped IS NULL)", name="wrapped"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (wrapped, kek_id, state)",
                "dispatch": "SELECT (tenant_id, id, kek_id, state)",
            }
        },
    )

    version: int
    wrapped: bytes | None = Field(default=None, sa_type=LargeBinary, repr=False)
    kek_id: str
    state: str = "active"
    created_at: datetime = utc_now_column()
