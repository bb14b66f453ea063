"""Decides what is told of the authorization server."""

from app.kernel.events import EventType, Named
from app.platform.identity.domain import CredentialCreated
from app.platform.oauth.domain import CLIENT

EVENTS = (
    EventType("oauth_client.created", CLIENT, "An OAuth client was registered.", CredentialCreated),
    EventType("oauth_client.secret_rotated", CLIENT, "An OAuth client got a new secret.", Named),
    EventType("oauth_client.revoked", CLIENT, "An OAuth client was revoked, and all that was granted to it.", Named),
)
