"""Who calls: what every layer below the web may know about the caller."""

from dataclasses import dataclass
from uuid import UUID

from app.kernel.orders import Mode


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. `key_id` names the API key; `scopes` are permission strings such as `orders:write`."""

    tenant_id: UUID
    key_id: UUID
    mode: Mode
    scopes: frozenset[str]
    source_ip: str | None = None
    request_id: str | None = None
