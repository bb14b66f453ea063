"""Decides what a request answers that stands for several: one result for each, so that one refusal stops no other."""

from typing import Any, Generic, TypeVar

from fastapi import Request
from pydantic import Field

from app.kernel.errors import DomainError
from app.web.errors import Problem, domain_problem
from app.web.models import ApiModel

MAX_BULK = 20
Shown = TypeVar("Shown", bound=ApiModel)


class BulkResult(ApiModel, Generic[Shown]):
    """What became of one of them: what a request of its own would have answered."""

    index: int = Field(description="Its place in the request, from 0.")
    status: int = Field(description="The HTTP status that a request of its own would have had.")
    result: Shown | None = Field(description="What was made or changed; null where there is an error.")
    error: Problem | None = Field(description="Why there is no result; null where there is one.")


class Bulk(ApiModel, Generic[Shown]):
    """One result for each, in the order of the request."""

    data: list[BulkResult[Shown]] = Field(description="The results.")
    has_more: bool = Field(default=False, description="Always false: all of them are here.")


def refused(request: Request, index: int, error: DomainError) -> BulkResult[Any]:
    """The result of one that was refused."""
    said = Problem.model_validate_json(bytes(domain_problem(request, error).body))
    return BulkResult(index=index, status=said.status, result=None, error=said)
