"""Decides who may call a route, and at which cost: a bearer credential, and the permission that the route declares.

Whoever acts for a tenant below his own says so with the header `Mandi-Act-As`, on every request.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from uuid import UUID

from fastapi import Request
from fastapi.dependencies.models import Dependant

from app.infra.telemetry import bind_tenant
from app.kernel.errors import DomainError, Kind
from app.kernel.ids import decode_id, encode_id
from app.kernel.principal import Principal
from app.web.context import Gateway, gateway_of, request_id_of, sent_header
from app.web.cors import foreign_page, origin_of
from app.web.limits import EXIT, Costs, usual_cost

ACT_AS = "Mandi-Act-As"
_ACT_AS = ACT_AS.lower().encode()
HOW = "Send the header `Authorization: Bearer sk_test_in1_…`."
SCHEME = "API key"
SCHEMES = {
    SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "description": f"{HOW} Keys name their mode (`test` or `live`) and the cell that serves them.",
    }
}
"""What OpenAPI says of credentials. Written out: FastAPI's own dependencies are solved with every request."""

PARAMETERS = [
    {
        "name": ACT_AS,
        "in": "header",
        "required": False,
        "description": "An act-as grant: this request is of the tenant that it names.",
        "schema": {"type": "string", "maxLength": 64},
    }
]
"""What OpenAPI says of headers that every operation with a permission takes."""

_STATE = "principal"


def bearer_of(request: Request) -> str | None:
    """The credential of the header `Authorization`."""
    scheme, _, credential = (sent_header(request.scope, b"authorization") or "").partition(" ")
    return credential.strip() or None if scheme.lower() == "bearer" else None


async def authenticated(request: Request) -> Principal:
    """The caller, once a request.

    Raises `missing_credential`, `origin_not_allowed`, what the authenticator says, and what `Limiter` says.
    """
    state = request.scope.setdefault("state", {})
    known: Principal | None = state.get(_STATE)
    if known is not None:
        return known
    credential = bearer_of(request)
    if credential is None:
        raise DomainError("missing_credential", Kind.UNAUTHENTICATED, f"This operation needs an API key. {HOW}")
    gateway, route = gateway_of(request), request.scope["route"]
    cost = getattr(route, "cost", None) or cost_of(route.dependant, request.method)
    if cost.weight:
        gateway.sources.refuse(request.scope)
    act_as = sent_header(request.scope, _ACT_AS)
    principal = await identified(gateway, credential, act_as, origin=origin_of(request))
    await gateway.limiter.charge(request, principal, cost, now=gateway.clock())
    client = request.scope.get("client")
    caller = principal.calling(source_ip=client[0] if client else None, request_id=request_id_of(request))
    state[_STATE] = caller
    return caller


async def charge_more(request: Request, cost: Costs, times: int) -> None:
    """Charge a call that stands for several for those beyond the first, before any of them is done. Raises what
    `Limiter` says."""
    if times:
        gateway = gateway_of(request)
        more = replace(cost, weight=cost.weight * times)
        await gateway.limiter.charge(request, await authenticated(request), more, now=gateway.clock())


async def identified(gateway: Gateway, credential: str, act_as: str | None, *, origin: str | None) -> Principal:
    """Whose credential it is, in the place of the tenant that the grant `act_as` names. Raises what refuses either.

    `origin`: the page that sends it, when one does.
    """
    principal = await gateway.authenticator.authenticate(credential, now=gateway.clock())
    bind_tenant(_shown(principal.tenant_id))  # first: what is refused below is the caller's, too
    if origin is not None and not await gateway.origins.admits(principal, origin):
        raise foreign_page()
    if act_as is not None:
        grant_id = decode_id("act", act_as, param=ACT_AS)
        principal = await gateway.admission.act_as(principal, grant_id, now=gateway.clock())
        bind_tenant(_shown(principal.tenant_id))
    return principal


@lru_cache(maxsize=10_000)
def _shown(tenant_id: UUID) -> str:
    return encode_id("ten", tenant_id)


async def admitted(
    gateway: Gateway, credential: str, permissions: Collection[str], *, act_as: str | None, origin: str | None
) -> Principal:
    """What a route that `requires` these permissions decides of its caller: streams ask it again and again."""
    principal = await identified(gateway, credential, act_as, origin=origin)
    await gateway.admission.check(principal, tuple(permissions), exits=False, now=gateway.clock())
    return principal


@dataclass(frozen=True, slots=True)
class Requires:
    """A dependency that admits callers who may do all of `permissions`; `web.openapi` finds it on routes."""

    permissions: tuple[str, ...]
    exits: bool = False

    async def __call__(self, request: Request) -> Principal:
        principal, gateway = await authenticated(request), gateway_of(request)
        await gateway.admission.check(principal, self.permissions, exits=self.exits, now=gateway.clock())
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


def cost_of(dependant: Dependant, method: str) -> Costs:
    """What a route declares with `costs`, nothing for one that only takes risk away, else as its method says."""
    declared = list(_declared(dependant))
    stated = next((one for one in declared if isinstance(one, Costs)), None)
    if stated is None and any(isinstance(one, Requires) and one.exits for one in declared):
        return EXIT
    return stated or usual_cost(method)


def _declared(dependant: Dependant) -> Iterator[object]:
    yield dependant.call
    for inner in dependant.dependencies:
        yield from _declared(inner)
