"""What the rest of the system may ask of the authorization server."""

from app.platform.oauth.repository import OUTDATED
from app.platform.oauth.service.authentication import BearerAuthenticator, TokenAuthenticator
from app.platform.oauth.service.authorizing import Answer, Authorizing, Question, Refusal
from app.platform.oauth.service.clients import (
    IssuedClient,
    change_client,
    create_client,
    get_client,
    held_client,
    list_clients,
    revoke_client,
    rotate_secret,
)
from app.platform.oauth.service.ending import Endings, end_person_tokens, end_tenant_tokens
from app.platform.oauth.service.grants import person_claims
from app.platform.oauth.service.login import PeopleLogin
from app.platform.oauth.service.metadata import metadata_of
from app.platform.oauth.service.origins import ClientOrigins
from app.platform.oauth.service.protocol import Reply
from app.platform.oauth.service.revocations import Revocations
from app.platform.oauth.service.server import AuthorizationService
from app.platform.oauth.service.signing import Keys, Rotated, ensure_keys, rotate_keys

__all__ = [
    "OUTDATED",
    "Answer",
    "AuthorizationService",
    "Authorizing",
    "BearerAuthenticator",
    "ClientOrigins",
    "Endings",
    "IssuedClient",
    "Keys",
    "PeopleLogin",
    "Question",
    "Refusal",
    "Reply",
    "Revocations",
    "Rotated",
    "TokenAuthenticator",
    "change_client",
    "create_client",
    "end_person_tokens",
    "end_tenant_tokens",
    "ensure_keys",
    "get_client",
    "held_client",
    "list_clients",
    "metadata_of",
    "person_claims",
    "revoke_client",
    "rotate_keys",
    "rotate_secret",
]
