"""Decides what every route does around its handler: strict bodies, tags on what is read, answers kept for their key."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response, params
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from app.kernel.errors import DomainError
from app.web.bodies import StrictRequest, check_media_type
from app.web.conditional import conditional
from app.web.errors import domain_problem
from app.web.idempotency import Replay, settle, settle_refusal

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class MannerlyRoute(APIRoute):
    """The class of every route of the API; a test says that there is no other."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()
        takes_json = self.body_field is not None and not isinstance(self.body_field.field_info, params.Form)

        async def handle(request: Request) -> Response:
            if takes_json:
                check_media_type(request)
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


class PathRouter(APIRouter):
    """An `APIRouter` that tries its routes only for paths that begin like one of them: the gateway has more than a
    hundred, and trying each in turn would cost more than all else around a handler."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._beginnings: tuple[str, ...] = ()
        self._known = 0

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if self._known != len(self.routes):
            paths = (getattr(route, "path", "") for route in self.routes)
            self._beginnings = tuple({path.partition("{")[0] for path in paths})
            self._known = len(self.routes)
        if not scope["path"].startswith(self._beginnings) and not scope.get("root_path"):
            return Match.NONE, {}
        return super().matches(scope)


class ApiRouter(PathRouter):
    """A router whose routes are `MannerlyRoute`s."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=MannerlyRoute, **options)
