"""Decides how a statement looks as CSV and as a PDF that a broker sends to a client."""

import csv
import io
from datetime import datetime
from functools import cache
from typing import Any
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

from app.kernel.ids import encode_id
from app.kernel.money import currency_exponent, format_scaled, format_trimmed
from app.trading.portfolio.service.statements import Statement

_DISCLAIMER = (
    "This statement is made from the ledger; it is by trade date, and what was traded but not yet settled is shown "
    "apart. It is not a contract note: where the two differ, the contract note holds. Please report anything that you "
    "do not recognise within seven days."
)
_TEST = "Paper trading: no real money or securities. "
_PAGE, _MARGIN, _WIDTH = (595, 842), 45, 505  # points: A4
_FONT, _BOLD = "SourceSansPro", "SourceSansPro-Bold"
_SIGNS = {"INR": "\u20b9", "USD": "$"}
_INK, _LINE, _SHADE = "#1a2530", "#c5ccd3", "#f3f5f7"


def grouped(minor: int, currency: str) -> str:
    """Money with separators: 12,34,567.00 for INR (lakh and crore), 1,234,567.00 otherwise."""
    sign, digits = ("-", -minor) if minor < 0 else ("", minor)
    whole, _, fraction = format_scaled(digits, currency_exponent(currency)).partition(".")
    head, tail = whole[:-3], whole[-3:]
    size, parts = (2 if currency == "INR" else 3), [tail]
    while head:
        parts.insert(0, head[-size:])
        head = head[:-size]
    return f"{sign}{','.join(parts)}.{fraction}"


def signed(minor: int, currency: str) -> str:
    """The same with the currency's sign before it."""
    shown = grouped(abs(minor), currency)
    return f"{'-' if minor < 0 else ''}{_SIGNS.get(currency, f'{currency} ')}{shown}"


def statement_csv(statement: Statement) -> str:
    """Opening, movements, closing, then holdings; exact decimals without separators.

    Text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")

    def money(minor: int) -> str:
        return format_scaled(minor, currency_exponent(statement.currency))

    writer.writerow(["at", "transaction_id", "kind", "description", "amount", "balance", "currency"])
    writer.writerow([statement.first.isoformat(), "", "opening", "", "", money(statement.opening), statement.currency])
    for one in statement.movements:
        shown = [_local(one.at, statement), encode_id("ltx", one.id), one.kind, _inert(one.description)]
        writer.writerow([*shown, money(one.amount), money(one.balance), statement.currency])
    writer.writerow([statement.last.isoformat(), "", "closing", "", "", money(statement.closing), statement.currency])
    writer.writerow([])
    writer.writerow(["isin", "symbol", "name", "settled", "to_settle"])
    for held in statement.holdings:
        exponent = held.instrument.qty_exp
        quantities = (format_trimmed(held.settled, exponent), format_trimmed(held.waiting, exponent))
        writer.writerow([held.instrument.isin, held.instrument.symbol, held.instrument.name, *quantities])
    return out.getvalue()


def _inert(words: str) -> str:
    return f"'{words}" if words[:1] in ("=", "+", "-", "@", "\t", "\r") else words


def _local(at: datetime, statement: Statement) -> str:
    return at.astimezone(ZoneInfo(statement.zone)).isoformat(timespec="seconds")


def statement_pdf(statement: Statement) -> bytes:
    """A4, numbered pages, the table's head on each. The library is imported here: few processes make a PDF."""
    from reportlab.platypus import SimpleDocTemplate

    _register_fonts()
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=_PAGE,
        topMargin=50,
        bottomMargin=85,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        title=f"Statement of account, {statement.first} to {statement.last}",
        author=statement.broker,
        invariant=1,
    )
    document.build(_story(statement), canvasmaker=_numbered(statement))
    return out.getvalue()


@cache
def _register_fonts() -> None:
    """Once in a process: the fonts that every reader of PDFs brings have no sign of the rupee."""
    from font_source_sans_pro import font_directory
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    for name, file in ((_FONT, "SourceSansPro-Regular.ttf"), (_BOLD, "SourceSansPro-Bold.ttf")):
        pdfmetrics.registerFont(TTFont(name, f"{font_directory}/{file}"))
    pdfmetrics.registerFontFamily(_FONT, normal=_FONT, bold=_BOLD, italic=_FONT, boldItalic=_BOLD)


def _story(statement: Statement) -> list[Any]:
    from reportlab.lib import colors
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph, Spacer, Table

    ink = colors.HexColor(_INK)
    small = ParagraphStyle("small", fontName=_FONT, fontSize=8, leading=10, textColor=ink)
    title = ParagraphStyle("title", parent=small, fontName=_BOLD, fontSize=15, leading=19)
    head = ParagraphStyle("head", parent=small, fontName=_BOLD, fontSize=10, leading=14, spaceBefore=10)
    rows = [
        [Paragraph(f"<b>{escape(name)}</b>", small), Paragraph(escape(value), small)]
        for name, value in _facts(statement)
    ]
    facts = Table(rows, colWidths=[110, 395], style=[("VALIGN", (0, 0), (-1, -1), "TOP")])
    facts.hAlign = "LEFT"
    story: list[Any] = [Paragraph(escape(statement.broker), title), Paragraph("Statement of account", head), facts]
    story += [
        Spacer(1, 8),
        _summary(statement),
        Paragraph("Movements", head),
        _movements(statement, small),
    ]
    story += [Paragraph(f"Securities at the end of {statement.last:%d %b %Y}", head)]
    story += [_securities(statement, small) if statement.holdings else Paragraph("None.", small)]
    return story


def _facts(statement: Statement) -> list[tuple[str, str]]:
    whose = [("Client", f"{statement.client_name} ({statement.client_ref})")] if statement.client_name else []
    return [
        *whose,
        ("Account", f"{statement.account_name} ({encode_id('acc', statement.account_id)})"),
        ("Period", f"{statement.first:%d %b %Y} to {statement.last:%d %b %Y} ({statement.zone})"),
        ("Currency", statement.currency),
    ]


def _style(*more: tuple[Any, ...]) -> list[Any]:
    from reportlab.lib import colors

    return [
        ("FONT", (0, 0), (-1, -1), _FONT, 8),
        ("FONT", (0, 0), (-1, 0), _BOLD, 8),
        ("TEXTCOLOR", (0, 0), (-1, -1), colors.HexColor(_INK)),
        ("BACKGROUND", (0, 0), (-1, 0), colors.HexColor(_SHADE)),
        ("LINEBELOW", (0, 0), (-1, -1), 1, colors.HexColor(_LINE)),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        *more,
    ]


def _summary(statement: Statement) -> Any:
    from reportlab.platypus import Table

    received = sum(one.amount for one in statement.movements if one.amount > 0)
    paid = sum(one.amount for one in statement.movements if one.amount < 0)
    figures = (statement.opening, received, paid, statement.closing, statement.settled)
    names = ["Opening balance", "Credits", "Debits", "Closing balance", "Of it settled"]
    rows = [names, [signed(minor, statement.currency) for minor in figures]]
    return Table(rows, colWidths=[101] * 5, style=_style(("ALIGN", (0, 0), (-1, -1), "RIGHT")))


def _movements(statement: Statement, small: Any) -> Any:
    from reportlab.platypus import Paragraph, Table

    zone, currency = ZoneInfo(statement.zone), statement.currency
    sign = _SIGNS.get(currency, currency)
    rows: list[list[Any]] = [["Date", "Description", f"Amount ({sign})", f"Balance ({sign})"]]
    rows.append([f"{statement.first:%d %b %Y}", "Opening balance", "", grouped(statement.opening, currency)])
    for one in statement.movements:
        day = f"{one.at.astimezone(zone):%d %b %Y}"
        said = Paragraph(escape(one.description), small)
        rows.append([day, said, grouped(one.amount, currency), grouped(one.balance, currency)])
    rows.append([f"{statement.last:%d %b %Y}", "Closing balance", "", grouped(statement.closing, currency)])
    widths = [71, 242, 96, 96]
    bold = ("FONT", (0, -1), (-1, -1), _BOLD, 8)
    return Table(rows, colWidths=widths, repeatRows=1, style=_style(("ALIGN", (2, 0), (-1, -1), "RIGHT"), bold))


def _securities(statement: Statement, small: Any) -> Any:
    from reportlab.platypus import Paragraph, Table

    rows: list[list[Any]] = [["ISIN", "Security", "Settled", "To settle"]]
    for held in statement.holdings:
        exponent = held.instrument.qty_exp
        named = Paragraph(escape(f"{held.instrument.symbol}, {held.instrument.name}"), small)
        quantities = [format_trimmed(held.settled, exponent), format_trimmed(held.waiting, exponent)]
        rows.append([held.instrument.isin, named, *quantities])
    widths = [101, 242, 81, 81]
    return Table(rows, colWidths=widths, repeatRows=1, style=_style(("ALIGN", (2, 0), (-1, -1), "RIGHT")))


def _numbered(statement: Statement) -> Any:
    """A canvas that knows how many pages there are before it writes their feet."""
    from reportlab.lib import colors
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfgen.canvas import Canvas
    from reportlab.platypus import Paragraph

    ink = colors.HexColor(_INK)
    style = ParagraphStyle("foot", fontName=_FONT, fontSize=7, leading=8, textColor=ink)
    words = (_TEST if statement.test else "") + _DISCLAIMER

    class Numbered(Canvas):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802 - the library's name
            self.pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self.pages, 1):
                self.__dict__.update(page)
                self._foot(number, len(self.pages))
                super().showPage()
            super().save()

        def _foot(self, number: int, count: int) -> None:
            self.setStrokeColor(colors.HexColor(_LINE))
            self.line(_MARGIN, 71, _MARGIN + _WIDTH, 71)
            foot = Paragraph(escape(words), style)
            foot.wrapOn(self, _WIDTH, 40)
            foot.drawOn(self, _MARGIN, 68 - foot.height)
            self.setFillColor(ink)
            self.setFont(_FONT, 7)
            made = f"{statement.made_at.astimezone(ZoneInfo(statement.zone)):%d %b %Y %H:%M}"
            self.drawString(_MARGIN, 25, f"{statement.broker}, made {made} {statement.zone}")
            self.drawRightString(_MARGIN + _WIDTH, 25, f"Page {number} of {count}")

    return Numbered
