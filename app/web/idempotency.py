"""Decides what `Idempotency-Key` means: the same request gets the same answer for a day, and acts once (decision 0013).

A route declares `idempotent` (one Tx) or takes `RequestClaim` and hands it to a service that writes in one call. The
answer is stored by `web.routing`, in the request's own transaction, when the handler has made it.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from sqlalchemy.ext.asyncio import AsyncSessionTransaction
from starlette.responses import Response

from app.infra.database import Tx
from app.infra.idempotency.keys import Answer, Claim, begin, claim, finish
from app.kernel.errors import DomainError, Kind
from app.web.auth import authenticated
from app.web.context import now
from app.web.transaction import OpenTx

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEPT_HEADERS = ("content-type", "location", "etag")
_UNSETTLED = (Kind.LIMITED, Kind.UNAVAILABLE, Kind.UNAUTHENTICATED)
"""Refusals that say nothing about the request itself: the same key may ask again, after a new login, for example."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=HEADER,
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="Yours, new for each thing you want done: repeating the request with it within 24 hours repeats "
        "the answer (`Idempotent-Replayed: true`) and does nothing again.",
        examples=["3f1c9d0e-order-17"],
    ),
]


class Replay(Exception):
    """Ends a request whose key was answered before; `web.routing` sends `response`."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


@dataclass(slots=True)
class _Held:
    tx: Tx
    claim: Claim
    effect: AsyncSessionTransaction
    at: datetime
    secret: bool


async def request_claim(
    request: Request,
    at: Annotated[datetime, Depends(now)],
    key: IdempotencyKey = None,
) -> Claim | None:
    """The claim that the header makes, if it was sent; nothing is looked up yet."""
    if key is None:
        return None
    principal = await authenticated(request)
    route = f"{request.method} {request.scope['route'].path_format}"
    return claim(principal, route=route, key=key, fingerprint=await _fingerprint(request), now=at)


RequestClaim = Annotated[Claim | None, Depends(request_claim)]


@dataclass(frozen=True, slots=True)
class Idempotent:
    """A dependency that holds the caller's key. `secret`: the answer shows a secret, so it is not kept: a repetition
    does nothing and says that the secret was shown once."""

    secret: bool = False

    async def __call__(
        self, request: Request, tx: OpenTx, wanted: RequestClaim, at: Annotated[datetime, Depends(now)]
    ) -> None:
        if wanted is None:
            return
        known = await begin(tx, wanted)
        if known is not None:
            raise Replay(_again(known))
        request.state.held = _Held(tx, wanted, await tx.session.begin_nested(), at, self.secret)


idempotent = Depends(Idempotent())
idempotent_secret = Depends(Idempotent(secret=True))


def _again(known: Answer) -> Response:
    if known.body is None:
        where = known.headers.get("location", "")
        raise DomainError(
            "secret_already_shown",
            Kind.CONFLICT,
            "This request was carried out before, and its answer showed a secret that is not kept. If you do not have "
            f"it, ask for another with a new key{', and delete what was made at ' + where if where else ''}.",
            param=HEADER,
        )
    return Response(known.body, known.status, {**known.headers, REPLAYED: "true"})


async def settle(request: Request, response: Response) -> None:
    """Keep the answer of a request that holds a key, in the transaction of what it did."""
    held: _Held | None = getattr(request.state, "held", None)
    if held is None:
        return
    await held.effect.commit()  # of the savepoint; the transaction is still open
    await _keep(held, response)


async def settle_refusal(request: Request, error: DomainError, response: Response) -> bool:
    """Take back what was done, and keep the refusal. False when there is no key, or nothing was decided for good."""
    held: _Held | None = getattr(request.state, "held", None)
    if held is None or error.kind in _UNSETTLED:
        return False
    await held.effect.rollback()
    held.tx.forget()
    await _keep(held, response)
    return True


async def _keep(held: _Held, response: Response) -> None:
    headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    kept_out = held.secret and response.status_code < 400
    answer = Answer(response.status_code, headers, None if kept_out else bytes(response.body))
    await finish(held.tx, held.claim, answer, now=held.at)


def forgo(request: Request) -> None:
    """Keep nothing of this request: a dry run does not use its key up."""
    request.state.held = None


async def _fingerprint(request: Request) -> str:
    """SHA-256 of path, query and body; JSON that means the same is the same, however it is spelt."""
    content: Any = await request.body()
    if content and "json" in request.headers.get("content-type", ""):
        content = json.dumps(await request.json(), sort_keys=True, separators=(",", ":")).encode()
    query = sorted(request.query_params.multi_items())
    asked = json.dumps([request.url.path, query]).encode() + b"\x00" + content
    return hashlib.sha256(asked).hexdigest()
