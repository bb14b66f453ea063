"""Decides what is stored about plans, about what a tenant was given of them, and about what it has used."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.infra.columns import GlobalRow, bigint, jsonb, utc


class Plan(GlobalRow, table=True):
    """One version of a plan, the same for ever: no role may change or delete it. `terms`: `domain.PlanTerms`.

    A tenant without entitlements has the newest version of `free`; the others keep the version they were given.
    """

    __tablename__ = "plans"
    __table_args__ = (
        UniqueConstraint("code", "version"),
        CheckConstraint("version > 0", name="version"),
        {"info": {"app": "SELECT", "reference": "SELECT, INSERT"}},
    )

    code: str
    version: int = bigint()
    terms: dict[str, Any] = jsonb()
    valid_from: datetime = utc()


class Entitlements(SQLModel, table=True):
    """What a tenant was given: a version of a plan, units by add-on, overrides by what they replace.

    `version` grows with every change; the events `entitlements.changed` are the history. `read_only_at` is
    `past_due_since` and the grace of the plan at that time; `plans_read_only()` tells it.
    """

    __tablename__ = "entitlements"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        ForeignKeyConstraint(["plan_code", "plan_version"], ["plans.code", "plans.version"]),
        CheckConstraint("(past_due_since IS NULL) = (read_only_at IS NULL)", name="past_due"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (plan_code, plan_version, add_ons, overrides, past_due_since, "
                "read_only_at, version, updated_at)"
            }
        },
    )

    tenant_id: UUID = Field(primary_key=True)
    plan_code: str
    plan_version: int = bigint()
    add_ons: dict[str, Any] = jsonb()
    overrides: dict[str, Any] = jsonb()
    past_due_since: datetime | None = utc(nullable=True)
    read_only_at: datetime | None = utc(nullable=True)
    version: int = bigint()
    updated_at: datetime = utc()


class UsageCounter(SQLModel, table=True):
    """How much of a quota a tenant has used in a period: a month such as `2026-01`, or `standing`."""

    __tablename__ = "usage_counters"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        CheckConstraint("used >= 0", name="used"),
        {"info": {"app": "SELECT, INSERT, UPDATE (used)"}},
    )

    tenant_id: UUID = Field(primary_key=True)
    period: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    used: int = bigint()
