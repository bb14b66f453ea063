"""API keys as the API shows them."""

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field
from pydantic.config import JsonDict

from app.kernel.ids import encode_id
from app.kernel.orders import Mode
from app.platform.identity.tables import ApiKey
from app.web.models import ApiModel

PREFIX = "key"
_EXAMPLE: JsonDict = {
    "id": "key_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "key_id": "8r2m0x9c4tqa",
    "name": "order robot",
    "scopes": ["orders:read", "orders:write"],
    "mode": "test",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": "2026-01-31T09:15:00Z",
    "created_at": "2026-01-30T12:00:00Z",
}


class CreateApiKey(ApiModel):
    """What `POST /v1/api_keys` takes. The new key has the mode of the key that makes it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "order robot", "scopes": ["orders:read", "orders:write"]}]}
    )

    name: Annotated[str, Field(min_length=1, max_length=80, description="What the key is for.")]
    scopes: Annotated[
        list[Annotated[str, Field(max_length=64)]], Field(max_length=64, description="At most those of your own key.")
    ]
    expires_at: AwareDatetime | None = Field(default=None, description="When it ends by itself; null for never.")


class ApiKeyOut(ApiModel):
    """A key without its secret. `key_id` is the part of the key that tells which it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    key_id: str
    name: str
    scopes: list[str]
    mode: Mode
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="Written every half minute.")
    created_at: datetime

    @classmethod
    def of(cls, row: ApiKey) -> "ApiKeyOut":
        return cls(
            id=encode_id(PREFIX, row.id),
            key_id=row.key_id,
            name=row.name,
            scopes=row.scopes,
            mode=Mode(row.mode),
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            last_used_at=row.last_used_at,
            created_at=row.created_at,
        )


class NewApiKeyOut(ApiKeyOut):
    """A key with its secret, shown this once."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE | {"secret": "sk_test_in1_8r2m0x9c4tqa_…"}]})

    secret: str = Field(description="The whole key: `Authorization: Bearer <secret>`. Store it now.")
