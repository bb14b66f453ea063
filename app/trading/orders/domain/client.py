"""Decides which limits of a client hold over all of its accounts together, and what they say of an order of one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.trading.risk.domain import Exposure, Finding, Limits, Rule, evaluate

CLIENT_WIDE = ("max_daily_loss", "max_open_orders", "max_position")
"""Rules about what there is. Those about one order alone hold for each order; the others, for each account."""

_ALL = " Counted over all accounts of the client."


@dataclass(frozen=True, slots=True)
class ClientState:
    """All accounts of the order's mode and currency together, at one `version`. `limits`: what the client's level says
    of the rules that hold over all. `key` names the state for whoever writes on it."""

    key: Mapping[str, object]
    position_quantity: int
    open_buy: int
    open_sell: int
    open_orders: int
    equity: int
    opening_equity: int
    limits: Limits


def counted_together(
    findings: list[Finding], exposure: Exposure, client: ClientState, rules: Mapping[str, Rule]
) -> list[Finding]:
    """`findings` of the account; where one passes that the client's accounts together would not, it denies."""
    together = replace(
        exposure,
        position_quantity=client.position_quantity,
        open_buy=client.open_buy,
        open_sell=client.open_sell,
        open_orders=client.open_orders,
        equity_minor=client.equity,
        opening_equity_minor=client.opening_equity,
    )
    wide = {name: rules[name] for name in client.limits if name in rules}
    denied = {
        one.rule: replace(one, message=one.message + _ALL)
        for one in evaluate(together, client.limits, wide)
        if one.verdict == "deny"
    }
    return [denied.get(one.rule, one) if one.verdict == "pass" else one for one in findings]
