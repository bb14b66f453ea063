"""Decides how a key is made, listed and revoked. Its secret leaves this module once and is stored nowhere."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.infra.database import Tx
from app.kernel.errors import invalid, not_found
from app.kernel.ids import encode_id
from app.kernel.orders import Mode
from app.platform.identity import repository
from app.platform.identity.domain import (
    ID_LENGTH,
    SECRET_BYTES,
    check_grant,
    encode_base32,
    format_key,
    hash_key,
)
from app.platform.identity.tables import ApiKey
from app.platform.plans.domain import QuotaName
from app.platform.plans.service import consume, release
from app.platform.tenancy.domain import check_new_credential
from app.platform.tenancy.service import held
from app.web.cursors import Cursor, Slice


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key with its secret. `secret` is the whole key, to be shown once."""

    row: ApiKey
    secret: str

    def __repr__(self) -> str:
        return f"IssuedKey({self.row.key_id})"


async def create_key(
    tx: Tx,
    *,
    name: str,
    scopes: list[str],
    cell: str,
    now: datetime,
    mode: Mode | None = None,
    expires_at: datetime | None = None,
    user_id: UUID | None = None,
) -> IssuedKey:
    """A new key of the transaction's tenant.

    A caller's key passes on its own mode, the person who answers for it and at most what both may do; without a caller
    (the seed) `mode` and `user_id` are taken as given, `test` and nobody by default. Raises `unknown_scope`,
    `no_scopes`, `scope_not_held`, `expired_already`, `quota_exceeded`, and what `check_new_credential` says.
    """
    caller = tx.principal
    if caller is not None:
        check_new_credential(caller.auth_time, caller.mode, now=now)
    granted = check_grant(scopes, await held(tx))
    if expires_at is not None and expires_at <= now:
        raise invalid("expired_already", "expires_at must lie in the future.", param="expires_at")
    await consume(tx, QuotaName.API_KEYS)
    used_mode = caller.mode if caller else mode or Mode.TEST
    key_id = encode_base32(secrets.token_bytes(8), ID_LENGTH)
    secret = format_key(used_mode, cell, key_id, secrets.token_bytes(SECRET_BYTES))
    row = ApiKey(
        tenant_id=tx.tenant_id,
        key_id=key_id,
        secret_hash=hash_key(secret),
        name=name,
        scopes=granted,
        mode=used_mode.value,
        expires_at=expires_at,
        created_by=caller.key_id if caller else None,
        user_id=caller.user_id if caller else user_id,
    )
    tx.add(row)
    tx.emit("api_key.created", row.id, {"name": name, "scopes": granted, "mode": used_mode.value})
    await tx.flush()
    return IssuedKey(row, secret)


async def list_keys(tx: Tx, cursor: Cursor) -> Slice[ApiKey]:
    """One page of the tenant's keys, newest first, revoked ones too."""
    return cursor.cut(await repository.keys(tx, cursor))


async def revoke_key(tx: Tx, row_id: UUID, *, now: datetime) -> ApiKey:
    """End a key for ever; a second time changes nothing. Every process obeys within 5 s. Raises `api_key_not_found`."""
    row = await tx.get(ApiKey, row_id)
    if row is None:
        raise not_found("api_key", encode_id("key", row_id))
    await tx.session.refresh(row, with_for_update={"key_share": True})  # two may revoke it at once
    if row.revoked_at is None:
        await release(tx, QuotaName.API_KEYS)
        row.revoked_at = now
        tx.emit("api_key.revoked", row.id, {"name": row.name})
    return row


class TenantKeys:
    """All keys of a tenant: tenancy's port `Credentials`."""

    async def revoke_all(self, tx: Tx, *, now: datetime) -> int:
        """End every key of the transaction's tenant for ever; how many there were."""
        rows = await repository.keys_in_force(tx)
        for row in rows:
            await revoke_key(tx, row.id, now=now)
        return len(rows)
