"""Decides the commands around risk: the platform's limits and its kill switch. Light: `mandi --help` loads it."""

import json
from typing import Annotated

import typer

from app.local.secrets import run_with_app
from app.local.terminal import explained

risk = typer.Typer(no_args_is_help=True, help="What no tenant may exceed, and the platform's kill switch.")

Rule = Annotated[str, typer.Argument(help="A rule's name, such as max_order_value.")]


@risk.command("limits")
def limits() -> None:
    """Show what the platform has set, rule by rule."""
    from app.trading.risk.service import platform_limits

    for one in run_with_app(lambda app: platform_limits(app.database.reference)):
        shown = "unreadable" if one.parameters is None else one.parameters.model_dump_json()
        typer.echo(f"{one.rule:<20} {shown if one.own is not None else '-'}")


@risk.command("limit")
def limit(rule: Rule, parameters: Annotated[str, typer.Argument(help='As JSON: \'{"limit": "100000.00"}\'.')]) -> None:
    """Set what no tenant may exceed. Holds when the command ends."""
    from app.trading.risk.service import set_platform_limit

    try:
        stated = json.loads(parameters)
    except ValueError:
        raise typer.BadParameter('parameters are JSON, such as \'{"limit": "100000.00"}\'') from None
    run_with_app(lambda app: set_platform_limit(app.database, rule, stated))
    typer.echo(f"{rule} is set")


@risk.command("clear")
def clear(rule: Rule) -> None:
    """Take the platform's limit of a rule back."""
    from app.trading.risk.service import set_platform_limit

    run_with_app(lambda app: set_platform_limit(app.database, rule, None))
    typer.echo(f"{rule} is cleared")


@risk.command("halt")
def halt(
    reason: Annotated[str, typer.Option(help="Why; every tenant reads it.")],
    algo: Annotated[str | None, typer.Option(help="Only orders that carry this algo id.")] = None,
    reduce_only: Annotated[bool, typer.Option("--reduce-only", help="Leave entries that work already.")] = False,
) -> None:
    """Stop new risk of every tenant. Exits and cancels still pass; it holds until it is lifted."""
    from app.kernel.ids import encode_id
    from app.trading.orders.service import halt_everything
    from app.trading.risk.domain import HaltMode

    mode = HaltMode.REDUCE_ONLY if reduce_only else HaltMode.HALT
    made = run_with_app(
        lambda app: halt_everything(app.database, algo_id=algo, mode=mode, reason=reason, now=app.clock())
    )
    typer.echo(f"halted; `mandi risk resume {encode_id('hlt', made)}` lifts it")


@risk.command("halts")
def halts() -> None:
    """List the platform's halts that stand."""
    from app.kernel.ids import encode_id
    from app.trading.risk.service import platform_halts

    for one in run_with_app(lambda app: platform_halts(app.database.reference)):
        whom = one["algo_id"] or "everything"
        typer.echo(f"{encode_id('hlt', one['id'])} {one['halted_at']:%F %T} {one['mode']} {whom}: {one['reason']}")


@risk.command("resume")
def resume(halt_id: Annotated[str, typer.Argument(help="A halt's id, hlt_….")]) -> None:
    """Lift a halt."""
    from app.kernel.ids import decode_id
    from app.trading.orders.service import resume_everything

    with explained():
        wanted = decode_id("hlt", halt_id)
    run_with_app(lambda app: resume_everything(app.database, wanted, now=app.clock()))
    typer.echo("lifted")
