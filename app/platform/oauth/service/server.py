"""Decides what a protocol request goes through: form, tenant, one transaction, the engine, then what to publish."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from urllib.parse import parse_qsl, unquote

from sqlalchemy.util import greenlet_spawn

from app.infra.database import Database
from app.kernel.errors import DomainError, Kind
from app.platform.oauth.domain import GrantType
from app.platform.oauth.ports import Login
from app.platform.oauth.service.authentication import TokenAuthenticator
from app.platform.oauth.service.endpoints import Introspection, Revocation
from app.platform.oauth.service.grants import make_server
from app.platform.oauth.service.lookup import ClientLookup
from app.platform.oauth.service.protocol import (
    TOKEN_PATH,
    EngineRequest,
    Exchange,
    Reply,
    Server,
    unknown_client,
)
from app.platform.oauth.service.revocations import Revocations
from app.platform.oauth.service.signing import Keys

_MAX_FIELDS = 32
_TEXT = re.compile(r"[\x20-\x7e]{0,4096}", re.ASCII)
CLIENT_ID = re.compile(r"oc_[a-z0-9]{20}", re.ASCII)
_FORM = "application/x-www-form-urlencoded"
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
Pairs = Sequence[tuple[str, str]]
Work = Callable[[Server, EngineRequest], Reply]


def parse_pairs(text: str) -> Pairs | None:
    """Names and values of a form or query; None when it is not one, repeats a name, or is not printable ASCII."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=_MAX_FIELDS)
    except ValueError:
        return None
    if len({name for name, _ in pairs}) < len(pairs):
        return None
    return pairs if all(_TEXT.fullmatch(name) and _TEXT.fullmatch(value) for name, value in pairs) else None


def refusal(status: int, error: str, description: str) -> Reply:
    """An OAuth error that is found before the engine."""
    return Reply(status, {"error": error, "error_description": description}, dict(_NO_STORE))


class AuthorizationService:
    """The endpoints of the protocol. Knows nothing of HTTP but a form and one header."""

    def __init__(
        self,
        database: Database,
        keys: Keys,
        revocations: Revocations,
        tokens: TokenAuthenticator,
        *,
        issuer: str,
        login: Login | None,
    ) -> None:
        self.database = database
        self.keys = keys
        self.revocations = revocations
        self.tokens = tokens
        self.issuer = issuer
        self.login = login
        self.clients = ClientLookup(database.pool)

    async def token(
        self, body: bytes, headers: Mapping[str, str], *, now: datetime, origin: str | None = None
    ) -> Reply:
        """`POST /oauth2/token`."""

        def work(server: Server, request: EngineRequest) -> Reply:
            reply: Reply = server.create_token_response(request)
            return reply

        return await self._form(TOKEN_PATH, body, headers, work, now=now, origin=origin)

    async def revoke(
        self, body: bytes, headers: Mapping[str, str], *, now: datetime, origin: str | None = None
    ) -> Reply:
        """`POST /oauth2/revoke`. 503 while the end of the token could not be made known: the client tries again."""

        def work(server: Server, request: EngineRequest) -> Reply:
            server.register_endpoint(Revocation)
            reply: Reply = server.create_endpoint_response("revocation", request)
            return reply

        return await self._form("/oauth2/revoke", body, headers, work, now=now, origin=origin, must_publish=True)

    async def introspect(
        self, body: bytes, headers: Mapping[str, str], *, now: datetime, origin: str | None = None
    ) -> Reply:
        """`POST /oauth2/introspect`."""

        def work(server: Server, request: EngineRequest) -> Reply:
            server.register_endpoint(Introspection)
            reply: Reply = server.create_endpoint_response("introspection", request)
            return reply

        return await self._form("/oauth2/introspect", body, headers, work, now=now, origin=origin)

    async def _form(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        work: Work,
        *,
        now: datetime,
        origin: str | None,
        must_publish: bool = False,
    ) -> Reply:
        if headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
            return refusal(400, "invalid_request", f"Send the parameters as {_FORM}.")
        pairs = parse_pairs(body.decode("ascii", errors="replace"))
        if pairs is None:
            return refusal(400, "invalid_request", "A parameter is repeated, malformed or not printable ASCII.")
        authorization = headers.get("authorization")
        shown = {} if authorization is None else {"Authorization": authorization}
        request = EngineRequest("POST", self.issuer + path, shown, form=pairs)
        client_id = claimed_client(request.form, authorization)
        client = await self.clients.client(client_id) if client_id else None
        if client is None:
            return Reply(*_split(unknown_client()))
        ring = await self.keys.ring(now=now)
        async with self.database.tx(client.tenant_id) as tx:
            exchange = Exchange(tx, client, self.issuer, ring, now, self.tokens, self.login, origin)
            if path == TOKEN_PATH and _is_alone(request.form):
                reply = work(make_server(exchange), request)
            else:
                reply = await greenlet_spawn(lambda: work(make_server(exchange), request))
        published = await self.revocations.publish(exchange.marks) if exchange.marks else True
        if must_publish and not published:
            raise DomainError(
                "revocation_waits",
                Kind.UNAVAILABLE,
                "The token is ended, but not every process knows it yet. Send the same request again.",
            )
        return reply


def _is_alone(form: Mapping[str, str]) -> bool:
    """Whether a client asks for itself, by its secret: then the engine waits for nothing and needs no greenlet."""
    return form.get("grant_type") == GrantType.CLIENT and "client_assertion" not in form


def claimed_client(form: Mapping[str, str], authorization: str | None) -> str | None:
    """The client that a request says it is from, unproven: it only tells in which tenant to look."""
    found = form.get("client_id")
    if authorization is not None and authorization[:6].lower() == "basic ":
        try:
            found = unquote(base64.b64decode(authorization[6:].strip()).decode().partition(":")[0])
        except (binascii.Error, ValueError):
            return None
    elif "client_assertion" in form:
        parts = form["client_assertion"].split(".")
        try:
            claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
            found = claims["sub"]
        except (binascii.Error, ValueError, TypeError, KeyError, IndexError, RecursionError):
            return None
    return found if isinstance(found, str) and CLIENT_ID.fullmatch(found) else None


def _split(
    error: Callable[[], tuple[int, dict[str, str], list[tuple[str, str]]]],
) -> tuple[int, dict[str, str], dict[str, str]]:
    status, body, headers = error()
    return status, body, dict(headers)
