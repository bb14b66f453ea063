"""The `mandi keys` commands. Decides their options; the rotation itself is `platform.oauth`.

Light: `mandi --help` loads it, so everything else is imported when a command runs.
"""

from typing import Annotated

import typer

from app.local.secrets import run_with_app

keys = typer.Typer(no_args_is_help=True, help="The keys that sign tokens.")


@keys.callback()
def _group() -> None:
    """The keys that sign tokens."""


@keys.command("rotate")
def rotate(
    compromised: Annotated[
        bool,
        typer.Option("--compromised", help="The present key is known to others: end it now, and every token with it."),
    ] = False,
) -> None:
    """Let the next keys sign, keep the old ones published until their tokens have ended, make new next ones."""
    from app.platform.oauth.service import rotate_keys

    done = run_with_app(
        lambda app: rotate_keys(app.database.reference, app.sealer.platform, now=app.clock(), compromised=compromised)
    )
    for one in done:
        typer.echo(f"{one.kid} is {one.state}")
