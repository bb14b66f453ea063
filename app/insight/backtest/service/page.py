"""Writes the report page: one HTML file that needs nothing else, from a result document alone."""

from collections.abc import Sequence
from datetime import date
from html import escape
from typing import Any

from app.insight.backtest.service.charts import line_chart

TRADES_SHOWN = 500
_RESERVE = "A larger <code>reserve_bps</code> leaves room for gaps."
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

STYLE = """
:root { color-scheme: light dark; --ink: #16202b; --soft: #5c6b7a; --line: #dde3e9; --paper: #fff; --card: #f6f8fa;
  --accent: #1f6feb; --gain: #16803c; --loss: #c2362b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf0; --soft: #93a1b0; --line: #2c3742; --paper: #10161c;
  --card: #18212a; --accent: #6aa8ff; --gain: #4ac26b; --loss: #ff7b6e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1060px; padding: 32px 20px 64px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-variant-numeric: tabular-nums; }
h1 { margin: 0; font-size: 26px; letter-spacing: -.01em; } h2 { margin: 40px 0 10px; font-size: 17px; }
p { margin: 4px 0; color: var(--soft); } code { font: 13px ui-monospace, Menlo, Consolas, monospace; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(145px, 1fr)); gap: 10px; margin-top: 24px; }
.tile { padding: 12px 14px; border: 1px solid var(--line); border-radius: 8px; background: var(--card); }
.tile b { display: block; font-size: 20px; font-weight: 600; overflow-wrap: anywhere; }
.tile span { color: var(--soft); font-size: 13px; }
.gain { color: var(--gain); } .loss { color: var(--loss); }
.narrow { display: none; } svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; }
svg .grid { stroke: var(--line); } svg .curve { fill: none; stroke: var(--accent); stroke-width: 1.6; }
svg .curve.loss { stroke: var(--loss); } svg .area { fill: var(--accent); opacity: .12; stroke: none; }
svg .area.loss { fill: var(--loss); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 14px; }
table.pairs { width: auto; } .pairs td.left { color: var(--soft); vertical-align: top; }
.note { padding: 10px 14px; border-left: 3px solid var(--soft); background: var(--card); color: var(--ink);
  margin-top: 8px; } .tiles + .note { margin-top: 16px; } .note.loss { border-color: var(--loss); color: var(--ink); }
th, td { padding: 5px 10px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } th.left, td.left { text-align: left; }
td.wrap { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.months td, .months th { padding: 5px 4px; text-align: center; } .months td.year { text-align: left; font-weight: 600; }
@media (max-width: 640px) { body { padding: 20px 14px 48px; } .wide { display: none; } .narrow { display: block; }
  .months { font-size: 10.5px; letter-spacing: -.02em; } .months td, .months th { padding: 5px 0; }
  .tiles { grid-template-columns: 1fr 1fr; } h2 { margin-top: 32px; } }
@media print { body { max-width: none; padding: 0; } h2 { break-after: avoid; } svg, tr { break-inside: avoid; } }
"""


def report_page(result: dict[str, Any]) -> str:
    """HTML of the document that `result_document` made. No script, no font, no address outside it."""
    name = escape(str(result["program"]["name"]))
    days = [date.fromisoformat(point["date"]) for point in result["equity"]]
    curve = [float(point["equity"]) for point in result["equity"]]
    start = float(result["initial_cash"])
    parts = [
        _head(result, name),
        _tiles(result),
        *_notes(result),
        "<h2>Equity</h2>",
        line_chart(days, curve, label=f"Equity in {escape(result['currency'])}", base=start),
        "<h2>Drawdown</h2>",
        line_chart(days, _drawdown(start, curve), label="Drawdown in percent", base=0.0, suffix=" %", css="loss"),
        "<h2>Monthly returns, %</h2>",
        _monthly(start, days, curve),
        "<h2>Charges</h2>",
        _charges(result),
        "<h2>Trades</h2>",
        _trades(result["trades"]),
        _open(result["positions"]),
        "<h2>Assumptions</h2>",
        _pairs([*result["assumptions"].items(), *_identity(result)]),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}: backtest</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _head(result: dict[str, Any], name: str) -> str:
    data = result["data"]
    symbols = ", ".join(escape(one["symbol"]) for one in data["instruments"])
    given = ", ".join(f"{escape(key)} = {value:g}" for key, value in result["program"]["parameters"].items())
    return (
        f"<h1>{name}</h1><p>{symbols} · {data['traded_from'][:10]} to {data['last_bar'][:10]} · "
        f"{data['bars']:,} bars</p>" + (f"<p>{given}</p>" if given else "")
    )


def _tiles(result: dict[str, Any]) -> str:
    metrics, currency = result["metrics"], escape(result["currency"])
    shown = [
        ("Final equity", _amount(result["final_equity"]), None),
        ("Total return", _percent(metrics["total_return"]), metrics["total_return"]),
        ("Yearly return", _percent(metrics["cagr"]), metrics["cagr"]),
        ("Sharpe ratio", _number(metrics["sharpe"]), None),
        ("Sortino ratio", _number(metrics["sortino"]), None),
        ("Volatility", _percent(metrics["volatility"]), None),
        ("Deepest fall", _percent(metrics["maximum_drawdown"]), metrics["maximum_drawdown"]),
        ("Trades", f"{metrics['trades']:,}", None),
        ("Won", _percent(metrics["win_rate"]), None),
        ("Profit factor", _number(metrics["profit_factor"]), None),
        ("Charges", _amount(result["charges"]["total"]), None),
        (f"Start, {currency}", _amount(result["initial_cash"]), None),
    ]
    return '<div class="tiles">' + "".join(
        f'<div class="tile"><span>{title}</span><b class="{_colour(sign)}">{text}</b></div>'
        for title, text, sign in shown
    ) + "</div>"  # fmt: skip


def _notes(result: dict[str, Any]) -> list[str]:
    """What would make the curve mislead, and what did not come to pass; nothing of what never happened."""
    orders = result["orders"]
    sent, path = orders["sent"], str(result["assumptions"].get("intrabar", "")).startswith("path")
    taken = "a path through the bar was assumed" if path else "what was not certain counts against the strategy"
    found = [
        (
            orders["unaffordable"],
            "loss",
            f"of {sent:,} orders cost more than the cash when their price came and were not filled. {_RESERVE}",
        ),
        (
            result["margin_calls"],
            "loss",
            "times the equity fell below the maintenance margin, and every position was closed at the next open.",
        ),
        (
            result["ambiguous_bars"],
            "",
            f"fills hang on the order in which the prices of their bar came; {taken}.",
        ),
        (orders["expired"], "", f"of {sent:,} orders expired without a fill."),
        (orders["cancelled"], "", f"of {sent:,} orders were withdrawn by the program before they filled."),
    ]
    return [f'<p class="note {css}"><b>{count:,}</b> {text}</p>' for count, css, text in found if count]


def _charges(result: dict[str, Any]) -> str:
    """By head as on a contract note, then what borrowing cost and cash earned."""
    heads = [*result["charges"].items()]
    if float(result["borrow_cost"]):
        heads.append(("borrowing, beside the charges", result["borrow_cost"]))
    if "interest" in result:
        heads.append(("interest earned, beside the charges", result["interest"]))
    rows = "".join(
        f'<tr><td class="left">{escape(head).replace("_", " ")}</td><td>{float(amount):,.2f}</td></tr>'
        for head, amount in heads
    )
    return f'<table class="pairs"><tr><th></th><th>{escape(result["currency"])}</th></tr>{rows}</table>'


def _colour(value: float | None) -> str:
    return "" if not value else "gain" if value > 0 else "loss"


def _amount(text: str) -> str:
    """Without the small coins where they would not fit."""
    value = float(text)
    return f"{value:,.0f}" if abs(value) >= 1e7 else f"{value:,.2f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:,.2f} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}"


def _drawdown(start: float, curve: Sequence[float]) -> list[float]:
    peak, falls = start, []
    for value in curve:
        peak = max(peak, value)
        falls.append((value / peak - 1.0) * 100.0 if peak > 0 else 0.0)
    return falls


def _monthly(start: float, days: Sequence[date], curve: Sequence[float]) -> str:
    """A row per year: the return of each month, and of the year."""
    last: dict[tuple[int, int], float] = {}
    for day, value in zip(days, curve, strict=True):
        last[day.year, day.month] = value
    before, rows = start, []
    for year in sorted({year for year, _ in last}):
        opening, cells = before, []
        for month in range(1, 13):
            after = last.get((year, month))
            cells.append("<td></td>" if after is None else _cell(after / before - 1.0 if before > 0 else None))
            before = before if after is None else after
        cells.append(_cell(before / opening - 1.0 if opening > 0 else None))
        rows.append(f'<tr><td class="year">{year}</td>{"".join(cells)}</tr>')
    heads = "".join(f"<th>{month}</th>" for month in (*_MONTHS, "Year"))
    return f'<div class="scroll"><table class="months"><tr><th></th>{heads}</tr>{"".join(rows)}</table></div>'


def _cell(value: float | None) -> str:
    if value is None:
        return "<td>–</td>"
    value = round(value, 3) + 0.0  # no negative zero
    strength = min(abs(value) / 0.10, 1.0) * 45.0
    tone = "gain" if value >= 0 else "loss"
    return f'<td style="background:color-mix(in srgb,var(--{tone}) {strength:.0f}%,transparent)">{value * 100:.1f}</td>'


def _trades(trades: Sequence[dict[str, Any]]) -> str:
    if not trades:
        return "<p>No round trip was closed.</p>"
    rows = "".join(_trade(trade) for trade in trades[-TRADES_SHOWN:])
    left_out = len(trades) - TRADES_SHOWN
    note = f"<p>The last {TRADES_SHOWN} of {len(trades):,}; the JSON result has all.</p>" if left_out > 0 else ""
    heads = '<th class="left">symbol</th><th class="left">side</th>' + "".join(
        f"<th>{head}</th>" for head in ("quantity", "opened", "closed", "bought for", "sold for", "charges", "profit")
    )
    return f'{note}<div class="scroll"><table><tr>{heads}</tr>{rows}</table></div>'


def _trade(trade: dict[str, Any]) -> str:
    opened, closed = (trade[name][:16].replace("T", " ") for name in ("opened", "closed"))
    long = trade["side"] == "buy"
    bought, sold = (trade["entry"], trade["exit"]) if long else (trade["exit"], trade["entry"])
    names = f'<td class="left">{escape(trade["symbol"])}</td><td class="left">{"long" if long else "short"}</td>'
    money = (f"{float(value):,.2f}" for value in (bought, sold, trade["charges"]))
    cells = "".join(f"<td>{cell}</td>" for cell in (_grouped(trade["quantity"]), opened, closed, *money))
    profit = float(trade["profit"])
    return f'<tr>{names}{cells}<td class="{_colour(profit)}">{profit:,.2f}</td></tr>'


def _open(positions: Sequence[dict[str, Any]]) -> str:
    """What is still held at the end; its value is in the equity, its profit in no trade."""
    held = [one for one in positions if one["quantity"].strip("-0.")]
    if not held:
        return ""
    rows = "".join(
        f'<tr><td class="left">{escape(one["symbol"])}</td><td>{_grouped(one["quantity"])}</td>'
        f"<td>{float(one['cost']):,.2f}</td></tr>"
        for one in held
    )
    heads = '<tr><th class="left">symbol</th><th>quantity</th><th>cost</th></tr>'
    return f'<h2>Open at the end</h2><div class="scroll"><table class="pairs">{heads}{rows}</table></div>'


def _grouped(quantity: str) -> str:
    """A decimal string with its thousands marked."""
    whole, point, part = quantity.removeprefix("-").partition(".")
    return f"{'-' if quantity.startswith('-') else ''}{int(whole):,}{point}{part}"


def _pairs(pairs: Sequence[tuple[str, Any]]) -> str:
    rows = "".join(
        f'<tr><td class="left">{escape(str(key)).replace("_", " ")}</td><td class="wrap">{escape(str(value))}</td></tr>'
        for key, value in pairs
    )
    return f'<table class="pairs">{rows}</table>'


def _identity(result: dict[str, Any]) -> list[tuple[str, str]]:
    orders = result["orders"]
    return [
        ("orders", ", ".join(f"{count:,} {state}" for state, count in orders.items())),
        ("program digest", result["program"]["digest"]),
        ("data digest", result["data"]["manifest_sha256"]),
        ("fills and curve", result["sha256"]),
    ]
