"""What the rest of the system may ask of identity."""

from app.platform.identity.domain import PERMISSIONS
from app.platform.identity.service.authentication import KeyAuthenticator
from app.platform.identity.service.keys import IssuedKey, create_key, list_keys, revoke_key

__all__ = ["PERMISSIONS", "IssuedKey", "KeyAuthenticator", "create_key", "list_keys", "revoke_key"]
