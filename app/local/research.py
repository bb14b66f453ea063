"""Decides what the terminal shows of programs and backtests; the runs themselves are `insight.backtest`."""

import json
import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.engine.columns import Intrabar
from app.engine.firewall import Check
from app.engine.program import Number, compile_program
from app.engine.terms import Terms
from app.insight.backtest.service import FileRun, run_files, verify_files
from app.kernel.errors import invalid

_MILLION = 1_000_000


def read_program(file: Path) -> dict[str, Any]:
    """A program document. Raises `invalid_program` when the file is not a JSON object."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise invalid("invalid_program", f"{file.name} is not JSON: {error}", param="program") from None
    if not isinstance(document, dict):
        raise invalid("invalid_program", f"{file.name} must hold a JSON object.", param="program")
    return document


def parse_parameters(given: Iterable[str]) -> dict[str, Number]:
    """`name=number` pairs. Raises `invalid_program` naming the parameter."""
    found: dict[str, Number] = {}
    for pair in given:
        name, _, text = pair.partition("=")
        try:
            found[name] = int(text) if text.lstrip("+-").isdigit() else float(text)
        except ValueError:
            raise invalid("invalid_program", f"{pair!r} is not name=number", param=f"parameters.{name}") from None
    return found


def parse_terms(given: Iterable[str]) -> Terms:
    """`name=value` pairs of `app.engine.terms.Terms`. Raises `invalid_terms` naming the term."""
    found: dict[str, Any] = {}
    for pair in given:
        name, _, text = pair.partition("=")
        if name not in (known := [field.name for field in fields(Terms)]):
            raise invalid("invalid_terms", f"{name!r} is none of {', '.join(known)}.", param=name)
        try:
            found[name] = Intrabar[text.upper()] if name == "intrabar" else int(text)
        except (KeyError, ValueError):
            raise invalid("invalid_terms", f"{text!r} is no value of {name}.", param=name) from None
    return Terms(**found)


def examine(document: dict[str, Any], parameters: dict[str, Number]) -> dict[str, Any]:
    """What the compiler says of a program. Raises `invalid_program` with the path of the node."""
    program = compile_program(document, parameters)
    return {
        "name": program.name,
        "digest": program.digest,
        "parameters": dict(program.parameters),
        "nodes": program.nodes,
        "warm_up_bars": program.warm_up,
        "evaluations_per_million_bars": program.cost(bars=_MILLION, instruments=1),
    }


def run(request: FileRun) -> dict[str, Any]:
    """The result document; a bar on the terminal while it runs."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("bars"), TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("backtest", total=None)
        return run_files(request, lambda done, of: progress.update(task, completed=done, total=of))


def checks(request: FileRun) -> list[Check]:
    """Every look-ahead test, in order."""
    return list(verify_files(request))


def checks_table(found: Iterable[Check]) -> Table:
    """One row per test."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("test", "at", "result"):
        table.add_column(heading, justify="right" if heading == "at" else "left")
    for check in found:
        result = "[green]unchanged[/]" if check.passed else f"[red]{check.found}[/]"
        table.add_row(check.name.replace("_", " "), f"{check.at:,}", result)
    return table


def result_table(result: dict[str, Any]) -> Table:
    """The figures one looks at first."""
    data, metrics, currency = result["data"], result["metrics"], result["currency"]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(result["program"]["name"])
    table.add_column(f"{data['traded_from'][:10]} to {data['last_bar'][:10]}", justify="right")
    percent = ("total_return", "cagr", "volatility", "maximum_drawdown", "win_rate")
    rows = [("initial cash", f"{result['initial_cash']} {currency}")]
    rows += [("final equity", f"{result['final_equity']} {currency}")]
    for name, value in metrics.items():
        text = "-" if value is None else f"{value * 100:.2f} %" if name in percent else f"{value:,.2f}"
        rows.append((name.replace("_", " "), f"{value:,}" if isinstance(value, int) else text))
    rows += [("charges", f"{result['charges']['total']} {currency}"), ("fills", f"{len(result['fills']):,}")]
    rows += [(f"orders {state}", f"{count:,}") for state, count in result["orders"].items()]
    for name, text in rows:
        table.add_row(name, text)
    return table


def charges_table(found: dict[str, Any]) -> Table:
    """One row per head, the days' notes as columns when they are few."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=f"{found['schedule']}, {found['currency']}")
    notes = found["notes"] if len(found["notes"]) <= 6 else []
    table.add_column("head")
    for note in notes:
        table.add_column(note["on"], justify="right")
    table.add_column("total", justify="right")
    for head, total in [*found["heads"].items(), ("total", found["total"])]:
        cells = [note["total"] if head == "total" else note["heads"][head] for note in notes]
        table.add_row(head, *cells, total)
    return table
