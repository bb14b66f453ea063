"""Decides what is told of the authorization server."""

from pydantic import Field

from app.kernel.events import EventPayload, EventType, Named
from app.platform.identity.domain import CredentialCreated
from app.platform.oauth.domain import CLIENT


class ClientChanged(EventPayload):
    """The client as it is afterwards."""

    name: str = Field(description="Its name.")
    scopes: list[str] = Field(description="The most it may ask for.")
    redirect_uris: list[str] = Field(description="Where codes may be sent.")
    cors_origins: list[str] = Field(description="Where its browser code comes from.")


EVENTS = (
    EventType("oauth_client.created", CLIENT, "An OAuth client was registered.", CredentialCreated),
    EventType("oauth_client.changed", CLIENT, "An OAuth client was changed.", ClientChanged),
    EventType("oauth_client.secret_rotated", CLIENT, "An OAuth client got a new secret.", Named),
    EventType("oauth_client.revoked", CLIENT, "An OAuth client was revoked, and all that was granted to it.", Named),
)
