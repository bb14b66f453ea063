"""The `mandi keys` commands. Decides their options; the rotation itself is `platform.oauth`.

Light: `mandi --help` loads it, so everything else is imported when a command runs.
"""

from collections.abc import Mapping
from typing import Annotated

import typer

from app.local.terminal import explained

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
    import asyncio
    import os

    with explained():
        for kid, state in asyncio.run(_rotate(os.environ, compromised=compromised)):
            typer.echo(f"{kid} is {state}")


async def _rotate(environ: Mapping[str, str], *, compromised: bool) -> list[tuple[str, str]]:
    from app.bootstrap import utc_clock
    from app.infra.database import open_pool
    from app.local.ports import StartError
    from app.platform.oauth.service import LocalSealer, decode_key, rotate_keys

    for name in ("REFERENCE_DATABASE_URL", "MANDI_SEALING_KEY"):
        if not environ.get(name):
            raise StartError(f"{name} is not set; .env.example says what it is")
    try:
        sealer = LocalSealer(decode_key(environ["MANDI_SEALING_KEY"]))
    except ValueError as error:
        raise StartError(f"MANDI_SEALING_KEY {error}") from None
    pool = await open_pool(environ["REFERENCE_DATABASE_URL"], size=1)
    try:
        done = await rotate_keys(pool, sealer, now=utc_clock(), compromised=compromised)
    finally:
        await pool.close()
    return [(one.kid, one.state) for one in done]
