"""Decides the command that tells the platform what venues take today. Light: `mandi --help` loads it."""

from pathlib import Path
from typing import Annotated

import typer

from app.local.secrets import run_with_app

bands = typer.Typer(no_args_is_help=True, help="The prices that venues take, and what they have halted.")


@bands.callback()
def _bands() -> None:
    """The prices that venues take, and what they have halted."""


@bands.command("import")
def import_file(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, readable=True, help="CSV with symbol, venue, day, lower, upper, halted."
        ),
    ],
    source: Annotated[str, typer.Option(help="Where the bands come from.")] = "imported",
) -> None:
    """Import price bands and halts by day; refused whole, naming row and column, when one is wrong. The rule price_band
    holds orders to them from then on."""
    from app.infra.process import App
    from app.market.data.service import seed_reference
    from app.market.instruments.service import BandReport, import_bands

    async def imported(app: App) -> BandReport:
        await seed_reference(app.database.reference, app.settings.data_dir)
        return await import_bands(app.database.reference, file, source=source)

    typer.echo(run_with_app(imported))
