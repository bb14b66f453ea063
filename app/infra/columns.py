"""Decides what a row is: a tenant's (its id leads every key, row-level security applies) or global reference data."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, ForeignKeyConstraint, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from app.kernel.ids import uuid7

SQLModel.metadata.naming_convention = {
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(table_name)s_%(constraint_name)s_check",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "pk": "%(table_name)s_pkey",
}


class TenantRow(SQLModel):
    """A row of one tenant: primary key (tenant_id, id), forced row-level security by the migration helper."""

    tenant_id: UUID = Field(primary_key=True)
    id: UUID = Field(default_factory=uuid7, primary_key=True)


class GlobalRow(SQLModel):
    """A row that all tenants read and only the role `mandi_reference` writes."""

    id: UUID = Field(default_factory=uuid7, primary_key=True)


def utc(*, nullable: bool = False, **column: Any) -> Any:
    """A `timestamptz` column: aware UTC datetimes only."""
    return Field(
        default=None if nullable else ...,
        sa_type=DateTime(timezone=True),
        nullable=nullable,
        sa_column_kwargs=column,
    )


def utc_now_column() -> Any:
    """A `timestamptz` that the database stamps: wall-clock, for records that no rule reads."""
    return Field(
        default=None,
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()),
    )


def bigint(*, nullable: bool = False, default: Any = ...) -> Any:
    """An int64 column: money in minor units, prices and quantities at their exponent."""
    if nullable:
        return Field(default=None, sa_type=BigInteger, nullable=True)
    return Field(default=default, sa_type=BigInteger, nullable=False)


def text_array(*, nullable: bool = False) -> Any:
    """A `text[]` column."""
    return Field(default=None if nullable else ..., sa_type=ARRAY(Text), nullable=nullable)


def jsonb(*, nullable: bool = False) -> Any:
    """A `jsonb` column. Never filtered on: its operators are not leakproof under row-level security."""
    return Field(default=None if nullable else ..., sa_type=JSONB, nullable=nullable)


def tenant_foreign_key(
    columns: Sequence[str], table: str, *, references: Sequence[str] = ("id",)
) -> ForeignKeyConstraint:
    """A composite foreign key (tenant_id, *columns) → table (tenant_id, *references).

    A single-column key would let one tenant point at another's row, since key checks bypass row-level security.
    """
    return ForeignKeyConstraint(
        ["tenant_id", *columns],
        [f"{table}.{name}" for name in ("tenant_id", *references)],
    )
