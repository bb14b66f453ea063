"""Decides what a browser that a client sent here gets: a refusal, the login, a question, or the way back with a code.

Nothing is sent to an address before it is known to be the client's: until then a refusal is a page of ours.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from authlib.oauth2.rfc6749.errors import InvalidRequestError, InvalidScopeError, OAuth2Error
from sqlalchemy.util import greenlet_spawn

from app.platform.identity.service import PERMISSIONS
from app.platform.oauth import repository
from app.platform.oauth.domain import IDENTITY_SCOPES, AuthMethod, grant_scopes
from app.platform.oauth.ports import Asking, Session
from app.platform.oauth.service.grants import CodeGrant, find_person, make_server
from app.platform.oauth.service.protocol import EngineRequest, Exchange, KnownClient, Reply, Server
from app.platform.oauth.service.server import CLIENT_ID, AuthorizationService, Pairs, parse_pairs

PATH = "/oauth2/authorize"
_PROMPTS = {"none", "login", "consent", "select_account"}
_MAX_NONCE = 512
_UNSUPPORTED = {
    "request": "request_not_supported",
    "request_uri": "request_uri_not_supported",
    "registration": "registration_not_supported",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A page that says why nothing goes on; the client learns nothing."""

    status: int
    title: str
    detail: str


@dataclass(frozen=True, slots=True)
class Question:
    """The page that asks the person. `proof` comes back with the answer; `target` is where the answer leads."""

    client_name: str
    mode: str
    email: str
    scopes: tuple[tuple[str, str], ...]
    action: str
    proof: str
    target: str


Answer = Reply | Refusal | Question


@dataclass(frozen=True, slots=True)
class Asked:
    """One authorization request whose client and redirect URI are good, and who is asking."""

    server: Server
    client: KnownClient
    request: EngineRequest
    pairs: Pairs
    params: Mapping[str, str]
    session: Session | None

    @property
    def prompts(self) -> set[str]:
        return set(self.params.get("prompt", "").split())

    def back(self, error: OAuth2Error) -> Reply:
        """To the client, with an error, its `state` and our name (RFC 9207)."""
        error.redirect_uri = self.params["redirect_uri"]
        error.state = self.params.get("state")
        reply: Reply = self.server.handle_error_response(self.request, error)
        self.server.name_issuer(reply)
        return _see_other(reply)


class Authorizing:
    """The authorization endpoint."""

    def __init__(self, service: AuthorizationService, *, proof_key: bytes) -> None:
        self._service = service
        self._proof_key = proof_key

    async def ask(self, query: str, asking: Asking, *, now: datetime) -> Answer:
        """`GET`: where the request leads."""
        return await self._in_tenant(query, asking, self._ask, now=now)

    async def decide(self, query: str, asking: Asking, form: bytes, *, now: datetime) -> Answer:
        """`POST` from our own page: the person's answer to exactly this request."""
        given = dict(parse_pairs(form.decode("ascii", errors="replace")) or ())
        return await self._in_tenant(
            query, asking, lambda asked, exchange: self._decide(asked, exchange, given), now=now
        )

    async def _in_tenant(
        self, query: str, asking: Asking, work: "Callable[[Asked, Exchange], Answer]", *, now: datetime
    ) -> Answer:
        service = self._service
        pairs = parse_pairs(query)
        if pairs is None:
            return Refusal(400, "This link is broken", "A parameter is repeated, malformed or not printable ASCII.")
        params = dict(pairs)
        client_id = params.get("client_id", "")
        known = CLIENT_ID.fullmatch(client_id) is not None
        found = await service.clients.client(client_id) if known else None
        if found is None or service.login is None:
            return _unknown_client()
        session = await service.login.session_of(asking)
        ring = await service.keys.ring(now=now)
        async with service.database.tx(found.tenant_id) as tx:

            def inside() -> Answer:
                exchange = Exchange(tx, found, service.issuer, ring, now, service.tokens, service.login)
                server, client = make_server(exchange), KnownClient(found)
                if not client.check_redirect_uri(params.get("redirect_uri", "")):
                    return Refusal(
                        400,
                        "This link leads elsewhere",
                        "The application asked to be answered at an address that it did not register. "
                        "Nothing was sent there.",
                    )
                request = EngineRequest("GET", service.issuer + PATH, {}, query=pairs)
                return work(Asked(server, client, request, pairs, params, session), exchange)

            answer: Answer = await greenlet_spawn(inside)
            return answer

    def _ask(self, asked: Asked, exchange: Exchange) -> Answer:
        ready = self._ready(asked, exchange)
        if isinstance(ready, Reply):
            return ready
        grant, session, scopes = ready
        if "consent" not in asked.prompts and _has_agreed(asked, exchange, session, scopes):
            return _grant(asked, grant, session, scopes)
        if "none" in asked.prompts:
            return asked.back(OAuth2Error(error="consent_required"))
        return self._question(asked, session, scopes)

    def _decide(self, asked: Asked, exchange: Exchange, given: Mapping[str, str]) -> Answer:
        ready = self._ready(asked, exchange)
        if isinstance(ready, Reply):
            return ready
        grant, session, scopes = ready
        if not hmac.compare_digest(given.get("proof", "").encode(), self._proof(asked, session, scopes).encode()):
            return Refusal(
                403,
                "This answer was not taken",
                "It does not belong to a question that we asked you here and now. Go back to the application and start "
                "again.",
            )
        if given.get("decision") != "allow":
            reply: Reply = asked.server.create_authorization_response(asked.request, grant_user=None, grant=grant)
            return _see_other(reply)
        return _grant(asked, grant, session, scopes)

    def _ready(self, asked: Asked, exchange: Exchange) -> "Reply | tuple[CodeGrant, Session, tuple[str, ...]]":
        """The engine's grant, who is signed in and what they can grant; or where to go instead."""
        try:
            _check_form(asked.params)
            session = asked.session
            if session is None or _login_is_due(asked, session, now=exchange.now):
                asked.server.get_consent_grant(asked.request, end_user=session)  # its complaints come first
                return self._to_login(asked)
            grant: CodeGrant = asked.server.get_consent_grant(asked.request, end_user=session)
            person = find_person(exchange, session.user_id)
            if person is None:
                raise OAuth2Error(error="access_denied", description="The person is no member of the tenant.")
            scopes = grant_scopes(asked.request.scope, asked.client.row.scopes, person.permissions)
            if not scopes:
                raise InvalidScopeError()
        except OAuth2Error as error:
            return asked.back(error)
        return grant, session, scopes

    def _to_login(self, asked: Asked) -> Reply:
        if "none" in asked.prompts:
            return asked.back(OAuth2Error(error="login_required"))
        assert self._service.login is not None
        prompts = " ".join(sorted(asked.prompts - {"login", "select_account"}))
        kept = [(name, value) for name, value in asked.pairs if name != "prompt" and (name, value) != ("max_age", "0")]
        if prompts:
            kept.append(("prompt", prompts))
        again = asked.session is not None and "select_account" not in asked.prompts
        url = self._service.login.login_url(f"{PATH}?{urlencode(kept)}", again=again)
        return Reply(303, "", {"Location": url, "Cache-Control": "no-store"})

    def _question(self, asked: Asked, session: Session, scopes: tuple[str, ...]) -> Question:
        said = {**IDENTITY_SCOPES, **PERMISSIONS}
        return Question(
            client_name=asked.client.row.name,
            mode=asked.client.row.mode,
            email=session.email,
            scopes=tuple((scope, said[scope]) for scope in scopes if scope in said),
            action=f"{PATH}?{urlencode(asked.pairs)}",
            proof=self._proof(asked, session, scopes),
            target=_target(asked.params["redirect_uri"]),
        )

    def _proof(self, asked: Asked, session: Session, scopes: tuple[str, ...]) -> str:
        """Only our own page, shown to this session about this very request and these scopes, can hold it."""
        said = "\n".join((session.id, urlencode(asked.pairs), " ".join(scopes)))
        return hmac.new(self._proof_key, said.encode(), hashlib.sha256).hexdigest()


def _check_form(params: Mapping[str, str]) -> None:
    """What the engine would not notice, or would fall over. Raises an `OAuth2Error`."""
    for name, error in _UNSUPPORTED.items():
        if name in params:
            raise OAuth2Error(error=error)
    if "response_type" not in params:
        raise InvalidRequestError("Missing 'response_type'.")
    if params["response_type"] != "code":
        raise OAuth2Error(error="unsupported_response_type")
    if params.get("response_mode", "query") != "query":
        raise InvalidRequestError("'response_mode' must be query.")
    prompts = params.get("prompt", "").split()
    if not set(prompts) <= _PROMPTS or ("none" in prompts and len(prompts) > 1):
        raise InvalidRequestError("'prompt' is none, or one or more of login, consent and select_account.")
    max_age = params.get("max_age", "0")
    if not max_age.isdigit() or len(max_age) > 9:
        raise InvalidRequestError("'max_age' must be a whole number of seconds.")
    if len(params.get("nonce", "")) > _MAX_NONCE:
        raise InvalidRequestError("'nonce' is too long.")


def _login_is_due(asked: Asked, session: Session, *, now: datetime) -> bool:
    if asked.prompts & {"login", "select_account"}:
        return True
    max_age = asked.params.get("max_age")
    return max_age is not None and now - session.auth_time >= timedelta(seconds=int(max_age))


def _has_agreed(asked: Asked, exchange: Exchange, session: Session, scopes: tuple[str, ...]) -> bool:
    """Whether to skip the question. Never for a public client: any program can call itself by its name."""
    row = asked.client.row
    if row.auth_method == AuthMethod.NONE:
        return False
    return repository.has_granted(exchange.session, row.id, session.user_id, scopes)


def _grant(asked: Asked, grant: CodeGrant, session: Session, scopes: tuple[str, ...]) -> Reply:
    grant.session, grant.scopes = session, scopes
    reply: Any = asked.server.create_authorization_response(asked.request, grant_user=session, grant=grant)
    return _see_other(reply)


def _see_other(reply: Reply) -> Reply:
    """303: a browser must never repeat the person's POST, with its body, at the client (RFC 9700 §4.12)."""
    assert reply.location is not None
    return Reply(303, "", {"Location": reply.location, "Cache-Control": "no-store"})


def _target(uri: str) -> str:
    """Where a redirect URI leads, as a source of a content security policy: an origin, or an app's own scheme."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"{parts.scheme}:"


def _unknown_client() -> Refusal:
    return Refusal(400, "This application is not known here", "Its client_id is not in force. Nothing was sent to it.")
