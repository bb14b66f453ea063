"""Decides the options that commands share, and how they answer: expected errors in one line, rows as table or JSON.

Light: `mandi --help` loads it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ProgramFile = Annotated[Path, typer.Option("--program", exists=True, dir_okay=False, help="A strategy program, JSON.")]
BarFiles = Annotated[
    list[Path], typer.Option("--bars", exists=True, dir_okay=False, help="A .csv or .parquet file; one per instrument.")
]
Given = Annotated[list[str] | None, typer.Option("--param", help="Override a parameter: name=number.")]
Term = Annotated[
    list[str] | None,
    typer.Option(
        help="intrabar=pessimistic|path|lower (with --finer), or participation_bps, margin_bps, maintenance_bps, "
        "borrow_bps, interest_bps=number."
    ),
]
Charges = Annotated[str, typer.Option(help="Charge schedule, for example nse_equity, us_equity, flat_bps or zero.")]
Currency = Annotated[str, typer.Option(help="Of the bars and the cash.")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]
_EX_CONFIG = 78


@contextmanager
def explained() -> Iterator[None]:
    """Turn expected errors into one line and an exit code; 78 for settings."""
    from app.infra.settings import SettingsError
    from app.kernel.errors import DomainError
    from app.local.ports import StartError

    try:
        yield
    except SettingsError as error:
        typer.echo(f"mandi: {error}", err=True)
        raise typer.Exit(_EX_CONFIG) from None
    except (StartError, DomainError) as error:
        typer.echo(f"mandi: {error}", err=True)
        raise typer.Exit(1) from None


def show(found: "tuple[Any, RenderableType]", as_json: bool) -> None:
    """The rows as they came, or the table."""
    from rich.console import Console

    rows, table = found
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        Console().print(table)
