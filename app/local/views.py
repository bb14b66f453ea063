"""Decides what `mandi orders`, `positions` and `performance` show of the API's answers."""

from collections.abc import Sequence
from typing import Any, Protocol

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

Row = dict[str, Any]
_STATUS = {"filled": "green", "denied": "red", "rejected": "red", "lost": "red", "unknown": "yellow"}
_SIDE = {"buy": "green", "sell": "red"}
_YIELDING = ("why", "account and symbol")
"""Columns of words, which give way to figures where the terminal is narrow."""

_FIGURES: Sequence[tuple[str, str, str]] = (
    ("equity", "final_equity", "amount"),
    ("total return", "total_return", "return"),
    ("yearly return", "cagr", "return"),
    ("volatility", "volatility", "share"),
    ("Sharpe", "sharpe", "ratio"),
    ("Sortino", "sortino", "ratio"),
    ("maximum drawdown", "max_drawdown", "return"),
    ("win rate", "win_rate", "share"),
    ("profit factor", "profit_factor", "ratio"),
    ("round trips", "trades", "count"),
    ("charges", "charges", "amount"),
)


class Client(Protocol):
    """What the views need of `client.ApiClient`."""

    def get(self, path: str, **query: Any) -> Any: ...

    def rows(self, path: str, *, limit: int, **query: Any) -> list[Row]: ...


def orders(client: Client, limit: int) -> tuple[list[Row], Table]:
    """The newest orders, and how they look."""
    rows = client.rows("/v1/orders", limit=limit)
    table = _table("orders", "market time", "symbol", "side", "type", "status", "why", right=("quantity", "average"))
    for row in rows:
        asked = "market" if row["limit_price"] is None else f"limit {row['limit_price']}"
        quantity, filled = row["quantity"], row["filled_quantity"]
        table.add_row(
            (row["market_at"] or row["created_at"])[:16].replace("T", " "),
            row["symbol"],
            Text(row["side"], style=_SIDE.get(row["side"], "")),
            asked,
            Text(row["status"].replace("_", " "), style=_STATUS.get(row["status"], "")),
            Text(row["status_reason"] or row["intent_reason"] or "", style="dim", overflow="ellipsis"),
            quantity if filled in ("0", quantity) else f"{filled} of {quantity}",
            row["average_price"] or "-",
        )
    return rows, table


def positions(client: Client, limit: int) -> tuple[list[Row], Table]:
    """Open positions below their accounts, and how they look."""
    rows = client.rows("/v1/positions", limit=limit)
    names = {account["id"]: account["name"] for account in client.rows("/v1/accounts", limit=1000)}
    right = ("quantity", "last", "value", "unrealised", "realised")
    table = _table("positions", "account and symbol", right=right)
    shown = None
    for row in sorted(rows, key=lambda row: (names.get(row["account_id"], ""), row["account_id"], row["symbol"])):
        if row["account_id"] != shown:
            shown = row["account_id"]
            table.add_row(names.get(shown, shown))
        table.add_row(
            f"  {row['symbol']}" if row["product"] == "delivery" else f"  {row['symbol']} {row['product']}",
            row["quantity"],
            row["last_price"] or "-",
            _amount(row["value"]),
            _signed(row["unrealised"]),
            _signed(row["realised"]),
        )
    return rows, table


def performance(client: Client) -> tuple[list[Row], Table]:
    """The figures of every deployment, one column each, and how they look."""
    names = {strategy["id"]: strategy["name"] for strategy in client.rows("/v1/strategies", limit=1000)}
    found = []
    for deployment in client.rows("/v1/deployments", limit=100):
        figures = client.get("/v1/performance", deployment_id=deployment["id"])
        name = names.get(deployment["strategy_id"], deployment["strategy_id"])
        found.append({"strategy": name, **figures})
    table = _table("performance", "", right=[row["strategy"].replace("_", " ") for row in found])
    table.add_row("from", *[row["start"] for row in found])
    table.add_row("to", *[row["end"] or "-" for row in found])
    for label, name, kind in _FIGURES:
        table.add_row(label, *[_figure(row[name], kind) for row in found])
    reasons = {f"{name.replace('_', ' ')}: {why}" for row in found for name, why in row["undefined"].items()}
    table.caption = "; ".join(sorted(reasons)) or None
    return found, table


def _table(title: str, *headings: str, right: Sequence[str]) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        caption_justify="left",
        padding=(0, 1, 0, 0),  # eighty columns hold every figure whole
    )
    for heading in headings:
        table.add_column(heading, no_wrap=heading not in _YIELDING, max_width=40 if heading in _YIELDING else None)
    for heading in right:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _figure(value: Any, kind: str) -> str:
    if value is None:
        return "-"
    match kind:
        case "return":
            return f"{value:+.2%}"
        case "share":
            return f"{value:.1%}"
        case "ratio":
            return f"{value:.2f}"
        case "amount":
            return _amount(value)
    return str(value)


def _amount(text: str | None) -> str:
    """A decimal string with its thousands apart: `25,242.00`."""
    if text is None:
        return "-"
    whole, dot, fraction = text.partition(".")
    return f"{int(whole):,}{dot}{fraction}" if not text.startswith("-") else f"-{_amount(text[1:])}"


def _signed(text: str | None) -> Text:
    """A profit in green, a loss in red."""
    nothing = text is None or not text.strip("-0.")
    style = "" if nothing or text is None else "red" if text.startswith("-") else "green"
    return Text(_amount(text), style=style)
