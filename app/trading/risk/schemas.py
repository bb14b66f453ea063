"""Risk limits as the API takes and shows them."""

from typing import Any

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.trading.risk.domain import AppliedLimit
from app.web.models import ApiModel

_LIMIT: JsonDict = {"limit": "100000.00"}


class SetRiskLimit(ApiModel):
    """The rule's parameters, all of them: what is left out takes the rule's default."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"parameters": _LIMIT}]})

    parameters: dict[str, Any] = Field(
        description="`limit` as money for max_daily_loss, max_order_value and max_position, as a count for "
        "max_open_orders; `limit_bps` for price_collar."
    )


class RiskLimitOut(ApiModel):
    """What a rule applies to the account. `source`: account, tenant or default."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"rule": "max_order_value", "parameters": _LIMIT, "source": "account"}]}
    )

    rule: str
    parameters: dict[str, Any]
    source: str = Field(description="Who set it: `account`, `tenant` or `default`.")

    @classmethod
    def of(cls, limit: AppliedLimit) -> "RiskLimitOut":
        return cls(rule=limit.rule, parameters=dict(limit.parameters), source=limit.source)


class RiskLimitList(ApiModel):
    """Every rule, in one page."""

    data: list[RiskLimitOut]
    has_more: bool = False
