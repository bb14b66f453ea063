"""Decides how limits of several levels become one: each may only tighten what is above it, and the tightest holds.

The levels are, from the outside in, platform, tenant, client, account, deployment. A rule's own defaults hold where no
level says anything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ValidationError

from app.trading.risk.domain.rule import Rule

Sets = Sequence[tuple[str, Mapping[str, Any]]]
"""What the levels say of one rule: (level, parameters), the outermost first."""


class Tighter(StrEnum):
    """How two values of one parameter become the tighter one. None says nothing: it is the loosest of all."""

    LOWER = "lower"
    HIGHER = "higher"
    ALL = "all"
    """What either list names."""
    COMMON = "common"
    """What both lists name."""


def _number(value: Any) -> Any:
    return Decimal(value) if isinstance(value, str) else value


def _lower(outer: Any, inner: Any) -> Any:
    return inner if _number(inner) < _number(outer) else outer


def _higher(outer: Any, inner: Any) -> Any:
    return inner if _number(inner) > _number(outer) else outer


def _all(outer: Any, inner: Any) -> Any:
    return tuple(sorted({*outer, *inner}))


def _common(outer: Any, inner: Any) -> Any:
    return tuple(sorted({*outer} & {*inner}))


_COMBINE: dict[Tighter, Callable[[Any, Any], Any]] = {
    Tighter.LOWER: _lower,
    Tighter.HIGHER: _higher,
    Tighter.ALL: _all,
    Tighter.COMMON: _common,
}


def _tightest(how: Tighter, outer: Any, inner: Any) -> Any:
    if outer is None or inner is None:
        return inner if outer is None else outer
    return _COMBINE[how](outer, inner)


def tightest(rule: Rule, outer: BaseModel, inner: BaseModel) -> BaseModel:
    """What both parameter sets of `rule` allow."""
    return outer.model_copy(
        update={
            name: _tightest(Tighter(how), getattr(outer, name), getattr(inner, name))
            for name, how in rule.tighter.items()
        }
    )


def same(one: BaseModel, other: BaseModel) -> bool:
    """Whether two parameter sets allow the same, however it is written: "100" is "100.00"."""
    return all(_same(getattr(one, name), getattr(other, name)) for name in type(one).model_fields)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return set(one) == set(other)
    if isinstance(one, str) and isinstance(other, str):
        return bool(_number(one) == _number(other))
    return bool(one == other)


@dataclass(frozen=True, slots=True)
class Loosened:
    """A parameter that a level wants looser than what holds above it."""

    parameter: str
    asked: Any
    parent: Any


def loosened(rule: Rule, parent: BaseModel, child: BaseModel) -> Loosened | None:
    """The first parameter that `child` states and that is looser than `parent`; what it leaves out stays the parent's.

    A list that adds to the parent's is never looser: both hold.
    """
    for name, how in rule.tighter.items():
        asked, above = getattr(child, name), getattr(parent, name)
        if name not in child.model_fields_set or above is None or how == Tighter.ALL:
            continue
        if asked is None or not _same(_tightest(Tighter(how), above, asked), asked):
            return Loosened(name, asked, above)
    return None


@dataclass(frozen=True, slots=True)
class AppliedLimit:
    """What a rule applies, and which level gives it: of several, the innermost that tightened something; `default`
    where none says anything. `own` is what the level that was asked about has set itself. `parameters` None: a level
    has stored what the rule cannot read, so that nothing new is risked."""

    rule: str
    parameters: BaseModel | None
    source: str
    own: Mapping[str, Any] | None = None


def applied(rule: Rule, sets: Sets, *, level: str | None = None) -> AppliedLimit:
    """What `rule` applies where the levels say `sets`. `level`: the one that is asked about."""
    own = next((parameters for name, parameters in sets if name == level), None)
    if not rule.tighter:
        return AppliedLimit(rule.name, rule.Parameters(), "default", own)  # nobody can say anything about it
    held, source = None, "default"
    for name, stored in sets:
        try:
            stated = rule.Parameters.model_validate(stored)
        except ValidationError:
            return AppliedLimit(rule.name, None, name, own)
        combined = stated if held is None else tightest(rule, held, stated)
        if held is None or not same(combined, held):
            held, source = combined, name
    return AppliedLimit(rule.name, rule.Parameters() if held is None else held, source, own)
