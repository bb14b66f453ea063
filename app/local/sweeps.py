"""The `mandi sweep` commands. Decides their options and what they show; the search itself is `insight.research`.

Light: `mandi --help` loads it, so everything else is imported when a command runs.
"""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.kernel.orders import Product
from app.local.terminal import BarFiles, Charges, Currency, Day, Given, Json, ProgramFile, Term, explained, show

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from app.insight.research.service import FileSweep, Space

sweeps = typer.Typer(no_args_is_help=True, help="Search a program's parameters on files of bars; no stack is needed.")

Cash = Annotated[str, typer.Option(help="Starting cash of each run, for example 100000.")]
Grid = Annotated[
    list[str],
    typer.Option(
        help="A parameter and its values: fast=5:24:1 (start:stop:step), fast=5,10,20; with --random also "
        "fast=integers:5:24, width=uniform:0.5:3, decay=log:0.001:0.1."
    ),
]
Random = Annotated[int | None, typer.Option("--random", help="Draw so many combinations instead of all of the grid.")]
Seed = Annotated[int, typer.Option(help="Of --random; the same seed draws the same combinations.")]
Metric = Annotated[str, typer.Option(help="What is best: sharpe, sortino, total_return, cagr or maximum_drawdown.")]
Processes = Annotated[
    int | None,
    typer.Option(help="Default: as many as help, up to one per processor. The result is the same with any number."),
]
Earlier = Annotated[int, typer.Option(help="Combinations of this program tried before; they count as trials.")]
Tick = Annotated[str, typer.Option(help="Price step of orders.")]
Lot = Annotated[int, typer.Option(min=1, help="Units of one lot.")]
For = Annotated[Product, typer.Option(help="What charges take it for.")]
Slippage = Annotated[int, typer.Option(min=0, max=9999, help="Market orders pay so much.")]
Report = Annotated[Path | None, typer.Option(dir_okay=False, help="Write the report page here.")]
_PERCENT = ("total_return", "cagr", "volatility", "maximum_drawdown")
_SHOWN = 10


@sweeps.command("run")
def run_sweep(
    program: ProgramFile,
    bars: BarFiles,
    cash: Cash,
    grid: Grid,
    charges: Charges = "zero",
    currency: Currency = "INR",
    param: Given = None,
    random: Random = None,
    seed: Seed = 0,
    metric: Metric = "sharpe",
    processes: Processes = None,
    earlier: Earlier = 0,
    start: Day = None,
    end: Day = None,
    tick: Tick = "0.01",
    lot: Lot = 1,
    product: For = Product.DELIVERY,
    slippage_bps: Slippage = 0,
    term: Term = None,
    trials: Annotated[Path | None, typer.Option(dir_okay=False, help="Write every combination here, as CSV.")] = None,
    report: Report = None,
    as_json: Json = False,
) -> None:
    """Run a program with every combination of parameters (or random ones): ranking, heat map, deflated Sharpe ratio."""
    with explained():
        from app.insight.research.service import sweep_files, sweep_page

        asked = _asked(
            program, bars, cash, charges, currency, param, tick, lot, product, slippage_bps, start, end, term,
            grid=grid, random=random, seed=seed, metric=metric, processes=processes, earlier=earlier,
        )  # fmt: skip
        with _progress("sweep") as on_runs:
            result, rows = sweep_files(asked, on_runs)
        if trials is not None:
            _write_rows(trials, rows)
        if report is not None:
            report.write_text(sweep_page(result), encoding="utf-8")
        show((result, _ranking(result)), as_json)


@sweeps.command("walkforward")
def run_walk_forward(
    program: ProgramFile,
    bars: BarFiles,
    cash: Cash,
    grid: Grid,
    train: Annotated[int, typer.Option(help="Trading dates to learn from in each fold.")],
    test: Annotated[int, typer.Option(help="Trading dates to judge on in each fold.")],
    purge: Annotated[int, typer.Option(help="Trading dates left out between training and test.")] = 0,
    embargo: Annotated[int, typer.Option(help="Further trading dates left out there.")] = 0,
    anchored: Annotated[
        bool, typer.Option("--anchored", help="Train from the first date on, not on the last.")
    ] = False,
    charges: Charges = "zero",
    currency: Currency = "INR",
    param: Given = None,
    random: Random = None,
    seed: Seed = 0,
    metric: Metric = "sharpe",
    processes: Processes = None,
    earlier: Earlier = 0,
    start: Day = None,
    end: Day = None,
    tick: Tick = "0.01",
    lot: Lot = 1,
    product: For = Product.DELIVERY,
    slippage_bps: Slippage = 0,
    term: Term = None,
    report: Report = None,
    as_json: Json = False,
) -> None:
    """Choose parameters on the past, judge them on what follows, and move on. All lengths are in trading dates."""
    with explained():
        from app.insight.research.service import Cut, walk_files, walk_page

        asked = _asked(
            program, bars, cash, charges, currency, param, tick, lot, product, slippage_bps, start, end, term,
            grid=grid, random=random, seed=seed, metric=metric, processes=processes, earlier=earlier,
        )  # fmt: skip
        with _progress("walk-forward") as on_runs:
            result = walk_files(asked, Cut(train, test, purge, embargo, anchored), on_runs)
        if report is not None:
            report.write_text(walk_page(result), encoding="utf-8")
        show((result, _folds(result)), as_json)


def _asked(
    program: Path, bars: list[Path], cash: str, charges: str, currency: str, param: list[str] | None, tick: str,
    lot: int, product: Product, slippage_bps: int, start: Any, end: Any, term: list[str] | None, *, grid: list[str],
    random: int | None, seed: int, metric: str, processes: int | None, earlier: int,
) -> "FileSweep":  # fmt: skip
    from app.insight.backtest.service import FileRun
    from app.insight.research.service import FileSweep
    from app.local import research

    run = FileRun(
        research.read_program(program), bars, cash, charges, currency, research.parse_parameters(param or []), tick,
        lot, product, slippage_bps, start and start.date(), end and end.date(), research.parse_terms(term or []),
    )  # fmt: skip
    return FileSweep(run, parse_grid(grid, random, seed), metric, processes, earlier)


def parse_grid(given: Iterable[str], draws: int | None, seed: int) -> "Space":
    """`name=values` pairs, as `insight.research` reads them. Raises `invalid_sweep` naming the axis."""
    from app.insight.research.service import Space, parse_axis
    from app.kernel.errors import invalid

    axes = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise invalid("invalid_sweep", f"{pair!r} is not name=values, for example fast=5:24:1.", param="grid")
        if name in axes:
            raise invalid("invalid_sweep", f"{name} is given twice.", param=f"grid.{name}")
        axes[name] = parse_axis(name, text)
    return Space(axes, draws, seed)


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal's standard error; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("runs"), TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def _write_rows(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer: csv.DictWriter[str] | None = None
        for row in rows:
            if writer is None:
                writer = csv.DictWriter(out, list(row))
                writer.writeheader()
            writer.writerow(row)


def _ranking(result: dict[str, Any]) -> "Group":
    """The best combinations, and below what to think of the first."""
    from rich.console import Group

    names = list(result["space"]["axes"])
    table = _table(result["program"]["name"], [*names, "sharpe", "return", "drawdown", "fills", "charges"])
    for row in result["ranking"][:_SHOWN]:
        cells = [_number(row["parameters"][name]) for name in names]
        if "refusal" in row:
            table.add_row(*cells, "-", "-", "-", "-", "-")
            continue
        figures = [_figure(row[name], name) for name in ("sharpe", "total_return", "maximum_drawdown")]
        table.add_row(*cells, *figures, f"{row['fills']:,}", row["charges"])
    counts, held = result["trials"], result["stability"]
    lines = [f"{counts['run']:,} of {counts['combinations']:,} combinations ran."]
    if held is not None and held["mean"] is not None:
        metric = result["metric"]
        lines.append(f"{held['neighbours']} neighbours of the best: mean {_figure(held['mean'], metric)}.")
    return Group(table, " ".join([*lines, *_verdict(result["significance"])]))


def _folds(result: dict[str, Any]) -> "Group":
    """One row per fold, and below the whole out-of-sample run."""
    from rich.console import Group

    names, metric = list(result["space"]["axes"]), result["metric"]
    table = _table(result["program"]["name"], ["tested from", "to", *names, "trained", "tested", "return", "fills"])
    for fold in result["folds"]:
        chosen, inside, outside = fold["parameters"] or {}, fold["in_sample"], fold["out_of_sample"]
        cells = [fold["test"]["from"], fold["test"]["to"]]
        cells += [_number(chosen[name]) if chosen else "-" for name in names]
        cells.append(_figure(inside and inside[metric], metric))
        if outside is None:
            table.add_row(*cells, "-", "-", "-")
        else:
            figures = (_figure(outside[metric], metric), _figure(outside["total_return"], "total_return"))
            table.add_row(*cells, *figures, f"{outside['fills']:,}")
    found = result["out_of_sample"]
    said = f"Trained and tested by {metric}. Out of sample {found['final_equity']} {result['currency']}"
    said += f" from {result['initial_cash']}, Sharpe {_figure(found['sharpe'], 'sharpe')}."
    return Group(table, " ".join([said, *_verdict(result["significance"])]))


def _table(title: str, headings: list[str]) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _verdict(found: dict[str, Any] | None) -> list[str]:
    if found is None or found["deflated_sharpe"] is None:
        return []
    sure = f"{found['deflated_sharpe'] * 100:.1f} %"
    return [f"Deflated Sharpe ratio {sure}: how sure that it is more than the luck of {found['trials']:,} trials."]


def _figure(value: float | None, metric: str) -> str:
    return "-" if value is None else f"{value * 100:,.2f} %" if metric in _PERCENT else f"{value:,.2f}"


def _number(value: float) -> str:
    return f"{value:.6g}"
