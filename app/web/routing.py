"""Decides which routes a path may mean, and what each does around its handler: strict bodies, tags on what is read,
answers kept for their key.
"""

from collections.abc import Iterable
from contextlib import AsyncExitStack
from functools import cached_property
from typing import Any

from fastapi import APIRouter, Request, Response, params
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from app.kernel.errors import DomainError
from app.web.auth import cost_of
from app.web.bodies import StrictRequest, check_media_type
from app.web.calls import OPENED, Handler, Plan, planned
from app.web.conditional import conditional
from app.web.errors import ANTICIPATED, anticipated, domain_problem
from app.web.idempotency import Replay, settle, settle_refusal
from app.web.limits import Costs
from app.web.queries import refuse_unknown_query

TRACED = "fastapi.telemetry"
"""In the scope of a request whose route and dependencies FastAPI shall tell a span."""


class PlannedRoute(APIRoute):
    """A route whose requests are served by its plan, if it has one."""

    @cached_property
    def plan(self) -> Plan | None:
        """What handles its requests in the place of FastAPI's handler, if anything can."""
        return planned(self)

    async def serve(self, scope: Scope, receive: Receive, send: Send, plan: Plan) -> None:
        """What FastAPI and Starlette wrap around a handler, as far as a planned one needs it (decision 0016)."""
        request = StrictRequest(scope, receive, send)
        response: Response | None = None
        try:
            if plan.opens:
                async with AsyncExitStack() as scope[OPENED]:
                    response = await self._handle(request, plan.handle)
            else:
                response = await self._handle(request, plan.handle)
        except ANTICIPATED as error:
            response = anticipated(request, error)
            error.__traceback__ = None  # of an error that is raised again and again it would grow
        if response is None:
            raise RuntimeError(f"a dependency of {self.path_format} swallowed an exception")
        await response(scope, receive, send)

    async def _handle(self, request: Request, handler: Handler) -> Response:
        return await handler(request)


class MannerlyRoute(PlannedRoute):
    """The class of every route of the API; a test says that there is no other."""

    @cached_property
    def cost(self) -> Costs:
        """What a call costs. Every route has one method."""
        (method,) = self.methods or ("GET",)
        return cost_of(self.dependant, method)

    @cached_property
    def _takes_json(self) -> bool:
        return self.body_field is not None and not isinstance(self.body_field.field_info, params.Form)

    def get_route_handler(self) -> Handler:
        whole = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await self._handle(StrictRequest(request.scope, request.receive), whole)

        return handle

    async def _handle(self, request: Request, handler: Handler) -> Response:
        refuse_unknown_query(request)
        if self._takes_json:
            check_media_type(request)
        if request.scope["method"] == "GET":
            return conditional(request, await handler(request))
        return await _once(request, handler)


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

_FOUND = "mandi.route"


class RouteIndex:
    """ASGI, innermost of an application's middleware: finds a request's route, and serves it unless that is FastAPI's
    affair. Tries only routes whose paths begin with the request's first two segments: there are more than a hundred,
    and trying each in turn cost as much as a bare application's whole request.
    """

    def __init__(self, app: ASGIApp, router: APIRouter) -> None:
        self._app = app
        self._router = router
        self._known = 0
        self._groups: dict[tuple[str, str], APIRouter] = {}
        self._exact: dict[tuple[str, str], PlannedRoute] = {}
        router.middleware_stack = self._route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._find(scope)
        if isinstance(route, PlannedRoute) and (plan := route.plan) is not None:
            await route.serve(scope, receive, send, plan)
        else:
            scope[_FOUND] = route
            await self._app(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """In the place of the router's own search, where FastAPI has wrapped what it wraps around everything."""
        route: BaseRoute | None = scope.get(_FOUND)
        handle = self._near(scope).app if route is None else route.handle
        await handle(scope, receive, send)

    def _find(self, scope: Scope) -> BaseRoute | None:
        """The route that takes the request. None: the router shall look itself, and answer or tell a span."""
        if scope["type"] == "lifespan" or scope.get("root_path") or TRACED in scope:
            return None
        if self._known != len(self._router.routes):
            self._build()
        exact = self._exact.get((scope.get("method", ""), scope["path"]))
        route, found = self._match(scope) if exact is None else (exact, _found(exact))
        if route is not None:
            scope.update(found, router=self._router)
        return route

    def _match(self, scope: Scope) -> tuple[BaseRoute | None, Scope]:
        """The first route that takes the request, and what it adds to its scope."""
        for route in self._near(scope).routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                return route, found
        return None, {}

    def _near(self, scope: Scope) -> APIRouter:
        """A router of the routes that may take the request."""
        if self._known != len(self._router.routes):
            self._build()
        if scope["type"] == "lifespan" or scope.get("root_path"):
            return self._router
        first, second = _segments(scope["path"])
        return self._groups.get((first, second)) or self._groups.get((first, ANY), self._router)

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
        self._exact = {}
        for route in self._router.routes:
            if isinstance(route, PlannedRoute):
                for method in route.methods or ():
                    asked = {"type": "http", "method": method, "path": route.path_format}
                    if self._match(asked) == (route, _found(route)):  # no parameters, and no other is first
                        self._exact[(method, route.path_format)] = route

    def _group(self, routes: list[BaseRoute]) -> APIRouter:
        group = APIRouter(redirect_slashes=self._router.redirect_slashes)
        group.routes = [route for route in self._router.routes if route in routes]
        return group


def _found(route: PlannedRoute) -> Scope:
    """What a route without parameters adds to a scope."""
    return {"endpoint": route.endpoint, "path_params": {}, "route": route}


def _segments(path: str) -> tuple[str, str]:
    _, first, second = f"{path}//".split("/", 3)[:3]
    return first, second
