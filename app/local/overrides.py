"""Decides how the operator writes an override's value, a time and a reason on the command line."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from app.platform.plans.domain import Override

_SWITCH = {"on": True, "true": True, "off": False, "false": False}
_TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d))?", re.ASCII)
_RATE = ("quota", "window_s", "per_credential")


def read_override(key: str, text: str, *, reason: str, until: str | None, now: datetime) -> "Override":
    """The exception that is written so. Raises `typer.BadParameter`."""
    from pydantic import ValidationError

    from app.platform.plans.domain import Override, RateTerms

    ends = None if until is None else read_time(until, "--until")
    if ends is not None and ends <= now:
        raise typer.BadParameter("must lie in the future: the override would never hold.", param_hint="--until")
    value = read_value(key, text)
    try:
        made = RateTerms.model_validate(value) if isinstance(value, dict) else value
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = " ".join(str(part) for part in first["loc"])
        said = f"{where} {first['msg'].removeprefix('Value error, ')}".strip()
        raise typer.BadParameter(f"{key}: {said}.", param_hint="VALUE") from None
    return Override(value=made, reason=reason, expires_at=ends)


def read_value(key: str, text: str) -> Any:
    """The value that an override of `key` takes: on or off for `features.…`, a number or `unlimited` for `limits.…`,
    `quota=…,window_s=…,per_credential=…` for `rates.…`. Raises `typer.BadParameter`."""
    kind, _, name = key.partition(".")
    known = _known(kind)
    if name not in known:
        hint = ", ".join(f"{kind}.{one}" for one in known) or "features.<name>, limits.<name>, rates.<class>"
        raise typer.BadParameter(f"{key[:64]!r} cannot be overridden; what can: {hint}.", param_hint="KEY")
    if kind == "features":
        if text.lower() not in _SWITCH:
            raise typer.BadParameter(f"{key} takes on or off, not {text[:64]!r}.", param_hint="VALUE")
        return _SWITCH[text.lower()]
    if kind == "limits":
        return None if text.lower() == "unlimited" else _number(text, f"{key} takes a number or `unlimited`")
    takes = f"{key} takes {','.join(f'{one}=…' for one in _RATE)}"
    pairs = [pair.partition("=") for pair in text.split(",")]
    if sorted(name for name, _, _ in pairs) != sorted(_RATE):
        raise typer.BadParameter(f"{takes}, not {text[:64]!r}.", param_hint="VALUE")
    return {name: _number(number, takes) for name, _, number in pairs}


def _known(kind: str) -> list[str]:
    from app.kernel.costs import CostClass
    from app.platform.plans.domain import FEATURES, QuotaName

    return {"features": list(FEATURES), "limits": [*QuotaName], "rates": [*CostClass]}.get(kind, [])


def _number(text: str, takes: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise typer.BadParameter(f"{takes}, not {text[:64]!r}.", param_hint="VALUE")
    return int(text)


def read_time(text: str, option: str) -> datetime:
    """A date (its beginning, UTC) or a time with its offset. Raises `typer.BadParameter`."""
    found = None
    if _TIME.fullmatch(text):
        with suppress(ValueError):
            found = datetime.fromisoformat(text if "T" in text else f"{text}T00:00Z")
    if found is None:
        raise typer.BadParameter(
            f"{text[:64]!r} is no time; write 2026-12-31 (its beginning, UTC) or 2026-12-31T18:30:00+05:30.",
            param_hint=option,
        )
    return found.astimezone(UTC)


def check_reason(text: str) -> str:
    """`text` trimmed. The tenant reads it in the event. Raises `typer.BadParameter`."""
    trimmed = text.strip()
    if not 1 <= len(trimmed) <= 500 or not trimmed.isprintable():
        raise typer.BadParameter("say why in 1 to 500 printable characters on one line; the tenant reads it.")
    return trimmed
