"""Decides which routes a path may mean, and what each does around its handler: strict bodies, tags on what is read,
answers kept for their key.
"""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from fastapi import APIRouter, Request, Response, params
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from app.kernel.errors import DomainError
from app.web.auth import cost_of
from app.web.bodies import StrictRequest, check_media_type
from app.web.calls import Handler, planned_handler
from app.web.conditional import conditional
from app.web.errors import domain_problem
from app.web.idempotency import Replay, settle, settle_refusal
from app.web.limits import Costs
from app.web.queries import refuse_unknown_query

TRACED = "fastapi.telemetry"
"""In the scope of a request whose route and dependencies FastAPI shall tell a span."""


class MannerlyRoute(APIRoute):
    """The class of every route of the API; a test says that there is no other."""

    @cached_property
    def cost(self) -> Costs:
        """What a call costs. Every route has one method."""
        (method,) = self.methods or ("GET",)
        return cost_of(self.dependant, method)

    def get_route_handler(self) -> Handler:
        whole, planned = super().get_route_handler(), planned_handler(self)
        takes_json = self.body_field is not None and not isinstance(self.body_field.field_info, params.Form)

        async def handle(request: Request) -> Response:
            refuse_unknown_query(request)
            if takes_json:
                check_media_type(request)
            watched = TRACED in request.scope or request.app.dependency_overrides
            handler = whole if planned is None or watched else planned
            if request.method == "GET":
                return conditional(request, await handler(request))
            return await _once(StrictRequest(request.scope, request.receive), handler)

        return handle


async def _once(request: Request, handler: Handler) -> Response:
    """The handler's answer, kept if the request holds a key. Its transaction is still open here."""
    try:
        response = await handler(request)
    except Replay as replay:
        return replay.response
    except DomainError as error:
        refusal = domain_problem(request, error)
        if await settle_refusal(request, error, refusal):
            return refusal
        raise
    await settle(request, response)
    return response


def flat(routers: Iterable[APIRouter]) -> list[BaseRoute]:
    """Their routes. FastAPI's `include_router` looks for a route within its router once more, with every request; it
    has more to say than a list only where a router is included with a prefix or dependencies, and ours never are."""
    return [
        context.original_route for context in iter_route_contexts([one for router in routers for one in router.routes])
    ]


class ApiRouter(APIRouter):
    """A router whose routes are `MannerlyRoute`s."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=MannerlyRoute, **options)


ANY = "{}"
"""The second segment of a path that takes any."""


class RouteIndex:
    """ASGI, in the place of an application's router: tries only routes whose paths begin with the request's first two
    segments. There are more than a hundred, and trying each in turn cost as much as a bare application's whole request.
    """

    def __init__(self, router: APIRouter) -> None:
        self._router = router
        self._known = 0
        self._groups: dict[tuple[str, str], APIRouter] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._known != len(self._router.routes):
            self._build()
        router = self._router
        if scope["type"] != "lifespan" and not scope.get("root_path"):
            first, second = _segments(scope["path"])
            router = self._groups.get((first, second)) or self._groups.get((first, ANY), router)
            scope["router"] = self._router
            if TRACED not in scope:  # a span wants to know the route, which FastAPI tells it below
                for route in router.routes:
                    match, found = route.matches(scope)
                    if match is Match.FULL:
                        scope.update(found)
                        await route.handle(scope, receive, send)
                        return
        await router.app(scope, receive, send)  # what no route takes, or not with this method

    def _build(self) -> None:
        found: dict[tuple[str, str], list[BaseRoute]] = {}
        for route in self._router.routes:
            for context in iter_route_contexts([route]):
                first, second = _segments(context.path_format or "")
                if "{" in first:
                    raise ValueError(f"{context.path_format}: a path begins with a word")
                routes = found.setdefault((first, ANY if "{" in second else second), [])
                if route not in routes:
                    routes.append(route)
        self._groups = {key: self._group([*routes, *found.get((key[0], ANY), ())]) for key, routes in found.items()}
        self._known = len(self._router.routes)

    def _group(self, routes: list[BaseRoute]) -> APIRouter:
        group = APIRouter(redirect_slashes=self._router.redirect_slashes)
        group.routes = [route for route in self._router.routes if route in routes]
        return group


def _segments(path: str) -> tuple[str, str]:
    _, first, second = f"{path}//".split("/", 3)[:3]
    return first, second
