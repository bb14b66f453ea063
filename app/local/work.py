"""The `mandi work` commands: what waits, what is dead, how dead work is tried again. Light: `mandi --help` loads it.

A replay is recorded as an event of the tenant's that names the operator.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from app.local.secrets import run_with_app
from app.local.tenants import Operators, operator_name
from app.local.terminal import Json, explained, show

if TYPE_CHECKING:
    from app.bootstrap import App
    from app.infra.work.operating import Listed

work = typer.Typer(no_args_is_help=True)

MOST = 10_000
Limit = Annotated[int, typer.Option(min=1, max=MOST, help="At most so many, the oldest first.")]


@work.callback()
def _group(context: typer.Context, operator: Operators = None) -> None:
    """Rows of work: list what waits or died, show one, replay the dead.

    Work dies at its third failure, or at once when trying again cannot help. Cancels and exits never die.
    """
    context.obj = operator


@work.command("list")
def list_items(
    dead: Annotated[bool, typer.Option("--dead", help="Only what died.")] = False,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only what is ready, or is tried again later.")] = False,
    kind: Annotated[str | None, typer.Option(help="Only this kind, such as order.submit.")] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """What is not done: age, state, queue, kind, tries, tenant, last error."""
    from app.infra.work.operating import Standing, list_work
    from app.local.work_views import items_view

    if dead and waiting:
        raise typer.BadParameter("give one of the two, or neither for both.", param_hint="--dead / --waiting")
    wanted = [one for one in Standing if (one is Standing.DEAD) == dead] if dead or waiting else list(Standing)
    found = run_with_app(lambda app: list_work(app.database.dispatch, wanted, kind=kind, limit=limit))
    if not found and not as_json:
        typer.echo("nothing")
        return
    show(items_view(found), as_json)


@work.command("show")
def show_item(item: Annotated[str, typer.Argument(metavar="ID", help="wrk_…")], as_json: Json = False) -> None:
    """One row, with what it is about and its whole last error."""
    from app.infra.work.operating import PREFIX, show_work
    from app.kernel.ids import decode_id
    from app.local.work_views import item_view

    with explained():
        item_id = decode_id(PREFIX, item)
    show(item_view(run_with_app(lambda app: show_work(app.database.dispatch, item_id))), as_json)


@work.command("stats")
def stats(as_json: Json = False) -> None:
    """Each queue: how much is ready, since when the oldest, how much is tried later, how much is dead."""
    from app.infra.work.operating import work_standings
    from app.local.work_views import standings_view

    found = run_with_app(lambda app: work_standings(app.database.dispatch))
    if not found and not as_json:
        typer.echo("nothing")
        return
    show(standings_view(found), as_json)


@work.command("replay")
def replay(
    context: typer.Context,
    item: Annotated[str | None, typer.Argument(metavar="[ID]", help="wrk_…")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every dead one of a kind.")] = False,
    kind: Annotated[str | None, typer.Option(help="With --all: which kind.")] = None,
) -> None:
    """Make dead work ready again, as if it had never been tried.

    An order that was never sent is sent as it stands, however old: look at it first.
    """
    from app.infra.work.operating import PREFIX
    from app.kernel.ids import decode_id

    if (item is None) != every or every != (kind is not None):
        raise typer.BadParameter("give an ID, or --all with --kind.", param_hint="ID / --all")
    name = operator_name(context.obj)
    with explained():
        wanted = None if item is None else decode_id(PREFIX, item)

    async def run(app: "App") -> int:
        from app.infra.work.operating import Standing, list_work, show_work

        dispatch = app.database.dispatch
        if wanted is not None:
            return await _replayed(app, [await show_work(dispatch, wanted)], name)
        return await _replayed(app, await list_work(dispatch, [Standing.DEAD], kind=kind, limit=MOST), name)

    typer.echo(f"ready again: {run_with_app(run)}")


async def _replayed(app: "App", found: "list[Listed]", operator: str) -> int:
    """How many: each in a transaction of its tenant's, so that one that another operator took first stops none."""
    from app.infra.work.operating import replay_work
    from app.kernel.errors import DomainError

    done = 0
    for item in found:
        try:
            async with app.database.tx(item.tenant_id, operator=operator) as tx:
                await replay_work(tx, item.id)
        except DomainError:
            if len(found) == 1:
                raise
            continue
        done += 1
    return done
