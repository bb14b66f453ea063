"""Decides what is stored of brokers: when they were last called for an account."""

from datetime import datetime

from sqlalchemy import DateTime
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from app.infra.columns import TenantRow, tenant_foreign_key


class BrokerCalls(TenantRow, table=True):
    """The last calls that count for an account's rate; its id is the account's. `entries`: those that took risk.

    Earliest first, no more than the rate: an account's lane moves from process to process, its broker's rate does not.
    """

    __tablename__ = "broker_calls"
    __table_args__ = (
        tenant_foreign_key(["id"], "accounts"),
        {"info": {"app": "SELECT, INSERT, UPDATE (made, entries)"}},
    )

    made: list[datetime] = Field(sa_type=ARRAY(DateTime(timezone=True)), nullable=False)
    entries: list[datetime] = Field(sa_type=ARRAY(DateTime(timezone=True)), nullable=False)
