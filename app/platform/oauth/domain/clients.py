"""Decides what a client may be, and what of a stored one its token requests need."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.kernel.errors import invalid

_URI = re.compile(r"[\x21\x23-\x5b\x5d\x5f\x61-\x7a\x7e]{1,400}", re.ASCII)
_HTTPS = re.compile(r"https://[a-z0-9.-]+(:[0-9]{1,5})?(/[^#*]*)?(\?[^#*]*)?", re.ASCII)
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?(/[^#*]*)?", re.ASCII)
_PRIVATE_USE = re.compile(r"[a-z][a-z0-9-]*(\.[a-z0-9-]+)+:/[^#*]*", re.ASCII)
_ORIGIN = re.compile(r"https://[a-z0-9.-]+(:[0-9]{1,5})?|http://(localhost|127\.0\.0\.1)(:[0-9]{1,5})?", re.ASCII)


class AuthMethod(StrEnum):
    """How a client proves itself; `none` is a public client, an app on its user's own device."""

    BASIC = "client_secret_basic"
    POST = "client_secret_post"
    PRIVATE_KEY = "private_key_jwt"
    NONE = "none"

    @property
    def has_secret(self) -> bool:
        return self in (AuthMethod.BASIC, AuthMethod.POST)


class GrantType(StrEnum):
    CODE = "authorization_code"
    REFRESH = "refresh_token"
    CLIENT = "client_credentials"


@dataclass(frozen=True, slots=True)
class NewClient:
    """A client to be registered."""

    name: str
    auth_method: AuthMethod
    grant_types: tuple[GrantType, ...]
    scopes: tuple[str, ...]
    redirect_uris: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    jwks: Mapping[str, Any] | None = None


def check_client(client: NewClient) -> None:
    """Raises `grant_not_possible`, `redirect_uri_missing`, `invalid_redirect_uri`, `invalid_origin`, `invalid_jwks`."""
    if GrantType.CLIENT in client.grant_types and client.auth_method is AuthMethod.NONE:
        raise invalid(
            "grant_not_possible",
            "A client that cannot keep a secret cannot act on its own: drop client_credentials from grant_types.",
            param="grant_types",
        )
    if GrantType.REFRESH in client.grant_types and GrantType.CODE not in client.grant_types:
        raise invalid(
            "grant_not_possible",
            "refresh_token needs authorization_code: only a person's grant is refreshed.",
            param="grant_types",
        )
    if (GrantType.CODE in client.grant_types) != bool(client.redirect_uris):
        raise invalid(
            "redirect_uri_missing",
            "redirect_uris and authorization_code go together: name both, or neither.",
            param="redirect_uris",
        )
    for uri in client.redirect_uris:
        _check_redirect_uri(uri)
    for origin in client.cors_origins:
        if not _ORIGIN.fullmatch(origin):
            raise invalid(
                "invalid_origin",
                "cors_origins look like https://app.example.com, without a path.",
                param="cors_origins",
            )
    if (client.auth_method is AuthMethod.PRIVATE_KEY) != (client.jwks is not None):
        raise invalid("invalid_jwks", "jwks and private_key_jwt go together: name both, or neither.", param="jwks")
    if client.jwks is not None:
        _check_jwks(client.jwks)


def _check_redirect_uri(uri: str) -> None:
    forms = (_HTTPS, _LOOPBACK, _PRIVATE_USE)
    if not _URI.fullmatch(uri) or not any(form.fullmatch(uri) for form in forms):
        raise invalid(
            "invalid_redirect_uri",
            "redirect_uris are https://…, http://127.0.0.1… for programs, or com.example.app:/… for phones; whole, "
            "without fragment or wildcard.",
            param="redirect_uris",
        )


def _check_jwks(jwks: Mapping[str, Any]) -> None:
    keys = jwks.get("keys")
    if not isinstance(keys, list) or not 1 <= len(keys) <= 5 or not all(isinstance(key, dict) for key in keys):
        raise invalid("invalid_jwks", "jwks holds 1 to 5 public keys: {'keys': [...]}.", param="jwks")
    for key in keys:
        if "d" in key or "k" in key:
            raise invalid(
                "invalid_jwks", "jwks holds a private key. Send public keys only, and replace this one.", param="jwks"
            )
        if (key.get("kty"), key.get("crv")) not in (("EC", "P-256"), ("RSA", None)):
            raise invalid("invalid_jwks", "Keys of jwks are EC P-256 or RSA.", param="jwks")
    kids = [key.get("kid") for key in keys]
    if any(not isinstance(kid, str) or not 0 < len(kid) <= 64 for kid in kids) or len(set(kids)) < len(kids):
        raise invalid("invalid_jwks", "Every key of jwks needs its own kid of up to 64 characters.", param="jwks")


@dataclass(frozen=True, slots=True)
class StoredClient:
    """A client in force, and the epochs that a token made for it now belongs to."""

    tenant_id: UUID
    id: UUID
    client_id: str
    name: str
    auth_method: str
    secret_hash: bytes | None = field(repr=False)
    jwks: Mapping[str, Any] | None
    grant_types: Sequence[str]
    redirect_uris: Sequence[str]
    scopes: Sequence[str]
    cors_origins: Sequence[str]
    mode: str
    tenant_epoch: int
    client_epoch: int
