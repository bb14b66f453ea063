"""What the rest of the system may ask of identity."""

from app.platform.identity.service.authentication import KeyAuthenticator
from app.platform.identity.service.keys import IssuedKey, TenantKeys, create_key, list_keys, revoke_key
from app.platform.tenancy.domain import PERMISSIONS

__all__ = ["PERMISSIONS", "IssuedKey", "KeyAuthenticator", "TenantKeys", "create_key", "list_keys", "revoke_key"]
