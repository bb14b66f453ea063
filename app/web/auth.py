"""Decides who may call a route: a bearer credential, and the permission that the route declares.

Whoever acts for a tenant below his own says so with the header `Mandi-Act-As`, on every request.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.infra.telemetry import bind_tenant
from app.kernel.errors import DomainError, Kind
from app.kernel.ids import decode_id, encode_id
from app.kernel.principal import Principal
from app.web.context import Admission, gateway_of, now, request_id_of
from app.web.cors import foreign_page, origin_of

ACT_AS = "Mandi-Act-As"
HOW = "Send the header `Authorization: Bearer sk_test_in1_…`."
_bearer = HTTPBearer(
    scheme_name="API key",
    description=f"{HOW} Keys name their mode (`test` or `live`) and the cell that serves them.",
    auto_error=False,
)


_ActAs = Annotated[
    str | None,
    Header(alias=ACT_AS, max_length=64, description="An act-as grant: this request is of the tenant that it names."),
]


async def admission(request: Request) -> Admission:
    """Who decides, besides the scopes of the credential."""
    return gateway_of(request).admission


async def authenticated(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    act_as: _ActAs = None,
) -> Principal:
    """The caller, once a request. Raises `missing_credential`, `origin_not_allowed`, or what the authenticator says."""
    if credentials is None:
        raise DomainError("missing_credential", Kind.UNAUTHENTICATED, f"This operation needs an API key. {HOW}")
    gateway = gateway_of(request)
    principal = await gateway.authenticator.authenticate(credentials.credentials, now=gateway.clock())
    origin = origin_of(request)
    if origin is not None and not await gateway.origins.admits(principal, origin):
        raise foreign_page()
    if act_as is not None:
        grant_id = decode_id("act", act_as, param=ACT_AS)
        principal = await gateway.admission.act_as(principal, grant_id, now=gateway.clock())
    bind_tenant(encode_id("ten", principal.tenant_id))
    source_ip = request.client.host if request.client else None
    return replace(principal, source_ip=source_ip, request_id=request_id_of(request))


async def _credential(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    return "" if credentials is None else credentials.credentials


Credential = Annotated[str, Depends(_credential)]
"""The bearer credential itself, for streams: they ask again whether it is still good."""


@dataclass(frozen=True, slots=True)
class Requires:
    """A dependency that admits callers who may do all of `permissions`; `web.openapi` finds it on routes."""

    permissions: tuple[str, ...]
    exits: bool = False

    async def __call__(
        self,
        principal: Annotated[Principal, Depends(authenticated)],
        admitting: Annotated[Admission, Depends(admission)],
        at: Annotated[datetime, Depends(now)],
    ) -> Principal:
        await admitting.check(principal, self.permissions, exits=self.exits, now=at)
        if not principal.revocation_known and any(name.endswith(":write") for name in self.permissions):
            raise DomainError(
                "revocation_unknown",
                Kind.UNAVAILABLE,
                "Whether this token was revoked cannot be told just now, and this operation writes. Try again in a "
                "second, or use an API key.",
            )
        return principal


def requires(*permissions: str, exits: bool = False) -> Requires:
    """`Annotated[Principal, Depends(requires("orders:write"))]`: the caller, or 401, or 403 naming what is missing.

    `exits`: the route only takes risk or power away, so that a suspended tenant may call it too.
    """
    if not permissions:
        raise ValueError("a route must name at least one permission")
    return Requires(permissions, exits)
