"""The `mandi tenants` commands: the doors of the platform's operator. Decides their options and what they say; what
they do is `operating`.

Light: `mandi --help` loads it, so everything else is imported when a command runs.
"""

import getpass
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from app.local.overrides import check_reason, read_override, read_time
from app.local.secrets import run_with_app
from app.local.terminal import Json, show

if TYPE_CHECKING:
    from uuid import UUID

    from app.bootstrap import App
    from app.local.operating import Changed, Created, Operator

tenants = typer.Typer(no_args_is_help=True)

Operators = Annotated[
    str | None,
    typer.Option(
        "--operator", envvar="MANDI_OPERATOR", help="Who does it, for the record. Default: the system's user."
    ),
]
Named = Annotated[str, typer.Argument(metavar="TENANT", help="Its slug, or its id, ten_….")]
Reason = Annotated[str, typer.Option(callback=check_reason, help="Why. The tenant reads it in the event.")]
Done = TypeVar("Done")
_GONE = "its API keys, applications and their tokens have ended"


@tenants.callback()
def _group(context: typer.Context, operator: Operators = None) -> None:
    """The platform's tenants, for its operator: create, look, suspend, close, plans and payments.

    Events record every change with the operator's name; gateways obey it within five seconds, orders at once. Needs
    the settings of a gateway, and no owner of the database.
    """
    context.obj = operator


@tenants.command("create")
def create(
    context: typer.Context,
    slug: Annotated[str, typer.Argument(help="Its short name: a-z, 0-9 and inner hyphens, 40 at most.")],
    name: Annotated[str, typer.Option(help="Its name for people.")],
    parent: Annotated[str | None, typer.Option(help="The tenant above it, slug or id.")] = None,
    plan: Annotated[str | None, typer.Option(help="Its plan. Default: free.")] = None,
    owner_email: Annotated[str | None, typer.Option(help="Invite this person as its owner, by mail.")] = None,
    key: Annotated[bool, typer.Option("--key", help="Print a first API key instead: test mode, every scope.")] = False,
    as_json: Json = False,
) -> None:
    """Create a tenant, and let its owner in: by an invitation, or with a first API key that is shown once."""
    from app.local.operating import NewTenant

    if key == (owner_email is not None):
        raise typer.BadParameter("give one of the two: who owns the tenant?", param_hint="--owner-email / --key")
    asked = NewTenant(slug=slug, name=name, parent=parent, plan=plan, owner_email=owner_email)
    made = _run(context, lambda operator: operator.create(asked))
    if as_json:
        _print_created(made, owner_email)
        return
    typer.echo(f"created {made.tenant.slug} ({_id(made)}), plan {made.plan}")
    if made.api_key is None:
        typer.echo(f"{owner_email} is invited as its owner, for seven days; a running gateway sends the mail.")
        typer.echo(f"next: the owner follows the link; `mandi tenants show {made.tenant.slug}` tells when.")
        typer.echo(
            f"      No mail? `mandi tenants invite-owner {made.tenant.slug} {owner_email} --reason …` sends another."
        )
    else:
        typer.echo("its API key (test mode), shown this once and stored nowhere:")
        typer.echo(made.api_key)
        typer.echo("next: hand it over safely; calls send it as `Authorization: Bearer …`.")
        typer.echo(f"      Live mode takes an owner: `mandi tenants invite-owner {made.tenant.slug} EMAIL --reason …`.")


def _print_created(made: "Created", owner_email: str | None) -> None:
    facts = {
        "id": _id(made),
        "slug": made.tenant.slug,
        "name": made.tenant.name,
        "plan": made.plan,
        "invited": owner_email,
        "api_key": made.api_key,
    }
    typer.echo(json.dumps(facts))


@tenants.command("list")
def list_tenants(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest first.")] = 100,
    as_json: Json = False,
) -> None:
    """The newest tenants: state, plan, payments."""
    from app.local.operating import newest
    from app.local.tenant_views import tenants_view

    show(tenants_view(_read(lambda app: newest(app, limit))), as_json)


@tenants.command("show")
def show_tenant(tenant: Named, as_json: Json = False) -> None:
    """One tenant: state, members, plan with add-ons and overrides, usage, rates."""
    from app.local.operating import report
    from app.local.tenant_views import tenant_view

    show(tenant_view(_read(lambda app: report(app, tenant))), as_json)


@tenants.command("suspend")
def suspend(context: typer.Context, tenant: Named, reason: Reason) -> None:
    """Let a tenant only read, cancel orders and close positions, from now on."""
    from app.platform.tenancy.domain import TenantStatus

    done = _run(context, lambda operator: operator.set_status(tenant, TenantStatus.SUSPENDED, reason=reason))
    _say(done, "is suspended: it can read, cancel orders and close positions, nothing else")


@tenants.command("reactivate")
def reactivate(context: typer.Context, tenant: Named, reason: Reason) -> None:
    """Undo a suspension, or that a tenant closes; keys that ended with its closing stay ended."""
    from app.platform.tenancy.domain import TenantStatus

    done = _run(context, lambda operator: operator.set_status(tenant, TenantStatus.ACTIVE, reason=reason))
    _say(done, "is active")


@tenants.command("close")
def close(
    context: typer.Context,
    tenant: Named,
    reason: Reason,
    yes: Annotated[str | None, typer.Option(metavar="SLUG", help="Do not ask: the tenant's slug.")] = None,
) -> None:
    """Begin to close a tenant: its API keys and applications end for ever, and thirty days later it may be purged.

    Refused while it holds positions or working orders. `reactivate` takes it back until then, but for the keys.
    """
    from app.local.operating import find

    found = _read(lambda app: find(app, tenant))
    question = f"This ends all API keys and applications of {found.name} for ever. Type its slug to close it"
    typed = typer.prompt(question, err=True) if yes is None else yes
    if typed != found.slug:
        raise typer.BadParameter(
            f"{typed[:64]!r} is not its slug, {found.slug}; nothing was changed.", param_hint="--yes"
        )
    # by its id: nobody may put another tenant in the place of the one that was confirmed
    done = _run(context, lambda operator: operator.close(_public(found.id), reason=reason))
    until = "" if done.tenant.closes_at is None else f" It may be purged after {done.tenant.closes_at:%Y-%m-%d}."
    _say(done, f"is closing; {_GONE}.{until}")
    if not done.tokens_ended:
        typer.echo("mandi: Redis does not answer: access tokens given out before end within five minutes", err=True)


@tenants.command("plan")
def assign_plan(
    context: typer.Context, tenant: Named, plan: Annotated[str, typer.Argument(help="Its name.")], reason: Reason
) -> None:
    """Give a tenant the newest version of a plan; add-ons and overrides stay."""
    done = _run(context, lambda operator: operator.assign_plan(tenant, plan, reason=reason))
    _say(done, f"has the plan {plan}")


@tenants.command("add-on")
def set_add_on(
    context: typer.Context,
    tenant: Named,
    name: Annotated[str, typer.Argument(help="An add-on of its plan.")],
    units: Annotated[int, typer.Argument(min=0, max=1_000_000, help="How many; 0 takes it away.")],
    reason: Reason,
) -> None:
    """Give a tenant so many units of an add-on."""
    done = _run(context, lambda operator: operator.set_add_on(tenant, name, units, reason=reason))
    _say(done, f"has {units} of the add-on {name}")


@tenants.command("override")
def set_override(
    context: typer.Context,
    tenant: Named,
    key: Annotated[str, typer.Argument(help="What: features.<name>, limits.<name> or rates.<class>.")],
    reason: Reason,
    value: Annotated[
        str | None,
        typer.Argument(help="on, off; a number, unlimited; quota=…,window_s=…,per_credential=…."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="When it ends: a date, or a time with offset.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="End it: what the plan says holds again.")] = False,
) -> None:
    """Make an exception from what a tenant's plan says, or end one."""
    if clear == (value is not None):
        raise typer.BadParameter("give a value, or --clear without one.", param_hint="VALUE")
    if clear and until is not None:
        raise typer.BadParameter("--clear ends it now: leave --until away.", param_hint="--until")

    async def work(operator: "Operator") -> "Changed":
        override = None
        if value is not None:
            override = read_override(key, value, reason=reason, until=until, now=operator.now())
        return await operator.set_override(tenant, key, override, reason=reason)

    done = _run(context, work)
    _say(
        done,
        f"follows its plan in {key} again" if clear else f"has {key} = {value}{f' until {until}' if until else ''}",
    )


@tenants.command("payment")
def mark_payment(
    context: typer.Context,
    tenant: Named,
    state: Annotated[Literal["ok", "past-due"], typer.Argument(help="Nothing is owed, or a payment is missing.")],
    since: Annotated[str | None, typer.Option(help="past-due: since when. Default: now.")] = None,
) -> None:
    """Mark a tenant paid, or past due: grace as its plan says, then read only."""
    if state == "ok" and since is not None:
        raise typer.BadParameter("only goes with past-due.", param_hint="--since")
    given = None if since is None else read_time(since, "--since")

    async def work(operator: "Operator") -> "Changed":
        now = operator.now()
        if given is not None and given > now:
            raise typer.BadParameter("must not lie in the future.", param_hint="--since")
        return await operator.mark_payment(tenant, past_due_since=None if state == "ok" else given or now)

    done = _run(context, work)
    until = (
        "" if done.read_only_at is None else f"; read only from {done.read_only_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    )
    _say(done, "has paid" if state == "ok" else f"is past due{until}")


@tenants.command("invite-owner")
def invite_owner(
    context: typer.Context,
    tenant: Named,
    email: Annotated[str, typer.Argument(help="Of the person.")],
    reason: Reason,
) -> None:
    """Invite a person as owner, by mail, for seven days; an earlier invitation of the address ends."""
    done = _run(context, lambda operator: operator.invite_owner(tenant, email, reason=reason))
    _say(done, f"is offered to {email}; a running gateway sends the mail")


def _run(context: typer.Context, work: "Callable[[Operator], Awaitable[Done]]") -> Done:
    """`work` as the operator."""
    from app.local.operating import Operator

    name = operator_name(context.obj)
    return _read(lambda app: work(Operator(app, name)))


def _read(work: "Callable[[App], Awaitable[Done]]") -> Done:
    """`work`. What is wrong with the input ends with 2 and names the field; a refusal for the tenant's state with 1."""

    async def named(app: "App") -> Done:
        with _input_named():
            return await work(app)

    return run_with_app(named)


@contextmanager
def _input_named() -> Iterator[None]:
    from app.kernel.errors import DomainError

    try:
        yield
    except DomainError as error:
        if error.param is None:
            raise
        raise typer.BadParameter(error.message, param_hint=error.param) from None


def operator_name(given: str | None) -> str:
    """Whom events name."""
    try:
        name = (getpass.getuser() if given is None else given).strip()
    except (KeyError, OSError):  # a container's user without a name
        name = ""
    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise typer.BadParameter(
            "say who you are, in 1 to 64 printable characters (or set MANDI_OPERATOR).", param_hint="--operator"
        )
    return name


def _say(done: "Changed", now: str) -> None:
    """What holds for the tenant now. Gateways keep what they know of plans and keys for five seconds."""
    lead = "" if done.changed else "nothing changed: "
    typer.echo(f"{lead}{done.tenant.slug} ({_public(done.tenant.id)}) {now}")


def _id(made: "Created") -> str:
    return _public(made.tenant.id)


def _public(tenant_id: "UUID") -> str:
    from app.kernel.ids import encode_id

    return encode_id("ten", tenant_id)
