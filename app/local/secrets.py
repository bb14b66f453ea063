"""Decides the commands around keys: `mandi secrets rotate-kek` and `rotate-tenant`. Light: `mandi --help` loads it."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from app.local.terminal import explained

if TYPE_CHECKING:
    from app.bootstrap import App

secrets = typer.Typer(no_args_is_help=True, help="Keys that protect stored secrets.")


@secrets.command("rotate-kek")
def rotate_kek() -> None:
    """Begin a new key-encryption key and wrap every data key with it. A run that was cut off is continued.

    With AWS KMS, name the new key in MANDI_KMS_KEY_ARN first. The old one is still needed by older backups.
    """
    from app.infra.crypto.rotation import rotate_key_encryption
    from app.kernel.ids import encode_id

    done = run_with_app(lambda app: rotate_key_encryption(app.database, app.sealer.keys))
    begun = "a new key-encryption key" if done.began else "a rotation begun earlier was continued"
    typer.echo(f"{begun}: {done.changed} data keys wrapped anew")
    if done.failed:
        named = ", ".join(encode_id("ten", tenant_id) for tenant_id in done.failed)
        typer.echo(
            f"mandi: data keys of {named} were altered and stay as they are: restore them, then repeat", err=True
        )
        raise typer.Exit(1)


@secrets.command("rotate-tenant")
def rotate_tenant(
    tenant: Annotated[str, typer.Argument(help="A tenant's id, ten_…, or `platform`.")],
) -> None:
    """Begin a new data key for a tenant and seal its secrets with it. A run that was cut off is continued."""
    from app.infra.crypto import rotation
    from app.infra.crypto.tables import PLATFORM
    from app.kernel.ids import decode_id

    with explained():
        tenant_id = PLATFORM if tenant == "platform" else decode_id("ten", tenant)
    done = run_with_app(lambda app: rotation.rotate_tenant(app.database, app.sealer.keys, tenant_id))
    begun = "a new data key" if done.began else "a rotation begun earlier was continued"
    typer.echo(f"{begun}: {done.changed} values sealed anew")


Done = TypeVar("Done")


def run_with_app(work: "Callable[[App], Awaitable[Done]]") -> Done:
    """`work` in the configured (or the local stack's) environment; failures are explained."""
    from asyncpg import PostgresError

    from app.bootstrap import bootstrap
    from app.infra.roles import UnsafeRoleError
    from app.infra.settings import load_settings
    from app.local.environment import configured
    from app.local.home import Home
    from app.local.ports import StartError

    async def with_app() -> Done:
        async with AsyncExitStack() as opened:
            try:
                app = await opened.enter_async_context(bootstrap(load_settings()))
            except UnsafeRoleError as error:
                raise StartError(str(error)) from None
            except (OSError, PostgresError) as error:
                raise StartError(f"the database does not let us in ({error}): `mandi doctor` looks into it") from None
            return await work(app)

    with explained():
        os.environ.update(configured(Home.find(os.environ), os.environ))
        return asyncio.run(with_app())
