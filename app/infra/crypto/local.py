"""Decides where the key-encryption keys of a local stack lie: one file for its owner only, never in production."""

import asyncio
import fcntl
import json
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.infra.crypto.envelope import KEY_BYTES, NONCE_BYTES, UnsealError, bind
from app.infra.crypto.ports import Context, Wrapped
from app.infra.settings import SettingsError
from app.kernel.errors import DomainError, Kind

FILE = "key-encryption-keys.json"
_PREFIX = "local:"


def keys_unavailable(message: str) -> DomainError:
    """The keys cannot be reached just now; nothing was sealed or opened."""
    return DomainError("keys_unavailable", Kind.UNAVAILABLE, message)


class LocalKeys:
    """A ring of AES-256 keys in `path`, made at the first use with mode 0600. Implements `KeyKeeper`.

    Read anew for each call, so that a rotation by another process counts at once; data keys are cached above it.
    """

    def __init__(self, path: Path, *, environment: str) -> None:
        if environment != "local":
            raise SettingsError(f"{path.name} keeps keys beside what they protect: only MANDI_ENVIRONMENT=local may")
        self._path = path

    async def current(self) -> str:
        return str((await asyncio.to_thread(self._ring))["current"])

    async def wrap(self, key: bytes, context: Context) -> Wrapped:
        ring = await asyncio.to_thread(self._ring)
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCM(_key(ring, ring["current"])).encrypt(nonce, key, _bound(context))
        return Wrapped(nonce + sealed, ring["current"])

    async def unwrap(self, wrapped: Wrapped, context: Context) -> bytes:
        ring = await asyncio.to_thread(self._read)
        if ring is None or wrapped.kek_id not in ring["keys"]:
            raise keys_unavailable(
                f"{self._path.name} in the data folder lacks the key {wrapped.kek_id}. Restore that file: what was "
                "sealed cannot be opened without it."
            )
        nonce, sealed = wrapped.data[:NONCE_BYTES], wrapped.data[NONCE_BYTES:]
        try:
            return AESGCM(_key(ring, wrapped.kek_id)).decrypt(nonce, sealed, _bound(context))
        except InvalidTag:
            raise UnsealError("this data key was altered, or belongs to another row") from None

    async def rotate(self) -> str:
        return await asyncio.to_thread(self._rotate)

    def _rotate(self) -> str:
        with self._locked():
            ring = self._read() or {"keys": {}}
            self._write(_extended(ring))
            return str(self._read_existing()["current"])

    def _ring(self) -> dict[str, Any]:
        """The ring, with its first key when there is none."""
        ring = self._read()
        if ring is not None:
            return ring
        with self._locked():
            if self._read() is None:
                self._write(_extended({"keys": {}}))
        return self._read_existing()

    def _read_existing(self) -> dict[str, Any]:
        ring = self._read()
        if ring is None:
            raise keys_unavailable(f"{self._path.name} vanished from the data folder; restore it.")
        return ring

    def _read(self) -> dict[str, Any] | None:
        try:
            with self._path.open() as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise keys_unavailable(f"others can read {self._path.name}: run `chmod 600` on it and try again.")
                ring = json.load(file)
                return {"current": str(ring["current"]), "keys": dict(ring["keys"])}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError):
            raise keys_unavailable(f"{self._path.name} in the data folder cannot be read; restore it.") from None

    def _write(self, ring: dict[str, Any]) -> None:
        part = self._path.with_name(f".{self._path.name}.part")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(ring, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time; the lock of a killed one is gone with it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_name(f".{self._path.name}.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class NoKeys:
    """The keeper of a production without a key management service: refuses, so nothing is stored half protected."""

    async def current(self) -> str:
        raise self._refusal()

    async def wrap(self, key: bytes, context: Context) -> Wrapped:
        raise self._refusal()

    async def unwrap(self, wrapped: Wrapped, context: Context) -> bytes:
        raise self._refusal()

    async def rotate(self) -> str:
        raise self._refusal()

    def _refusal(self) -> DomainError:
        return keys_unavailable("Secrets cannot be stored or read here: the operator has to set MANDI_KMS_KEY_ARN.")


def _extended(ring: dict[str, Any]) -> dict[str, Any]:
    """`ring` with a new current key; every older one stays, so that what it wrapped still unwraps."""
    key_id = _PREFIX + secrets.token_hex(6)
    return {"current": key_id, "keys": {**ring["keys"], key_id: b64encode(os.urandom(KEY_BYTES)).decode()}}


def _key(ring: dict[str, Any], key_id: str) -> bytes:
    return b64decode(ring["keys"][key_id])


def _bound(context: Context) -> bytes:
    return bind(b"data-key", *(part.encode() for pair in sorted(context.items()) for part in pair))
