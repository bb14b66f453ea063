"""`/v1/oauth_clients`, and the endpoints of the protocol: discovery, keys, authorize, token, revoke and so on.

Protocol endpoints answer as their standards say, not in problem documents, and are described by discovery.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from app.infra.database import Tx
from app.kernel.errors import DomainError, Kind
from app.kernel.ids import decode_id, encode_id
from app.kernel.principal import Principal
from app.platform.oauth import service
from app.platform.oauth.domain import CLIENT, JWKS_MAX_AGE
from app.platform.oauth.schemas import ChangeOAuthClient, CreateOAuthClient, NewOAuthClientOut, OAuthClientOut
from app.web.auth import authenticated, requires
from app.web.conditional import Expected, Precondition
from app.web.context import gateway_of, now
from app.web.cors import origin_of
from app.web.idempotency import idempotent_secret
from app.web.pages import pages_of
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter, PlannedRoute
from app.web.transaction import OpenTx

clients = ApiRouter(prefix="/v1/oauth_clients", tags=["OAuth clients"])
protocol = APIRouter(include_in_schema=False, route_class=PlannedRoute)
Now = Annotated[datetime, Depends(now)]
_WRITE = [Depends(requires("oauth_clients:write"))]
_ISSUE = [*_WRITE, idempotent_secret]


@dataclass(frozen=True, slots=True)
class OAuth:
    """What the endpoints work with; `main` puts it on the app as `state.oauth`, or None when it is not configured."""

    server: service.AuthorizationService
    authorizing: service.Authorizing
    revocations: service.Revocations


async def oauth_of(request: Request) -> OAuth:
    """Raises `oauth_not_configured`."""
    found: OAuth | None = getattr(request.app.state, "oauth", None)
    if found is None:
        raise DomainError(
            "oauth_not_configured",
            Kind.UNAVAILABLE,
            "This deployment has no authorization server: set MANDI_ISSUER. API keys work.",
        )
    return found


async def people_of(request: Request) -> OAuth:
    """Raises `oauth_not_configured`, `no_sign_in`."""
    found = await oauth_of(request)
    if found.server.login is None:
        raise DomainError("no_sign_in", Kind.UNAVAILABLE, "Nobody can sign in to this deployment; clients can.")
    return found


Server = Annotated[OAuth, Depends(oauth_of)]
People = Annotated[OAuth, Depends(people_of)]
Caller = Annotated[Principal, Depends(authenticated)]


@clients.post("", summary="Register an OAuth client", status_code=201, dependencies=_ISSUE)
async def create(body: CreateOAuthClient, response: Response, tx: OpenTx, at: Now) -> NewOAuthClientOut:
    """An application with at most your own scopes. The answer is the only place that ever shows its secret."""
    issued = await service.create_client(tx, body.asked(), now=at)
    response.headers["Location"] = f"/v1/oauth_clients/{encode_id(CLIENT, issued.row.id)}"
    return _new(issued)


@clients.get("", summary="List OAuth clients", dependencies=[Depends(requires("oauth_clients:read"))])
async def list_all(tx: OpenTx, page: Paged) -> Page[OAuthClientOut]:
    """The tenant's clients, newest first, revoked ones too."""
    found = await service.list_clients(tx, page.cursor(CLIENT))
    return Page.of(found.map(OAuthClientOut.of))


@clients.get("/{id}", summary="Retrieve an OAuth client", dependencies=[Depends(requires("oauth_clients:read"))])
async def retrieve(id: str, tx: OpenTx) -> OAuthClientOut:
    """One client, without its secret."""
    return OAuthClientOut.of(await service.get_client(tx, decode_id(CLIENT, id)))


@clients.post("/{id}/secret", summary="Rotate a client's secret", dependencies=_ISSUE)
async def rotate(id: str, tx: OpenTx, at: Now, expected: Expected) -> NewOAuthClientOut:
    """A new secret, shown this once. The old one ends now; tokens that it got live on for their five minutes."""
    return _new(await service.rotate_secret(tx, await _known(tx, id, expected), now=at))


@clients.patch("/{id}", summary="Change an OAuth client", dependencies=_WRITE)
async def change(
    id: str, body: ChangeOAuthClient, request: Request, tx: OpenTx, at: Now, expected: Expected
) -> OAuthClientOut:
    """Rename it, or change its scopes, redirect URIs or origins; with at most your own scopes afterwards.

    When it loses a scope, every token that it has so far ends, and what people granted it is worth that much less.
    """
    row, marks = await service.change_client(
        tx,
        await _known(tx, id, expected),
        name=body.name,
        scopes=body.scopes,
        redirect_uris=body.redirect_uris,
        cors_origins=body.cors_origins,
        now=at,
    )
    _publish(request, tx, marks)
    return OAuthClientOut.of(row)


@clients.delete("/{id}", summary="Revoke an OAuth client", dependencies=_WRITE)
async def revoke_client(id: str, request: Request, tx: OpenTx, at: Now, expected: Expected) -> OAuthClientOut:
    """End a client for ever, with every token and grant of it. Repeating it changes nothing."""
    row, marks = await service.revoke_client(tx, await _known(tx, id, expected), now=at)
    _publish(request, tx, marks)
    return OAuthClientOut.of(row)


async def _known(tx: Tx, id: str, expected: Precondition) -> UUID:
    row_id = decode_id(CLIENT, id)
    if expected.given:
        expected.check(OAuthClientOut.of(await service.held_client(tx, row_id)))
    return row_id


def _publish(request: Request, tx: Tx, marks: list[str]) -> None:
    """Marks hold in every process once they are published, which must follow the commit."""
    found: OAuth | None = getattr(request.app.state, "oauth", None)
    if found is not None and marks:
        tx.tell(partial(found.revocations.publish, marks))


def _new(issued: service.IssuedClient) -> NewOAuthClientOut:
    return NewOAuthClientOut(**OAuthClientOut.of(issued.row).model_dump(), client_secret=issued.secret)


@protocol.get("/.well-known/openid-configuration")
@protocol.get("/.well-known/oauth-authorization-server")
async def discovery(oauth: Server) -> JSONResponse:
    document = service.metadata_of(oauth.server.issuer, people=oauth.server.login is not None)
    return JSONResponse(document, headers=_cached())


@protocol.get("/.well-known/jwks.json")
async def key_set(oauth: Server, at: Now) -> JSONResponse:
    ring = await oauth.server.keys.ring(now=at)
    return JSONResponse({"keys": list(ring.published)}, headers=_cached())


def _cached() -> dict[str, str]:
    return {"Cache-Control": f"public, max-age={int(JWKS_MAX_AGE.total_seconds())}"}


@protocol.post("/oauth2/token")
async def token(request: Request, oauth: Server, at: Now) -> Response:
    return _answer(await oauth.server.token(await request.body(), request.headers, now=at, origin=origin_of(request)))


@protocol.post("/oauth2/revoke")
async def revoke(request: Request, oauth: Server, at: Now) -> Response:
    return _answer(await oauth.server.revoke(await request.body(), request.headers, now=at, origin=origin_of(request)))


@protocol.post("/oauth2/introspect")
async def introspect(request: Request, oauth: Server, at: Now) -> Response:
    return _answer(
        await oauth.server.introspect(await request.body(), request.headers, now=at, origin=origin_of(request))
    )


@protocol.get("/oauth2/authorize")
async def authorize(request: Request, oauth: People, at: Now) -> Response:
    return _page(request, await oauth.authorizing.ask(request.url.query, request, now=at))


@protocol.post("/oauth2/authorize")
async def decide(request: Request, oauth: People, at: Now) -> Response:
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return _page(
            request, service.Refusal(403, "This answer was not taken", "It was sent by a page that is not ours.")
        )
    return _page(request, await oauth.authorizing.decide(request.url.query, request, await request.body(), now=at))


@protocol.get("/oauth2/userinfo")
@protocol.post("/oauth2/userinfo")
async def userinfo(request: Request, oauth: People, principal: Caller) -> JSONResponse:
    login = oauth.server.login
    if login is None or principal.user_id is None or "openid" not in principal.scopes:
        raise DomainError(
            "insufficient_scope", Kind.FORBIDDEN, "This asks for an access token of a person, with the scope openid."
        )
    async with gateway_of(request).database.tx(principal.tenant_id, principal) as tx:
        person = await login.person_of(tx, principal.user_id)
    if person is None:
        raise DomainError("invalid_token", Kind.UNAUTHENTICATED, "The person behind this token has left the tenant.")
    return JSONResponse(service.person_claims(person, principal.scopes), headers={"Cache-Control": "no-store"})


def _page(request: Request, answer: service.Answer) -> Response:
    """A redirect, or a page whose form leads to us alone, and on to `target`."""
    if isinstance(answer, service.Reply):
        return _answer(answer)
    shown = pages_of(request)
    if isinstance(answer, service.Refusal):
        return shown.show(request, "refusal.html", status=answer.status, leads_to="'none'", page=answer)
    return shown.show(request, "consent.html", leads_to=f"'self' {answer.target}", page=answer)


def _answer(reply: service.Reply, extra: Mapping[str, str] | None = None) -> Response:
    headers: dict[str, Any] = {**reply.headers, **(extra or {})}
    if isinstance(reply.body, dict):
        headers.pop("Content-Type", None)
        return JSONResponse(reply.body, reply.status, headers=headers)
    return Response(reply.body, reply.status, headers=headers)
