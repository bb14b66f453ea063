"""The order types that are installed, and what each alone takes."""

from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from app.kernel.errors import invalid
from app.kernel.plugins import discover
from app.trading.orders.domain import OrderKind


@lru_cache(maxsize=1)
def kinds() -> dict[str, OrderKind]:
    """Every order type, by name."""
    return discover("app.trading.orders.types")


def own_parameters(order_type: str, given: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a type alone takes, checked by its model; whether it takes any the decision says. Raises
    `invalid_parameters`."""
    kind = kinds().get(order_type)
    if given is None or kind is None or kind.Parameters is None:
        return given
    try:
        return kind.Parameters.model_validate(given).model_dump(mode="json", exclude_none=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(["parameters", *map(str, first["loc"])])
        raise invalid("invalid_parameters", f"{where}: {first['msg']}.", param=where) from None
