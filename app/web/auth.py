"""Decides who may call a route: a bearer credential, and the permission that the route declares."""

from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.infra.telemetry import bind_tenant
from app.kernel.errors import DomainError, Kind
from app.kernel.ids import encode_id
from app.kernel.principal import Principal
from app.web.context import gateway_of, request_id_of
from app.web.limits import cost_of

HOW = "Send the header `Authorization: Bearer sk_test_in1_…`."
_bearer = HTTPBearer(
    scheme_name="API key",
    description=f"{HOW} Keys name their mode (`test` or `live`) and the cell that serves them.",
    auto_error=False,
)


async def authenticated(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Principal:
    """The caller, once a request. Raises `missing_credential`, what the authenticator says, and what `Limiter` says."""
    if credentials is None:
        raise DomainError("missing_credential", Kind.UNAUTHENTICATED, f"This operation needs an API key. {HOW}")
    gateway = gateway_of(request)
    if cost_of(request.scope["route"].dependant, request.method).weight:
        gateway.sources.refuse(request.scope)
    principal = await gateway.authenticator.authenticate(credentials.credentials, now=gateway.clock())
    bind_tenant(encode_id("ten", principal.tenant_id))
    await gateway.limiter.charge(request, principal, now=gateway.clock())
    source_ip = request.client.host if request.client else None
    return replace(principal, source_ip=source_ip, request_id=request_id_of(request))


@dataclass(frozen=True, slots=True)
class Requires:
    """A dependency that admits callers whose key has all of `permissions`; `web.openapi` finds it on routes."""

    permissions: tuple[str, ...]

    async def __call__(self, principal: Annotated[Principal, Depends(authenticated)]) -> Principal:
        missing = sorted(set(self.permissions) - principal.scopes)
        if missing:
            raise DomainError(
                "missing_scope",
                Kind.FORBIDDEN,
                f"The key lacks the scope {', '.join(missing)}: use a key that has it (POST /v1/api_keys makes one).",
            )
        return principal


def requires(*permissions: str) -> Requires:
    """`Annotated[Principal, Depends(requires("orders:write"))]`: the caller, or 401, or 403 naming what is missing."""
    if not permissions:
        raise ValueError("a route must name at least one permission")
    return Requires(permissions)
