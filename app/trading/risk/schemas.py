"""Risk limits and halts as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.kernel.ids import decode_id, encode_id
from app.trading.risk.domain import AppliedLimit, Halt, HaltMode, Target
from app.web.models import ApiModel

_Id = Annotated[str, Field(max_length=64)]
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


_HALT: JsonDict = {"account_id": "acc_01kpx4t8yhe6rb2y6x3v1m9d0c", "mode": "halt", "reason": "Prices look wrong."}


class CreateHalt(ApiModel):
    """What `POST /v1/halts` takes: one of the ids, or none to halt all of the tenant's accounts."""

    model_config = ConfigDict(json_schema_extra={"examples": [_HALT]})

    account_id: _Id | None = Field(default=None, description="Halt this account.")
    deployment_id: _Id | None = Field(default=None, description="Halt this deployment.")
    algo_id: _Id | None = Field(default=None, description="Halt the orders that carry this algo id.")
    mode: HaltMode = Field(
        default=HaltMode.HALT,
        description="Both stop new risk and let exits and cancels pass; `halt` also cancels the entries that work "
        "already, `reduce_only` leaves them.",
    )
    reason: Annotated[str, Field(min_length=1, max_length=500, description="Why.")]

    def target(self) -> Target:
        """Raises `invalid_id`, `several_targets`, `invalid_algo_id`."""
        account, deployment = self.account_id, self.deployment_id
        return Target(
            None if account is None else decode_id("acc", account, param="account_id"),
            None if deployment is None else decode_id("dep", deployment, param="deployment_id"),
            self.algo_id,
        )


class HaltOut(ApiModel):
    """A halt: who stopped what, why, and who let it go on."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "hlt_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "level": "account",
                    **_HALT,
                    "deployment_id": None,
                    "algo_id": None,
                    "account_mode": "test",
                    "halted_by": None,
                    "halted_at": "2026-01-30T12:00:00Z",
                    "resumed_by": None,
                    "resumed_at": None,
                }
            ]
        }
    )

    id: str
    level: str = Field(description="`tenant`, `account`, `deployment` or `algo`.")
    account_id: str | None
    deployment_id: str | None
    algo_id: str | None = Field(description="The algorithm whose orders are halted.")
    account_mode: str | None = Field(description="Only accounts of this mode are halted; null: of both.")
    mode: HaltMode
    reason: str = Field(description="Why.")
    halted_by: str | None = Field(description="The person who answers for the credential that did it.")
    halted_at: datetime = Field(description="From when on nothing new leaves.")
    resumed_by: str | None = Field(description="The person who lifted it.")
    resumed_at: datetime | None = Field(description="Null while it stands.")

    @classmethod
    def of(cls, halt: Halt) -> "HaltOut":
        target = halt.target
        return cls(
            id=encode_id("hlt", halt.id),
            level=target.level,
            account_id=encode_id("acc", target.account_id) if target.account_id else None,
            deployment_id=encode_id("dep", target.deployment_id) if target.deployment_id else None,
            algo_id=target.algo_id,
            account_mode=halt.account_mode,
            mode=halt.mode,
            reason=halt.reason,
            halted_by=encode_id("usr", halt.halted_by) if halt.halted_by else None,
            halted_at=halt.halted_at,
            resumed_by=encode_id("usr", halt.resumed_by) if halt.resumed_by else None,
            resumed_at=halt.resumed_at,
        )
