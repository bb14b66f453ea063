"""Decides what a request body may be: the fields it documents and no others, numbers as exact decimal strings."""

import re
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, StrictBool, StrictInt, WithJsonSchema
from pydantic_core import PydanticCustomError

_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?", re.ASCII)
_SCHEMA = {"type": "string", "pattern": r"^-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?$", "examples": ["12.50"]}


class ApiModel(BaseModel):
    """Base of every request and response schema. An unknown field is an error: a typo must not pass silently."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _decimal(value: Any) -> str:
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return value
    raise PydanticCustomError("decimal_string", "must be a decimal string such as '12.50', in quotes, without exponent")


def _positive(value: Any) -> str:
    text = _decimal(value)
    if text.startswith("-") or not text.strip("0."):
        raise PydanticCustomError("positive_decimal", "must be greater than zero, such as '12.50'")
    return text


def _date(value: Any) -> date:
    """Pydantic alone would take 20030101 for seconds since 1970."""
    if isinstance(value, str) and len(value) == 10:
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise PydanticCustomError("date", "must be a date such as '2003-01-31'")


DecimalString = Annotated[str, BeforeValidator(_decimal), WithJsonSchema(_SCHEMA)]
"""An exact number as text; `kernel.money.parse_scaled` turns it into an integer. JSON numbers are refused."""

PositiveDecimal = Annotated[str, BeforeValidator(_positive), WithJsonSchema(_SCHEMA)]
"""A `DecimalString` above zero."""

Day = Annotated[date, BeforeValidator(_date)]
"""A date as text, `"2003-01-31"`; a number is refused."""

WholeNumber = StrictInt
"""A JSON integer; `"5"`, `5.0` and `true` are refused."""

Flag = StrictBool
"""A JSON boolean; `"true"` and `1` are refused."""
