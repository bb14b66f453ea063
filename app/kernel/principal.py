"""Who calls: what every layer below the web may know about the caller."""

from dataclasses import dataclass
from uuid import UUID

from app.kernel.orders import Mode


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. `key_id` names the credential: an API key, or the OAuth client's row; `scopes` are
    permission strings such as `orders:write`. `user_id`: the person behind an access token; `token_id`: its `jti`;
    `session_id`: the login it came from."""

    tenant_id: UUID
    key_id: UUID
    mode: Mode
    scopes: frozenset[str]
    source_ip: str | None = None
    request_id: str | None = None
    user_id: UUID | None = None
    token_id: str | None = None
    session_id: str | None = None
