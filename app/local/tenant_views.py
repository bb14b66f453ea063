"""Decides what `mandi tenants list` and `show` tell: the same facts as JSON and as tables of at most 80 columns."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from app.kernel.costs import CostClass
from app.kernel.ids import encode_id
from app.kernel.times import format_time
from app.local.operating import Report
from app.platform.plans.domain import Override, RateTerms
from app.platform.plans.service import Snapshot
from app.platform.tenancy.service import ListedTenant

_NAME, _BESIDE = 4, 43  # characters: the least of a name; what is left of 80 for slug and name
_STYLES = {"active": "green", "suspended": "red", "closing": "yellow", "grace": "yellow", "read_only": "red"}


def tenants_view(found: Sequence[tuple[ListedTenant, Snapshot]]) -> tuple[list[dict[str, Any]], Table]:
    """The rows, and how they look. Where several have one slug the id stands for it: commands want it then."""
    rows = [
        _tenant(tenant) | {"plan": entitled.plan_code, "standing": entitled.standing.value}
        for tenant, entitled in found
    ]
    table = Table(
        title="tenants", title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for heading in ("tenant", "name", "status", "plan", "payments"):
        table.add_column(heading, no_wrap=True)
    slugs = Counter(row["slug"] for row in rows)
    named = [row["slug"] if slugs[row["slug"]] == 1 else row["id"] for row in rows]
    room = max(_NAME, _BESIDE - max(map(len, named), default=0))  # the name gives way: the rest is there to be copied
    for one, row in zip(named, rows, strict=True):
        name = _short(row["name"], room)
        table.add_row(Text(one), Text(name), _state(row["status"]), row["plan"], _state(row["standing"]))
    return rows, table


def tenant_view(report: Report) -> tuple[dict[str, Any], Group]:
    """Everything about one, and how it looks."""
    tenant, people, entitled = report.tenant, report.people, report.entitled
    counts = {name: getattr(people, name) for name in ("active", "suspended", "owners", "invited")}
    usage = [
        {"name": one.name.value, "period": one.period, "used": one.used, "limit": one.limit,
         "resets_at": _time(one.resets_at)}
        for one in report.usage
    ]  # fmt: skip
    facts = _tenant(tenant) | {
        "members": counts,
        "plan": entitled.plan_code,
        "plan_version": entitled.plan_version,
        "standing": entitled.standing.value,
        "past_due_since": _time(entitled.past_due_since),
        "read_only_at": _time(entitled.read_only_at),
        "features": sorted(entitled.effective.features),
        "rates": {name.value: rate.model_dump() for name, rate in entitled.effective.rates.items()},
        "add_ons": dict(entitled.add_ons),
        "overrides": {key: one.model_dump(mode="json") for key, one in entitled.overrides.items()},
        "usage": usage,
    }
    return facts, Group(_grid(report), _usage(report), _rates(entitled))


def _short(name: str, room: int) -> str:
    return name if len(name) <= room else f"{name[: room - 1]}…"


def _tenant(tenant: ListedTenant) -> dict[str, Any]:
    return {
        "id": encode_id("ten", tenant.id),
        "slug": tenant.slug,
        "name": tenant.name,
        "status": tenant.status,
        "parent_id": None if tenant.parent_id is None else encode_id("ten", tenant.parent_id),
        "created_at": format_time(tenant.created_at),
        "closes_at": _time(tenant.closes_at),
    }


def _grid(report: Report) -> Table:
    tenant, people, entitled = report.tenant, report.people, report.entitled
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    status = _state(tenant.status)
    if tenant.closes_at is not None:
        status.append(f", may be purged after {_minute(tenant.closes_at)}", style="")
    grid.add_row("tenant", Text(tenant.slug, style="bold"))
    grid.add_row("name", Text(tenant.name))
    grid.add_row("id", encode_id("ten", tenant.id))
    grid.add_row("status", status)
    if report.parent is not None:
        grid.add_row("below", Text(f"{report.parent.slug} ({encode_id('ten', report.parent.id)})"))
    grid.add_row("created", _minute(tenant.created_at))
    grid.add_row(
        "members",
        f"{people.active} active ({people.owners} owner{'' if people.owners == 1 else 's'}), "
        f"{people.suspended} suspended, {people.invited} invited",
    )
    grid.add_row("plan", f"{entitled.plan_code}, version {entitled.plan_version}")
    payments = _state(entitled.standing.value)
    if entitled.past_due_since is not None and entitled.read_only_at is not None:
        since, until = _minute(entitled.past_due_since), _minute(entitled.read_only_at)
        payments.append(f", past due since {since}, read only from {until}", style="")
    grid.add_row("payments", payments)
    grid.add_row("features", ", ".join(sorted(entitled.effective.features)) or "none")
    grid.add_row("add-ons", ", ".join(f"{name} × {units}" for name, units in entitled.add_ons.items()) or "none")
    overrides = [_override(key, one, entitled.at) for key, one in sorted(entitled.overrides.items())]
    grid.add_row("overrides", Text("\n".join(overrides) or "none"))
    return grid


def _override(key: str, override: Override, at: datetime) -> str:
    value = override.value
    if isinstance(value, RateTerms):
        shown = f"{value.quota:,} in {value.window_s} s, {value.per_credential:,} a key"
    elif isinstance(value, bool):
        shown = "on" if value else "off"
    else:
        shown = _count(value)
    until = ""
    if override.expires_at is not None:
        over = override.expires_at <= at
        until = f" {'(ended)' if over else 'until'} {_minute(override.expires_at)}"
    return f"{key}: {shown}{until}; {override.reason}"


def _usage(report: Report) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("usage", no_wrap=True)
    for heading in ("used", "limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("counted", no_wrap=True)
    for one in report.usage:
        table.add_row(one.name.value, _count(one.used), _count(one.limit), one.period)
    return table


def _rates(entitled: Snapshot) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("rate", no_wrap=True)
    for heading in ("calls", "in seconds", "of one key"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in CostClass:
        rate = entitled.effective.rates[name]
        table.add_row(name.value, _count(rate.quota), str(rate.window_s), _count(rate.per_credential))
    return table


def _state(word: str) -> Text:
    return Text(word.replace("_", " "), style=_STYLES.get(word, ""))


def _count(number: int | None) -> str:
    return "unlimited" if number is None else f"{number:,}"


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _time(at: datetime | None) -> str | None:
    return None if at is None else format_time(at.astimezone(UTC))
