"""OAuth clients as the API shows them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.kernel.ids import encode_id
from app.kernel.orders import Mode
from app.platform.oauth.domain import CLIENT, AuthMethod, GrantType, NewClient
from app.platform.oauth.tables import OAuthClient
from app.web.models import ApiModel

_EXAMPLE: JsonDict = {
    "id": "ocl_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "client_id": "oc_8r2m0x9c4tqa7b1v5n3k",
    "name": "charting app",
    "auth_method": "client_secret_basic",
    "grant_types": ["authorization_code", "refresh_token"],
    "redirect_uris": ["https://charts.example.com/callback"],
    "scopes": ["openid", "positions:read"],
    "cors_origins": ["https://charts.example.com"],
    "jwks": None,
    "mode": "test",
    "status": "active",
    "created_at": "2026-01-30T12:00:00Z",
    "revoked_at": None,
}
_CREATE: JsonDict = {
    "name": "order robot",
    "auth_method": "client_secret_basic",
    "grant_types": ["client_credentials"],
    "scopes": ["orders:read", "orders:write"],
}
_Short = Annotated[str, Field(max_length=64)]
_Uri = Annotated[str, Field(max_length=400)]
_Name = Annotated[str, Field(min_length=1, max_length=80, description="Shown to people who are asked to consent.")]
_Scopes = Annotated[
    list[_Short], Field(min_length=1, max_length=64, description="The most it may ask for: at most your own.")
]
_RedirectUris = Annotated[
    list[_Uri], Field(max_length=10, description="Where codes may be sent, compared character by character.")
]
_Origins = Annotated[list[_Uri], Field(max_length=10, description="Where its browser code comes from.")]


class CreateOAuthClient(ApiModel):
    """What `POST /v1/oauth_clients` takes. The new client has the mode of the credential that makes it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CREATE]})

    name: _Name
    auth_method: AuthMethod = Field(description="How it proves itself; `none` for apps on their user's own device.")
    grant_types: Annotated[list[GrantType], Field(min_length=1, max_length=3, description="What it may exchange.")]
    scopes: _Scopes
    redirect_uris: _RedirectUris = Field(default_factory=list)
    cors_origins: _Origins = Field(default_factory=list)
    jwks: dict[str, Any] | None = Field(
        default=None, description="Its public keys (RFC 7517), for `private_key_jwt`: EC P-256 or RSA, each with a kid."
    )

    def asked(self) -> NewClient:
        return NewClient(
            name=self.name,
            auth_method=self.auth_method,
            grant_types=tuple(self.grant_types),
            scopes=tuple(self.scopes),
            redirect_uris=tuple(self.redirect_uris),
            cors_origins=tuple(self.cors_origins),
            jwks=self.jwks,
        )


class ChangeOAuthClient(ApiModel):
    """What `PATCH /v1/oauth_clients/{id}` takes; what is left out stays. How it proves itself, its grants and its mode
    are for life."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "charts", "scopes": ["positions:read"]}]})

    name: _Name | None = None
    scopes: _Scopes | None = None
    redirect_uris: _RedirectUris | None = None
    cors_origins: _Origins | None = None


class OAuthClientOut(ApiModel):
    """A client without its secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    client_id: str = Field(description="What the client calls itself; public.")
    name: str
    auth_method: AuthMethod
    grant_types: list[GrantType]
    redirect_uris: list[str]
    scopes: list[str]
    cors_origins: list[str]
    jwks: dict[str, Any] | None
    mode: Mode
    status: str = Field(description="`active` or `revoked`.")
    created_at: datetime
    revoked_at: datetime | None

    @classmethod
    def of(cls, row: OAuthClient) -> "OAuthClientOut":
        return cls(
            id=encode_id(CLIENT, row.id),
            client_id=row.client_id,
            name=row.name,
            auth_method=AuthMethod(row.auth_method),
            grant_types=[GrantType(grant) for grant in row.grant_types],
            redirect_uris=row.redirect_uris,
            scopes=row.scopes,
            cors_origins=row.cors_origins,
            jwks=row.jwks,
            mode=Mode(row.mode),
            status=row.status,
            created_at=row.created_at,
            revoked_at=row.revoked_at,
        )


class NewOAuthClientOut(OAuthClientOut):
    """A client with its secret, shown this once."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE | {"client_secret": "cs_8r2m0x9c4tqa7b1v…"}]})

    client_secret: str | None = Field(description="Null for a client that proves itself by key, or not at all.")
