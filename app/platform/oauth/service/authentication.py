"""Decides whether a bearer credential is a caller: an access token by its shape, else an API key."""

import hashlib
import time
from collections.abc import Callable
from datetime import datetime

from app.kernel.principal import Principal
from app.platform.oauth.domain import AccessToken, check_in_force, check_token_form, is_token_shaped, refused_token
from app.platform.oauth.service.revocations import Revocations, Standing
from app.platform.oauth.service.signing import Keys
from app.platform.oauth.service.tokens import verify_access_token
from app.web.context import Authenticator

CACHE_SECONDS = 60.0
"""How long a good signature is remembered. Expiry, its key's place in the ring and revocation are asked each time."""

CACHE_TOKENS = 10_000


class TokenAuthenticator:
    """Verifies access tokens. Keeps digests of good ones, never a token and never a failure."""

    def __init__(
        self,
        keys: Keys,
        revocations: Revocations,
        *,
        issuer: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._revocations = revocations
        self._issuer = issuer
        self._monotonic = monotonic
        self._verified: dict[bytes, tuple[float, AccessToken]] = {}

    async def verify(self, credential: str, *, now: datetime) -> tuple[AccessToken, Standing]:
        """The token and whether it was revoked. Raises `invalid_token`, `token_expired`."""
        digest = hashlib.sha256(check_token_form(credential).encode()).digest()
        ring = await self._keys.ring(now=now)
        until, token = self._verified.get(digest, (0.0, None))
        if token is None or until <= self._monotonic() or token.kid not in ring.verifiers:
            self._verified.pop(digest, None)
            token = verify_access_token(credential, ring, issuer=self._issuer, now=now)
            while len(self._verified) >= CACHE_TOKENS:
                del self._verified[next(iter(self._verified))]
            self._verified[digest] = (self._monotonic() + CACHE_SECONDS, token)
        check_in_force(token, now=now)
        return token, await self._revocations.standing(token)

    async def authenticate(self, credential: str, *, now: datetime) -> Principal:
        """The caller. Raises `invalid_token`, also for a revoked one, and `token_expired`.

        While nobody can say whether it was revoked, the caller may read and not write (`Requires` of `web.auth`).
        """
        token, standing = await self.verify(credential, now=now)
        if standing is Standing.REVOKED:
            raise refused_token()
        return Principal(
            tenant_id=token.tenant_id,
            key_id=token.client_ref,
            mode=token.mode,
            scopes=token.scopes,
            user_id=token.user_id,
            token_id=token.jti,
            session_id=token.session_id,
            auth_time=token.auth_time,
            revocation_known=standing is not Standing.UNKNOWN,
        )


class BearerAuthenticator:
    """Sends a credential to whoever verifies its kind. Implements `web`'s `Authenticator`."""

    def __init__(self, keys: Authenticator, tokens: TokenAuthenticator) -> None:
        self._keys = keys
        self._tokens = tokens

    async def authenticate(self, credential: str, *, now: datetime) -> Principal:
        chosen: Authenticator = self._tokens if is_token_shaped(credential) else self._keys
        return await chosen.authenticate(credential, now=now)
