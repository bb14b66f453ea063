"""Decides what discovery promises (RFC 8414, OpenID Connect Discovery): what this process really does, no more."""

from typing import Any

from app.platform.identity.service import PERMISSIONS
from app.platform.oauth.domain import ACCESS_ALGORITHM, CLIENT_ALGORITHMS, ID_ALGORITHM, IDENTITY_SCOPES
from app.platform.oauth.service.protocol import CONFIDENTIAL, EVERY_METHOD

JWKS_PATH = "/.well-known/jwks.json"


def metadata_of(issuer: str, *, people: bool) -> dict[str, Any]:
    """The document. `people`: whether anybody can sign in here; without, only clients act, for themselves."""
    document: dict[str, Any] = {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/oauth2/token",
        "jwks_uri": issuer + JWKS_PATH,
        "revocation_endpoint": f"{issuer}/oauth2/revoke",
        "introspection_endpoint": f"{issuer}/oauth2/introspect",
        "token_endpoint_auth_methods_supported": EVERY_METHOD,
        "token_endpoint_auth_signing_alg_values_supported": list(CLIENT_ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": EVERY_METHOD,
        "revocation_endpoint_auth_signing_alg_values_supported": list(CLIENT_ALGORITHMS),
        "introspection_endpoint_auth_methods_supported": CONFIDENTIAL,
        "introspection_endpoint_auth_signing_alg_values_supported": list(CLIENT_ALGORITHMS),
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "scopes_supported": sorted(PERMISSIONS),
        "access_token_signing_alg_values_supported": [ACCESS_ALGORITHM],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ID_ALGORITHM],
    }
    if people:
        document |= {
            "authorization_endpoint": f"{issuer}/oauth2/authorize",
            "userinfo_endpoint": f"{issuer}/oauth2/userinfo",
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "code_challenge_methods_supported": ["S256"],
            "prompt_values_supported": ["none", "login", "consent"],
            "scopes_supported": [*IDENTITY_SCOPES, *sorted(PERMISSIONS)],
            "claims_supported": [
                "iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "amr", "at_hash", "tid", "email",
                "email_verified",
            ],
            "authorization_response_iss_parameter_supported": True,
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
            "claims_parameter_supported": False,
        }  # fmt: skip
    return document
