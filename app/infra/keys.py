"""Decides where the keys that sign and seal come from: one secret of the deployment, a derived key for each purpose."""

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.infra.settings import Settings, SettingsError

_FILE = "secret.key"


def deployment_secret(settings: Settings) -> bytes:
    """`MANDI_SECRET_KEY`; on a local stack without one, a file in the data folder, made at the first start.

    Raises `SettingsError` in production when it is not set: every gateway must have the same one.
    """
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value().encode()
    if settings.environment != "local":
        raise SettingsError("MANDI_SECRET_KEY: is required in production (32 characters or more, equal everywhere)")
    return _local_secret(settings.data_dir / _FILE)


def _local_secret(path: Path) -> bytes:
    """The file's secret. Of two processes that start at once, one makes it whole and both read the same."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{_FILE}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_urlsafe(32).encode())
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_bytes()


def derive_key(secret: bytes, purpose: str) -> bytes:
    """32 bytes for one purpose (HKDF-SHA256, RFC 5869): a key that leaks tells nothing of another."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"mandi/{purpose}".encode()).derive(secret)
