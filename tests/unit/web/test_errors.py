"""Errors: every kind has a status, details carry remedies, nothing of the inside or of the input gets out."""

import json

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from app.kernel.errors import DomainError, Kind
from app.web.errors import STATUS, describe, install_errors, problem, unexpected
from app.web.models import ApiModel, DecimalString, Flag, PositiveDecimal, WholeNumber


class Body(ApiModel):
    """One field of each strict type."""

    price: DecimalString = "1"
    quantity: PositiveDecimal = "1"
    count: WholeNumber = 1
    flag: Flag = False


def test_every_kind_has_a_status() -> None:
    assert STATUS.keys() == set(Kind)


@pytest.mark.parametrize("text", ["1", "0", "-1.5", "12.50", "0.000000000000000001", "9" * 19])
def test_a_plain_decimal_string_is_a_number(text: str) -> None:
    assert Body(price=text).price == text


@pytest.mark.parametrize(
    "value",
    [
        1,
        1.5,
        True,
        None,
        "",
        " 1",
        "1 ",
        "+1",
        "01",
        "1.",
        ".5",
        "1e5",
        "NaN",
        "Infinity",
        "1_000",
        "1,5",
        "٣",
        "9" * 20,
    ],
)
def test_anything_else_is_not(value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        Body.model_validate({"price": value})
    assert "'12.50'" in describe(refused.value.errors())[0].message or value is None


@pytest.mark.parametrize("value", ["0", "-1", "0.00", "-0"])
def test_a_positive_decimal_is_above_zero(value: str) -> None:
    with pytest.raises(ValidationError):
        Body.model_validate({"quantity": value})


@pytest.mark.parametrize("body", [{"count": "5"}, {"count": 5.0}, {"count": True}, {"flag": "true"}, {"flag": 1}])
def test_numbers_and_flags_are_not_guessed_from_other_types(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Body.model_validate(body)


def test_an_unknown_field_is_an_error_that_names_it_and_not_its_value() -> None:
    with pytest.raises(ValidationError) as refused:
        Body.model_validate({"prise": "canary"})
    found = describe([{**refused.value.errors()[0], "loc": ("body", "prise")}])
    assert (found[0].param, found[0].code) == ("prise", "extra_forbidden")
    assert "canary" not in found[0].message


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("canary"), 500),
        (asyncpg.UniqueViolationError("canary"), 500),
        (asyncpg.DeadlockDetectedError("canary"), 503),
        (asyncpg.AdminShutdownError("canary"), 503),
        (asyncpg.TooManyConnectionsError("canary"), 503),
        (ConnectionRefusedError("canary"), 503),
        (DBAPIError("select 1", None, asyncpg.ConnectionDoesNotExistError("canary")), 503),
        (DBAPIError("select 1", None, asyncpg.UniqueViolationError("canary")), 500),
    ],
)
def test_the_unexpected_is_503_when_trying_again_may_help_and_says_nothing_of_the_inside(
    error: Exception, status: int
) -> None:
    answer = unexpected(error, "req_1")
    assert answer.status_code == status
    assert b"canary" not in bytes(answer.body)
    assert json.loads(bytes(answer.body))["retryable"] is (status == 503)


def test_a_problem_has_every_member_of_the_format() -> None:
    body = json.loads(bytes(problem(409, "some_code", "Do this.", request_id="req_1").body))
    assert body == {
        "type": "/errors#some_code",
        "title": "Conflict",
        "status": 409,
        "detail": "Do this.",
        "code": "some_code",
        "param": None,
        "errors": [],
        "request_id": "req_1",
        "retryable": False,
    }


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", Kind)
async def test_a_domain_error_becomes_its_kinds_status(kind: Kind) -> None:
    app = FastAPI()
    install_errors(app)

    @app.get("/")
    async def fail() -> None:
        raise DomainError("some_code", kind, "Do this.", param="field")

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x") as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (STATUS[kind], "some_code", "field")
    assert ("WWW-Authenticate" in answer.headers) is (kind is Kind.UNAUTHENTICATED)
