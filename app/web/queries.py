"""Decides that an unknown query parameter is an error: a misspelt filter must not quietly answer with everything.

So is one that is sent twice, of which another reader might take the other (unless it is a list), and one that no text
column can hold.
"""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from fastapi.dependencies.models import Dependant
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from app.kernel.errors import invalid


def refuse_unknown_query(request: HTTPConnection) -> None:
    """For every route of the API. Raises `unknown_parameter` naming the parameter and those that the route takes,
    `repeated_parameter`, `invalid_character`."""
    if not request.scope["query_string"]:
        return
    many = dict(_taken(request.scope["route"].dependant))
    known = sorted(many)
    sent = request.query_params.multi_items()
    for name, value in sent:
        if name not in known:
            taken = f"Takes {', '.join(known)}." if known else "It takes none."
            raise invalid("unknown_parameter", f"{name[:64]!r} is not a parameter here. {taken}", param=name[:64])
        if not many[name] and sum(other == name for other, _ in sent) > 1:
            raise invalid("repeated_parameter", f"{name!r} is sent more than once; send it once.", param=name)
        if "\x00" in value or "\ufffd" in value:  # U+FFFD: what is no UTF-8 was replaced by it
            raise invalid("invalid_character", f"{name!r} holds what is no UTF-8, or U+0000.", param=name)


def _taken(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """Each parameter's name, and whether it may be given again for more values."""
    for field in dependant.query_params:
        model = field.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from ((inner.alias or name, _is_list(inner.annotation)) for name, inner in model.model_fields.items())
        else:
            yield field.alias, _is_list(model)
    for inner in dependant.dependencies:
        yield from _taken(inner)


def _is_list(annotation: Any) -> bool:
    return any(get_origin(one) is list for one in (annotation, *get_args(annotation)))
