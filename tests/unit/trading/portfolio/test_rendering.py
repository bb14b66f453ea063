"""A statement as a broker sends it: grouped as its currency is, on numbered pages."""

import re
import zlib
from base64 import a85decode
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.instruments.service import InstrumentView
from app.trading.portfolio.service.rendering import grouped, statement_csv, statement_pdf
from app.trading.portfolio.service.statements import Holding, Movement, Statement

AT = datetime(2026, 4, 1, 6, 30, tzinfo=UTC)


def statement(movements: int, *, test: bool = False) -> Statement:
    moved, balance = [], 12_34_567_89
    for number in range(movements):
        amount = (-1) ** number * (1_00_000_00 + number)
        balance += amount
        said = f"Bought {number + 1} RELIANCE at 2,950.50 & <more>, charges 12.30"
        moved.append(Movement(UUID(int=number), AT + timedelta(hours=number), "fill", said, amount, balance))
    instrument = InstrumentView(
        UUID(int=1), "INE002A01018", "RELIANCE", "XNSE", "EQ", "Reliance Industries Ltd.", "INR", 4, 0, None, None, None
    )
    return Statement(
        broker="Sahyadri Securities Pvt. Ltd.",
        account_id=UUID(int=7),
        account_name="Long term",
        client_name="Asha Kulkarni",
        client_ref="SS1042",
        test=test,
        currency="INR",
        zone="Asia/Kolkata",
        first=date(2026, 4, 1),
        last=date(2026, 4, 30),
        made_at=datetime(2026, 5, 1, 4, 0, tzinfo=UTC),
        opening=12_34_567_89,
        closing=balance,
        settled=balance,
        movements=moved,
        holdings=[Holding(instrument, 120, 15)],
    )


def words(pdf: bytes) -> str:
    """The text of a PDF's pages, as far as it is ASCII."""
    return "\n".join(one for one in _streams(pdf) if "\nBT" in one)


def _streams(pdf: bytes) -> list[str]:
    """Pages, fonts, and which characters these show."""
    found = [one.strip() for one in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)]
    packed = [a85decode(b"<~" + one, adobe=True) if one.endswith(b"~>") else one for one in found]
    return [zlib.decompress(one).decode("latin-1") for one in packed]


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (0, "INR", "0.00"),
        (99_999, "INR", "999.99"),
        (1_00_000, "INR", "1,000.00"),
        (1_23_456_78, "INR", "1,23,456.78"),
        (12_34_56_789_01, "INR", "12,34,56,789.01"),
        (-1_00_00_000_00, "INR", "-1,00,00,000.00"),
        (123_456_789_01, "USD", "123,456,789.01"),
        (-5, "USD", "-0.05"),
    ],
)
def test_money_is_grouped_as_its_currency_is(minor: int, currency: str, shown: str) -> None:
    assert grouped(minor, currency) == shown


@given(st.integers(-(10**15), 10**15), st.sampled_from(["INR", "USD"]))
def test_grouping_changes_no_digit(minor: int, currency: str) -> None:
    assert int(grouped(minor, currency).replace(",", "").replace(".", "")) == minor


def test_every_page_is_numbered_and_has_the_table_head_and_the_disclaimer() -> None:
    text = words(statement_pdf(statement(90)))
    pages = [int(count) for count in re.findall(r"Page \d+ of (\d+)", text)]
    assert len(pages) == pages[0] > 2
    assert text.count("not a contract note") == text.count("Description") == len(pages)
    assert text.count("Sahyadri Securities Pvt. Ltd., made 01 May 2026 09:30") == len(pages)


def test_it_names_broker_client_period_and_sums() -> None:
    text = words(statement_pdf(statement(2)))
    for expected in ("Sahyadri Securities", "Asha Kulkarni", "SS1042", "01 Apr 2026", "12,34,567.89", "INE002A01018"):
        assert expected in text
    assert "Paper trading" not in text
    assert "Paper trading" in words(statement_pdf(statement(2, test=True)))


def test_it_shows_the_sign_of_the_rupee() -> None:
    """The fonts that are in the file have it, and it is not the box that stands for what a font lacks."""
    from font_source_sans_pro import font_directory
    from reportlab.pdfbase.ttfonts import TTFontFile

    pdf = statement_pdf(statement(2))
    shown = [one for one in _streams(pdf) if "beginbfchar" in one or "beginbfrange" in one]
    assert any("<20B9>" in one for one in shown)
    assert b"SourceSansPro" in pdf and pdf.count(b"/FontFile2") == 2
    for weight in ("Regular", "Bold"):
        glyphs = TTFontFile(f"{font_directory}/SourceSansPro-{weight}.ttf").charToGlyph
        assert glyphs[0x20B9] != 0


def test_the_csv_has_a_line_for_each_movement() -> None:
    lines = statement_csv(statement(3)).split("\r\n")
    assert sum(",fill," in line for line in lines) == 3
