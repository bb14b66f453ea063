"""Decides what a list route takes and answers: `limit`, `starting_after`, `ending_before` → `{data, has_more}`."""

from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query

from app.kernel.errors import invalid
from app.kernel.ids import decode_id
from app.web.cursors import DEFAULT_LIMIT, MAX_LIMIT, Cursor, Slice
from app.web.models import ApiModel

Item = TypeVar("Item")
_ID = 64


class Page(ApiModel, Generic[Item]):
    """One page, newest first. Ask for the next with `starting_after` = the last id of `data`."""

    data: list[Item]
    has_more: bool

    @classmethod
    def of(cls, found: Slice[Item]) -> "Page[Item]":
        return cls(data=found.rows, has_more=found.has_more)


class PageQuery:
    """The page asked for; `cursor("ord")` decodes its ids."""

    def __init__(
        self,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description=f"How many, at most {MAX_LIMIT}.")] = DEFAULT_LIMIT,
        starting_after: Annotated[
            str | None, Query(max_length=_ID, description="An id: the page that follows it (older rows).")
        ] = None,
        ending_before: Annotated[
            str | None, Query(max_length=_ID, description="An id: the page just before it (newer rows).")
        ] = None,
    ) -> None:
        if starting_after is not None and ending_before is not None:
            raise invalid("two_cursors", "Send starting_after or ending_before, not both.", param="ending_before")
        self.limit = limit
        self.starting_after = starting_after
        self.ending_before = ending_before

    def cursor(self, prefix: str) -> Cursor:
        """The place in the list. Raises `invalid_id` naming the parameter."""
        after, before = self.starting_after, self.ending_before
        return Cursor(
            self.limit,
            after=None if after is None else decode_id(prefix, after, param="starting_after"),
            before=None if before is None else decode_id(prefix, before, param="ending_before"),
        )


Paged = Annotated[PageQuery, Depends()]
