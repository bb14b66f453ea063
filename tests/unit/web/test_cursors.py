"""Pages of any size walk a list whole, both ways, without gap or repeat."""

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, create_engine, select

from app.web.cursors import Cursor

_NUMBERS = Table("numbers", MetaData(), Column("n", BigInteger().with_variant(Integer, "sqlite"), primary_key=True))
_ENGINE = create_engine("sqlite://")
_NUMBERS.metadata.create_all(_ENGINE)


@given(st.sets(st.integers(1, 10_000), max_size=30), st.integers(1, 7))
def test_both_ways_meet_every_row_once(numbers: set[int], limit: int) -> None:
    newest_first = sorted(numbers, reverse=True)
    with _ENGINE.connect() as connection:
        if numbers:
            connection.execute(_NUMBERS.insert(), [{"n": n} for n in numbers])

        def page(cursor: Cursor) -> tuple[list[int], bool]:
            rows = connection.execute(cursor.apply(select(_NUMBERS.c.n), _NUMBERS.c.n)).scalars().all()
            found = cursor.cut(rows)
            return found.rows, found.has_more

        down: list[int] = []
        more = True
        while more:
            rows, more = page(Cursor(limit, after=down[-1] if down else None))
            down += rows
        assert down == newest_first

        up: list[int] = []
        more = True
        while more:
            rows, more = page(Cursor(limit, before=up[0] if up else 0))
            up = rows + up
        assert up == newest_first
        connection.rollback()
