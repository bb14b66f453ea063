"""Decides that an unknown query parameter is an error: a misspelt filter must not quietly answer with everything."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from fastapi.dependencies.models import Dependant
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from app.kernel.errors import invalid

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def takes_any_query(endpoint: Endpoint) -> Endpoint:
    """Marks a route whose standard says to ignore parameters that it does not know (RFC 6749 §3.1)."""
    endpoint.takes_any_query = True  # type: ignore[attr-defined]
    return endpoint


async def refuse_unknown_query(request: HTTPConnection) -> None:
    """An app-wide dependency. Raises `unknown_parameter` naming the parameter and those that the route takes."""
    endpoint = request.scope["route"].dependant.call
    if not request.query_params or getattr(endpoint, "takes_any_query", False):
        return
    known = sorted(set(_names(request.scope["route"].dependant)))
    for name in request.query_params:
        if name not in known:
            taken = f"Takes {', '.join(known)}." if known else "It takes none."
            raise invalid("unknown_parameter", f"{name[:64]!r} is not a parameter here. {taken}", param=name[:64])


def _names(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        model = field.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from (inner.alias or name for name, inner in model.model_fields.items())
        else:
            yield field.alias
    for inner in dependant.dependencies:
        yield from _names(inner)
