"""Strategies and deployments as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.kernel.ids import encode_id
from app.trading.strategies.tables import Deployment, Strategy
from app.web.models import ApiModel

_STRATEGY: JsonDict = {
    "name": "My momentum",
    "template": "momentum",
    "parameters": {"lookback_months": 12, "skip_months": 1},
}
_DEPLOYMENT: JsonDict = {
    "strategy_id": "str_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "account_id": "acc_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "instruments": ["ins_01kpx4t8yhe6rb2y6x3v1m9d0c"],
    "bar_interval": "1d",
}
_Id = Annotated[str, Field(max_length=64)]


class TemplateOut(ApiModel):
    """A strategy of the library: `parameters` is the JSON schema of what it takes."""

    name: str
    title: str
    reference: str
    instruments_least: int = Field(description="The fewest instruments it trades.")
    instruments_most: int | None = Field(description="The most; null: any number.")
    intraday: bool = Field(description="It needs bars within the day.")
    parameters: dict[str, Any] = Field(description="The JSON schema of what it takes.")

    @classmethod
    def of(cls, template: Any) -> "TemplateOut":
        return cls(
            name=template.name,
            title=template.title,
            reference=template.reference,
            instruments_least=template.least,
            instruments_most=template.most,
            intraday=template.intraday,
            parameters=template.parameters.model_json_schema(),
        )


class TemplateList(ApiModel):
    """The whole library, in one page."""

    data: list[TemplateOut]
    has_more: bool = False


class CreateStrategy(ApiModel):
    """A template of the library with parameters, or a program of your own: one of the two."""

    model_config = ConfigDict(json_schema_extra={"examples": [_STRATEGY]})

    name: Annotated[str, Field(min_length=1, max_length=80)]
    template: Annotated[str, Field(max_length=80)] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict, description="Of the template; its defaults otherwise.")
    program: dict[str, Any] | None = Field(default=None, description="A strategy program as JSON.")


class StrategyOut(ApiModel):
    """One definition. It never changes: a new version is a new strategy."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_STRATEGY,
                    "id": "str_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "program": {"version": 1},
                    "digest": "9f2c…",
                    "created_at": "2026-01-30T12:00:00Z",
                }
            ]
        }
    )

    id: str
    name: str
    template: str | None
    parameters: dict[str, Any]
    program: dict[str, Any]
    digest: str = Field(description="SHA-256 of the compiled program: equal digests compute the same.")
    created_at: datetime

    @classmethod
    def of(cls, row: Strategy) -> "StrategyOut":
        return cls(
            id=encode_id("str", row.id),
            name=row.name,
            template=row.template,
            parameters=row.parameters,
            program=row.document,
            digest=row.digest,
            created_at=row.created_at,
        )


class CreateDeployment(ApiModel):
    """What `POST /v1/deployments` takes."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DEPLOYMENT]})

    strategy_id: _Id
    account_id: _Id
    instruments: Annotated[list[_Id], Field(min_length=1, max_length=100)]
    bar_interval: Annotated[str, Field(pattern=r"^1d$", description="`1d`: the feed carries daily bars.")] = "1d"


class DeploymentOut(ApiModel):
    """A strategy that runs on an account."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_DEPLOYMENT,
                    "id": "dep_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "digest": "9f2c…",
                    "feed": "replay",
                    "status": "running",
                    "status_reason": None,
                    "first_bar": "2003-01-02T21:00:00Z",
                    "last_bar": "2003-06-03T20:00:00Z",
                    "created_at": "2026-01-30T12:00:00Z",
                }
            ]
        }
    )

    id: str
    strategy_id: str
    account_id: str
    instruments: list[str]
    bar_interval: str
    digest: str = Field(description="The program that runs, built for these instruments.")
    feed: str
    status: str = Field(description="`running`, `paused` or `stopped`.")
    status_reason: str | None = Field(description="Why it was paused, if it was not you.")
    first_bar: datetime = Field(description="Decides on bars that close after this.")
    last_bar: datetime = Field(description="The last bar it has decided on.")
    created_at: datetime

    @classmethod
    def of(cls, row: Deployment) -> "DeploymentOut":
        return cls(
            id=encode_id("dep", row.id),
            strategy_id=encode_id("str", row.strategy_id),
            account_id=encode_id("acc", row.account_id),
            instruments=[encode_id("ins", one) for one in row.instruments],
            bar_interval=row.bar_interval,
            digest=row.digest,
            feed=row.feed,
            status=row.status,
            status_reason=row.status_reason,
            first_bar=row.first_bar,
            last_bar=row.last_bar,
            created_at=row.created_at,
        )


class DeploymentPlanOut(ApiModel):
    """What a dry run of `POST /v1/deployments` answers: what would run, and from when on."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_DEPLOYMENT,
                    "dry_run": True,
                    "digest": "9f2c…",
                    "feed": "replay",
                    "first_bar": "2003-01-02T21:00:00Z",
                }
            ]
        }
    )

    dry_run: Literal[True] = Field(default=True, description="Nothing was written.")
    strategy_id: str = Field(description="The strategy.")
    account_id: str = Field(description="The account that it would trade.")
    instruments: list[str] = Field(description="What it would trade, repetitions removed.")
    bar_interval: str = Field(description="The bars it would decide on.")
    digest: str = Field(description="The program that would run, built for these instruments.")
    feed: str = Field(description="Where its bars would come from.")
    first_bar: datetime = Field(description="It would decide on bars that close after this.")

    @classmethod
    def of(cls, row: Deployment) -> "DeploymentPlanOut":
        return cls(
            strategy_id=encode_id("str", row.strategy_id),
            account_id=encode_id("acc", row.account_id),
            instruments=[encode_id("ins", one) for one in row.instruments],
            bar_interval=row.bar_interval,
            digest=row.digest,
            feed=row.feed,
            first_bar=row.first_bar,
        )
