"""Decides what is kept of a finished request: enough to give the same answer again, for a day."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, LargeBinary, SmallInteger

from app.infra.columns import TenantRow, jsonb, utc, utc_now_column


class IdempotencyKey(TenantRow, table=True):
    """`id` is the digest of caller, route and key, so the primary key is (tenant, caller, route, key).

    A row exists only for a request that has finished: while one runs, an advisory lock says so. Either `body` is the
    answer, or `subject_id` names the object whose present state is (orders), or neither: the answer held a secret.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        CheckConstraint("status between 200 and 499", name="status"),
        Index("idempotency_keys_expiry_idx", "expires_at"),
        {"info": {"app": "SELECT, INSERT, UPDATE", "dispatch": "SELECT, DELETE"}},
    )

    route: str
    fingerprint: str
    status: int = Field(sa_type=SmallInteger)
    headers: dict[str, Any] = jsonb()
    body: bytes | None = Field(default=None, sa_type=LargeBinary)
    subject_id: UUID | None = None
    created_at: datetime = utc_now_column()
    expires_at: datetime = utc()
