"""Risk limits as the API takes and shows them."""

from typing import Any

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.trading.risk.domain import AppliedLimit
from app.web.models import ApiModel

_LIMIT: JsonDict = {"limit": "100000.00"}


class SetRiskLimit(ApiModel):
    """The rule's parameters. What is left out takes the rule's default, or the parent's where that is tighter."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"parameters": _LIMIT}]})

    parameters: dict[str, Any] = Field(
        description="`limit` as money for `max_daily_loss`, `max_order_value`, `max_position` and `profit_lock`, in "
        "units for `max_quantity`, as a count for `max_open_orders` and (with `after`) `order_to_trade`; `limit_bps` "
        "for `price_collar`, `max_concentration`, `max_drawdown` and `max_leverage` (10000: once the equity); "
        "`limit_s` for `stale_price`; `within_s` for `duplicate_order`; `per_second` and `per_day` for `order_rate`; "
        "`instruments` for `restricted_list`; `products` and `segments` for `permissions`; `open_only` for "
        "`market_hours`; `prevent` for `self_trade`. `price_band` and `short_sale` take none."
    )


class RiskLimitOut(ApiModel):
    """What a rule applies, and who says so."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"rule": "max_order_value", "parameters": _LIMIT, "source": "account", "own": _LIMIT}]
        }
    )

    rule: str = Field(description="The rule's name.")
    parameters: dict[str, Any] | None = Field(
        description="The tightest of all levels. Null: a level's limit cannot be read, and nothing new is risked."
    )
    source: str = Field(
        description="The level that gives it: `platform`, `tenant`, `client`, `account` or `deployment`; the innermost "
        "that tightened something. `default`: no level says anything."
    )
    own: dict[str, Any] | None = Field(description="What was set here; null where nothing was.")

    @classmethod
    def of(cls, limit: AppliedLimit) -> "RiskLimitOut":
        held = limit.parameters
        return cls(
            rule=limit.rule,
            parameters=None if held is None else held.model_dump(mode="json"),
            source=limit.source,
            own=None if limit.own is None else dict(limit.own),
        )


class RiskLimitList(ApiModel):
    """Every rule, in one page."""

    data: list[RiskLimitOut]
    has_more: bool = False
