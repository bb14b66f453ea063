"""Decides how a list is cut into pages: by the id of a row already seen, never by an offset that writes would shift."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

Row = TypeVar("Row")
Out = TypeVar("Out")
MAX_LIMIT = 100
DEFAULT_LIMIT = 25


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list sorted newest first: the rows older than `after`, or the nearest newer than `before`."""

    limit: int = DEFAULT_LIMIT
    after: UUID | int | None = None
    before: UUID | int | None = None

    def apply(self, statement: Select[Any], column: "InstrumentedAttribute[Any] | Any") -> Select[Any]:
        """`statement` with this page's bounds on `column` (a UUIDv7 or a position), one row more than `limit`."""
        if self.before is not None:
            return statement.where(column > self.before).order_by(column.asc()).limit(self.limit + 1)
        if self.after is not None:
            statement = statement.where(column < self.after)
        return statement.order_by(column.desc()).limit(self.limit + 1)

    def cut(self, rows: Sequence[Row]) -> "Slice[Row]":
        """The page from the rows that `apply` found, newest first."""
        kept = list(rows[: self.limit])
        if self.before is not None:
            kept.reverse()
        return Slice(kept, has_more=len(rows) > self.limit)


@dataclass(frozen=True, slots=True)
class Slice(Generic[Row]):
    """One page of rows. `has_more`: further rows lie beyond it, in the direction asked for."""

    rows: list[Row]
    has_more: bool

    def map(self, render: Callable[[Row], Out]) -> "Slice[Out]":
        """The same page of rendered rows."""
        return Slice([render(row) for row in self.rows], self.has_more)
