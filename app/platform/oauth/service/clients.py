"""Decides how a tenant's applications are registered, listed, changed and ended. A secret leaves this module once.

Whoever changes one could have registered it as it is afterwards: otherwise an application would lend its scopes to
whoever may redirect its codes or renew its secret.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from app.infra.database import Tx
from app.kernel.errors import conflict, invalid, not_found
from app.kernel.ids import encode_id
from app.kernel.orders import Mode
from app.platform.identity.domain import check_grant, encode_base32
from app.platform.oauth import repository
from app.platform.oauth.domain import (
    CLIENT,
    IDENTITY_SCOPES,
    AuthMethod,
    GrantType,
    NewClient,
    check_client,
    client_mark,
    epoch_mark,
    hash_secret,
)
from app.platform.oauth.tables import OAuthClient
from app.platform.tenancy.domain import check_new_credential
from app.platform.tenancy.service import held
from app.web.cursors import Cursor, Slice

_ID_LENGTH = 20
_SECRET_BYTES = 32
_SECRET_LENGTH = 52


@dataclass(frozen=True, slots=True)
class IssuedClient:
    """A client with its new secret, to be shown once; None for one that proves itself otherwise."""

    row: OAuthClient
    secret: str | None = field(repr=False)


async def create_client(tx: Tx, client: NewClient, *, now: datetime, mode: Mode = Mode.TEST) -> IssuedClient:
    """A new client of the transaction's tenant.

    It has the mode of the caller's credential and at most the caller's permissions; without a caller (the seed),
    `mode` and any. Raises what `check_client`, `check_grant` and `check_new_credential` raise, `invalid_jwks`,
    `openid_needs_a_person`.
    """
    check_client(client)
    _check_keys(client)
    caller = tx.principal
    if caller is not None:
        check_new_credential(caller.auth_time, caller.mode, now=now)
    scopes = await _check_scopes(tx, client.scopes, client.grant_types)
    secret = _new_secret() if client.auth_method.has_secret else None
    row = OAuthClient(
        tenant_id=tx.tenant_id,
        client_id=f"oc_{encode_base32(secrets.token_bytes(13), _ID_LENGTH)}",
        name=client.name,
        auth_method=client.auth_method.value,
        secret_hash=hash_secret(secret) if secret else None,
        jwks=dict(client.jwks) if client.jwks is not None else None,
        grant_types=[grant.value for grant in dict.fromkeys(client.grant_types)],
        redirect_uris=list(dict.fromkeys(client.redirect_uris)),
        scopes=scopes,
        cors_origins=list(dict.fromkeys(client.cors_origins)),
        mode=(caller.mode if caller else mode).value,
        created_by=caller.key_id if caller else None,
    )
    tx.add(row)
    tx.emit("oauth_client.created", row.id, {"name": row.name, "scopes": row.scopes, "mode": row.mode})
    await tx.flush()
    return IssuedClient(row, secret)


async def _check_scopes(tx: Tx, scopes: Sequence[str], grant_types: Sequence[str]) -> list[str]:
    """`scopes` sorted, when the caller may hand them on. Raises `openid_needs_a_person` and what `check_grant` says."""
    identity = sorted(set(scopes) & IDENTITY_SCOPES.keys())
    if identity and GrantType.CODE not in grant_types:
        raise invalid(
            "openid_needs_a_person",
            f"{identity[0]} is about a person: add authorization_code to grant_types, or drop it.",
            param="scopes",
        )
    permissions = [scope for scope in scopes if scope not in IDENTITY_SCOPES]
    granted = check_grant(permissions, await held(tx)) if permissions or not identity else []
    return sorted([*identity, *granted])


def _check_keys(client: NewClient) -> None:
    if client.jwks is None:
        return
    try:
        KeySet.import_key_set({"keys": client.jwks["keys"]})
    except (JoseError, ValueError, TypeError, KeyError):
        raise invalid("invalid_jwks", "A key of jwks cannot be read (RFC 7517).", param="jwks") from None


def _new_secret() -> str:
    return f"cs_{encode_base32(secrets.token_bytes(_SECRET_BYTES), _SECRET_LENGTH)}"


async def get_client(tx: Tx, row_id: UUID) -> OAuthClient:
    """Raises `oauth_client_not_found`."""
    row = await tx.get(OAuthClient, row_id)
    if row is None:
        raise not_found("oauth_client", encode_id(CLIENT, row_id))
    return row


async def held_client(tx: Tx, row_id: UUID) -> OAuthClient:
    """The client as it stays until `tx` ends: whoever else changes it waits. Raises `oauth_client_not_found`."""
    row = await repository.locked_client(tx, row_id)
    if row is None:
        raise not_found("oauth_client", encode_id(CLIENT, row_id))
    return row


async def list_clients(tx: Tx, cursor: Cursor) -> Slice[OAuthClient]:
    """One page of the tenant's clients, newest first, revoked ones too."""
    return cursor.cut(await repository.clients(tx, cursor))


async def rotate_secret(tx: Tx, row_id: UUID, *, now: datetime) -> IssuedClient:
    """A new secret; the old one ends at the commit.

    Raises `client_revoked`, `client_has_no_secret` and what `check_new_credential` and `check_grant` say.
    """
    row = await _changeable(tx, row_id, now=now)
    await _check_scopes(tx, row.scopes, row.grant_types)
    if not AuthMethod(row.auth_method).has_secret:
        raise conflict("client_has_no_secret", f"A client of {row.auth_method} has no secret to rotate.")
    secret = _new_secret()
    row.secret_hash = hash_secret(secret)
    tx.emit("oauth_client.secret_rotated", row.id, {"name": row.name})
    await tx.flush()
    return IssuedClient(row, secret)


async def change_client(
    tx: Tx,
    row_id: UUID,
    *,
    name: str | None = None,
    scopes: Sequence[str] | None = None,
    redirect_uris: Sequence[str] | None = None,
    cors_origins: Sequence[str] | None = None,
    now: datetime,
) -> tuple[OAuthClient, list[str]]:
    """Change what is given. Where a scope is taken away, every token that the client has so far ends.

    Returns the marks to publish once the transaction is committed. Raises `client_revoked` and what `create_client`
    does. What changes nothing tells nothing.
    """
    row = await _changeable(tx, row_id, now=now)
    wanted = await _check_scopes(tx, row.scopes if scopes is None else scopes, row.grant_types)
    after = {
        "name": row.name if name is None else name,
        "scopes": wanted,
        "redirect_uris": row.redirect_uris if redirect_uris is None else list(dict.fromkeys(redirect_uris)),
        "cors_origins": row.cors_origins if cors_origins is None else list(dict.fromkeys(cors_origins)),
    }
    check_client(
        NewClient(
            name=row.name,
            auth_method=AuthMethod(row.auth_method),
            grant_types=tuple(GrantType(grant) for grant in row.grant_types),
            scopes=tuple(wanted),
            redirect_uris=tuple(after["redirect_uris"]),
            cors_origins=tuple(after["cors_origins"]),
            jwks=row.jwks,
        )
    )
    lost = set(row.scopes) - set(wanted)
    if any(getattr(row, column) != value for column, value in after.items()):
        for column, value in after.items():
            setattr(row, column, value)
        tx.emit("oauth_client.changed", row.id, after)
        await tx.flush()
    if not lost:
        return row, []
    ended = await repository.next_epoch(tx, row.id)
    return row, [epoch_mark(row.id, ended, within=row.tenant_id)]


async def _changeable(tx: Tx, row_id: UUID, *, now: datetime) -> OAuthClient:
    """The client, locked and in force, for a caller who may make credentials of its mode."""
    row = await held_client(tx, row_id)
    if tx.principal is not None:
        check_new_credential(tx.principal.auth_time, Mode(row.mode), now=now)
    if row.status != "active":
        raise conflict("client_revoked", "This client was revoked. Register another one.")
    return row


async def revoke_client(tx: Tx, row_id: UUID, *, now: datetime) -> tuple[OAuthClient, list[str]]:
    """End a client for ever, and all that was granted to it; a second time changes nothing.

    Returns the marks to publish once the transaction is committed. Raises `oauth_client_not_found`.
    """
    row = await held_client(tx, row_id)
    if row.status == "active":
        row.status = "revoked"
        row.revoked_at = now
        await repository.revoke_grants(tx, at=now, reason="client_revoked", client_ref=row.id)
        tx.emit("oauth_client.revoked", row.id, {"name": row.name})
    return row, [client_mark(row.id)]


async def revoke_clients(tx: Tx, *, now: datetime) -> list[str]:
    """End every client of the transaction's tenant for ever; the marks to publish once it is committed, one each.

    The grants are the caller's to end.
    """
    ended = await repository.revoke_clients(tx, at=now)
    for row_id, name in ended:
        tx.emit("oauth_client.revoked", row_id, {"name": name})
    return [client_mark(row_id) for row_id, _ in ended]
