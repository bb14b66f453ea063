"""Decides what the terminal shows while the stack runs."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from app.local.figures import Summary, broken_invariants, money
from app.local.home import Credentials


def processes_table(services: Sequence[dict[str, Any]]) -> Table:
    """The processes, their pids and restarts."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading, justify in (("process", "left"), ("pid", "right"), ("state", "left"), ("restarts", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for service in services:
        up = service["pid"] is not None
        state = Text("running", style="green") if up else Text("starting again", style="yellow")
        table.add_row(service["name"], str(service["pid"] or "-"), state, str(service["restarts"]))
    return table


def strategies_table(summary: Summary) -> Table:
    """One row per strategy: activity and equity. Its figures are never cut short, however narrow the terminal."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("strategy", "state"):
        table.add_column(heading)
    for heading in ("orders", "resting", "fills", "denied", "equity"):
        table.add_column(heading, justify="right", no_wrap=True)
    for strategy in summary.strategies:
        counts = [str(n) for n in (strategy.orders, strategy.resting, strategy.fills, strategy.denied)]
        table.add_row(strategy.name, strategy.status, *counts, money(strategy.equity, strategy.currency))
    return table


def _holds(summary: Summary) -> Sequence[tuple[str, str]]:
    """What each strategy holds, a line each: as many symbols as there are would not fit into a column."""
    return [
        (f"{strategy.name} holds", ", ".join(f"{symbol} {quantity}" for symbol, quantity in strategy.positions) or "-")
        for strategy in summary.strategies
    ]


def picture(summary: Summary, services: Sequence[dict[str, Any]]) -> Group:
    """The live summary: under 24 lines, so that it fits a plain terminal."""
    broken = broken_invariants(summary)
    ledger = Text("balances to zero", style="green") if not broken else Text("; ".join(broken), style="bold red")
    at = "-" if summary.market_at is None else summary.market_at.date().isoformat()
    denials = ", ".join(f"{reason} {count}" for reason, count in sorted(summary.denials.items())) or "none"
    facts = Table.grid(padding=(0, 2))
    facts.add_row("market date", f"{at} ({summary.feed_status}), {summary.bars:,} bars replayed")
    for name, holds in _holds(summary):
        facts.add_row(name, holds)
    facts.add_row("risk denials", denials)
    facts.add_row("ledger", ledger)
    advice = Text("Ctrl-C stops every process and keeps the data.", style="dim")
    return Group(processes_table(services), strategies_table(summary), *(Padding(it, (0, 1)) for it in (facts, advice)))


def addresses(url: str, credentials: Credentials | None) -> Panel:
    """Where the API is and how to call it."""
    grid = Table.grid(padding=(0, 2))
    grid.add_row("API", f"{url}/v1")
    grid.add_row("docs", f"{url}/docs")
    if credentials is not None:
        grid.add_row("demo API key", Text(credentials.api_key, no_wrap=True, overflow="fold"))
        grid.add_row(
            "try", Text(f'curl -H "Authorization: Bearer {credentials.api_key}" {url}/v1/orders', overflow="fold")
        )
    return Panel(grid, title="Mandi", title_align="left", expand=False)


def rows_table(title: str, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> Table:
    """Rows of an API answer; a missing value shows as `-`."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column.replace("_", " "))
    for row in rows:
        values = [row.get(column) for column in columns]
        table.add_row(*["-" if value is None else str(value) for value in values])
    return table


def progress_console(*, to_stderr: bool) -> Console:
    """Where progress goes: stderr when stdout is for a machine."""
    return Console(stderr=to_stderr, highlight=False, soft_wrap=True)
