"""Decides how a route's dependencies are solved: laid out in one list when the route is made, then only called.

FastAPI walks the tree of dependencies with every request, and looks at each of them anew (is it a coroutine? a
generator? which scopes has it?): a third of the CPU of a small request. What this cannot lay out is left to FastAPI:
forms, streams, functions that run in threads, generators that outlive the handler, and requests that a tracer watches.
"""

import inspect
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import NoneType
from typing import Any, NamedTuple

from fastapi import Request, Response, params
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import (
    _get_param_aliases,
    get_typed_return_annotation,
    request_body_to_args,
    request_params_to_args,
)
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, serialize_response
from pydantic_core import PydanticUndefined
from starlette.types import Scope

from app.web.context import sent_headers

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Plan(NamedTuple):
    """What serves a route's requests once they are matched. `opens`: something waits on `OPENED` for their end."""

    handle: Handler
    opens: bool


_ELSEWHERE = (
    "websocket_param_name",
    "background_tasks_param_name",
    "security_scopes_param_name",
    "own_oauth_scopes",
    "concurrency",
)
"""What a dependency may ask of FastAPI that is not laid out here."""

OPENED = "mandi.opened"
"""In the scope of a planned request: the stack on which its generators wait for the handler's end."""

_SOURCES: Mapping[str, Callable[[Request], Any]] = {
    "path_params": lambda request: request.path_params,
    "query_params": lambda request: request.query_params,
    "header_params": lambda request: request.headers,
    "cookie_params": lambda request: request.cookies,
}
_CONSTANT = (str, int, float, bool, NoneType)


@dataclass(frozen=True, slots=True)
class _Fields:
    """Parameters of one source. `unsent`: their values when the request has none of `names` there; None when they have
    to be looked at all the same."""

    fields: Sequence[Any]
    source: str
    names: frozenset[bytes]
    unsent: dict[str, Any] | None

    def values(self, request: Request) -> tuple[dict[str, Any], list[Any]]:
        """What a step is called with, and what is wrong. (FastAPI inspects every parameter's type anew.)"""
        if self.unsent is not None and not self._sent(request.scope):
            return self.unsent, []
        return request_params_to_args(self.fields, _SOURCES[self.source](request))

    def _sent(self, scope: Scope) -> bool:
        if self.source == "query_params":
            return bool(scope["query_string"])
        return not self.names.isdisjoint(sent_headers(scope))


@dataclass(frozen=True, slots=True)
class _Step:
    """One call. `results`: its arguments that are results of earlier steps. `opens`: it is a generator, which ends when
    the handler has."""

    call: Callable[..., Any]
    results: tuple[tuple[str, int], ...]
    fields: tuple[_Fields, ...]
    request: tuple[str, ...]
    response: str | None
    opens: bool


def planned(route: APIRoute) -> Plan | None:
    """How the route's requests are served; None when it must be FastAPI's own handler."""
    steps: list[_Step] = []
    if not _is_plain(route) or _lay_out(route.dependant, steps, {}) is None:
        return None
    *dependencies, endpoint = steps
    body_fields = route.dependant.body_params
    answers = any(step.response is not None for step in steps)

    async def handle(request: Request) -> Response:
        body = await _body(request) if body_fields else PydanticUndefined
        response = Response() if answers else None
        if response is not None:
            del response.headers["content-length"]
            response.status_code = 0
        results: list[Any] = []
        errors: list[Any] = []
        failed: set[int] = set()
        for place, step in enumerate(dependencies):
            values = _arguments(step, request, response, results, errors, failed)
            if values is None:
                failed.add(place)
                results.append(None)
            elif step.opens:
                opened: AsyncExitStack = request.scope[OPENED]
                results.append(await opened.enter_async_context(step.call(**values)))
            else:
                results.append(await step.call(**values))
        values = _arguments(endpoint, request, response, results, errors, failed) or {}
        if body_fields:
            found, wrong = await request_body_to_args(
                body_fields=body_fields, received_body=body, embed_body_fields=route._embed_body_fields
            )
            values |= found
            errors += wrong
        if errors:
            raise RequestValidationError(errors, body=None if body is PydanticUndefined else body)
        return await _answer(route, await endpoint.call(**values), response)

    return Plan(handle, any(step.opens for step in steps))


def _is_plain(route: APIRoute) -> bool:
    form = route.body_field is not None and isinstance(route.body_field.field_info, params.Form | params.File)
    returns = get_typed_return_annotation(route.endpoint)
    whole = inspect.isclass(returns) and issubclass(returns, Response)
    return (
        (route.response_field is not None or whole)
        and isinstance(route.response_class, DefaultPlaceholder)
        and inspect.iscoroutinefunction(route.endpoint)
        and not form
    )


def _lay_out(dependant: Dependant, steps: list[_Step], known: dict[Callable[..., Any], int]) -> int | None:
    """Append `dependant`'s step behind those it needs, each call once. Its place; None when it cannot be laid out."""
    call = dependant.call
    if call is None or any(getattr(dependant, name) for name in _ELSEWHERE):
        return None
    results = []
    for inner in dependant.dependencies:
        place = known.get(inner.call) if inner.call is not None and inner.use_cache else None
        if place is None and not inner.body_params:
            place = _lay_out(inner, steps, known)
        if place is None:
            return None
        if inner.name is not None:
            results.append((inner.name, place))
    opens = inspect.isasyncgenfunction(call)
    if opens:
        if dependant.scope != "function":
            return None
        call = asynccontextmanager(call)
    elif inspect.isclass(call):
        call = _maker(call)
    elif not (inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__)):
        return None
    fields = tuple(_fields(name, found) for name in _SOURCES if (found := getattr(dependant, name)))
    request = tuple(filter(None, (dependant.request_param_name, dependant.http_connection_param_name)))
    steps.append(_Step(call, tuple(results), fields, request, dependant.response_param_name, opens))
    known[dependant.call] = len(steps) - 1  # type: ignore[index]
    return len(steps) - 1


def _fields(source: str, found: Sequence[Any]) -> _Fields:
    unsent, wrong = request_params_to_args(found, {})
    elsewhere = source not in ("query_params", "header_params")
    made = any(field.field_info.default_factory is not None for field in found)
    if elsewhere or made or wrong or not all(isinstance(value, _CONSTANT) for value in unsent.values()):
        return _Fields(found, source, frozenset(), None)
    names = frozenset(name.lower().encode() for field in found for _, name in _get_param_aliases(field))
    return _Fields(found, source, names, unsent)


def _maker(made: type) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Makes an instance; FastAPI would call the class in a thread, as if it might block."""

    async def make(**values: Any) -> Any:
        return made(**values)

    return make


def _arguments(
    step: _Step,
    request: Request,
    response: Response | None,
    results: Sequence[Any],
    errors: list[Any],
    failed: set[int],
) -> dict[str, Any] | None:
    """What to call `step` with. None when something of it, or of what it needs, is wrong: that is in `errors`."""
    values = {name: results[place] for name, place in step.results}
    for fields in step.fields:
        found, wrong = fields.values(request)
        values |= found
        if wrong:
            errors += wrong
            return None
    for name in step.request:
        values[name] = request
    if step.response is not None:
        values[step.response] = response
    if failed and any(place in failed for _, place in step.results):
        return None
    return values


async def _body(request: Request) -> Any:
    """The body's JSON, which `check_media_type` and `StrictRequest` have looked at."""
    if not await request.body():
        return PydanticUndefined
    try:
        return await request.json()
    except json.JSONDecodeError as error:
        what = {"type": "json_invalid", "loc": ("body", error.pos), "msg": "JSON decode error", "input": {}}
        raise RequestValidationError([what | {"ctx": {"error": error.msg}}], body=error.doc) from error


async def _answer(route: APIRoute, returned: Any, response: Response | None) -> Response:
    if isinstance(returned, Response):
        return returned
    content = await serialize_response(
        field=route.response_field,
        response_content=returned,
        include=route.response_model_include,
        exclude=route.response_model_exclude,
        by_alias=route.response_model_by_alias,
        exclude_unset=route.response_model_exclude_unset,
        exclude_defaults=route.response_model_exclude_defaults,
        exclude_none=route.response_model_exclude_none,
        dump_json=True,
    )
    status = (response.status_code if response is not None else 0) or route.status_code or 200
    answer = Response(content, status, media_type="application/json")
    if response is not None:
        answer.raw_headers.extend(response.raw_headers)
    return answer
