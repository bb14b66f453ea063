"""`/v1/stream`: one WebSocket for quotes and for a tenant's own orders.

The client speaks JSON texts with an `op`: auth, subscribe, unsubscribe, ping. The server answers with JSON texts that
have a `type`. `auth` takes a token and, to act for another tenant, the `act_as` grant; both may come as headers.

Opening it and every message after that cost a read, as a request does. A message too many is answered with an error
that has `retry_after` (seconds) and does nothing more; who goes on without a pause is cut off (1008).

Quotes are coalesced: a client that reads slowly gets the last price, not a backlog. Orders are never left out: one that
cannot be told within `SEND_SECONDS` ends the connection (1013), and the client comes back with the last position that
it has.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import aclosing, suppress
from time import monotonic
from typing import Any
from uuid import UUID

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError

from app.kernel.errors import DomainError, Kind, invalid
from app.kernel.ids import decode_id, encode_id
from app.kernel.principal import Principal
from app.kernel.times import format_time
from app.web.auth import ACT_AS, admitted
from app.web.context import Gateway, gateway_of
from app.web.limits import seconds, shown, usual_cost
from app.web.models import ApiModel
from app.web.sources import source_of

ORDER_EVENTS = "order."
NEEDS = {"orders": "orders:read", "quotes": "bars:read"}
AUTH_SECONDS = 10.0
HEARTBEAT_SECONDS = 15.0
CHECK_SECONDS = 1.0
"""How often a connection asks whether its caller would still be let in, and whether the process ends."""

QUOTE_SECONDS = 0.25
SEND_SECONDS = 10.0
CLOSE_SECONDS = 2.0
MOST_INSTRUMENTS = 500
MOST_TEXT = 64 * 1024
MOST_FAULTS = 20
MOST_LIMITED = 20
"""Messages beyond the rate, one after another without one within it."""

GOING_AWAY, POLICY, TRY_AGAIN = 1001, 1008, 1013
_READ = usual_cost("GET")
router = APIRouter()


class Asked(ApiModel):
    """What a client may send."""

    op: str
    token: str | None = None
    act_as: str | None = None
    channel: str | None = None
    instruments: list[str] | None = None
    since: int | None = None


class _End(Exception):
    """Close the connection, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """Quotes and own orders. A WebSocket has no place in OpenAPI; the README describes it."""
    await socket.accept()
    try:
        await _Stream(socket, gateway_of(socket)).run()
    except _End as end:
        with suppress(TimeoutError):  # one that reads nothing does not hear this either: the server cuts it off
            async with asyncio.timeout(CLOSE_SECONDS):
                await socket.close(end.code, end.reason)
    except WebSocketDisconnect:
        pass


class _Stream:
    """One connection."""

    def __init__(self, socket: WebSocket, gateway: Gateway) -> None:
        self._socket, self._gateway, self._quotes = socket, gateway, gateway.quotes
        self._credential = socket.headers.get("authorization", "").removeprefix("Bearer ").strip()
        self._act_as, self._origin = socket.headers.get(ACT_AS), socket.headers.get("origin")
        self._sending = asyncio.Lock()
        self._watched: dict[UUID, None] = {}
        self._seen = 0
        self._orders: asyncio.Task[None] | None = None
        self._faults = self._limited = 0

    async def run(self) -> None:
        """Until the client goes, the credential ends or the process does."""
        if self._origin is not None and not await self._gateway.origins.registered(self._origin):
            self._origin = None  # no page of an application: ours, or a program
        principal = await self._authenticated()
        await self._send({"type": "authenticated", "tenant_id": encode_id("ten", principal.tenant_id)})
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._heartbeats())
                tasks.create_task(self._quoting())
                await self._listen(principal, tasks)
        except BaseExceptionGroup as group:
            raise _first(group) from None

    async def _authenticated(self) -> Principal:
        """The caller, charged for the opening."""
        try:
            principal = await self._identified()
            await self._charge(principal)
        except TimeoutError:
            raise _End(POLICY, "not_authenticated") from None
        except (DomainError, ValidationError, ValueError, KeyError) as error:
            await self._refuse(error)
            raise (_End(TRY_AGAIN, "rate_limited") if _is_limit(error) else _End(POLICY, "not_authenticated")) from None
        return principal

    async def _identified(self) -> Principal:
        """By the header `Authorization`, or by a first message: browsers cannot set headers. Who has no good credential
        is charged to his address."""
        sources = self._gateway.sources
        sources.refuse(self._socket.scope)
        try:
            if not self._credential:
                async with asyncio.timeout(AUTH_SECONDS):
                    asked = _parsed(await self._socket.receive_text())
                if asked.op != "auth" or not asked.token:
                    raise invalid("missing_credential", 'Send {"op": "auth", "token": "sk_…"} first.', param="token")
                self._credential, self._act_as = asked.token, asked.act_as
            return await self._admitted()
        except Exception:  # also of one that went away or said nothing
            await sources.charge(source_of(self._socket.scope))
            raise

    async def _charge(self, principal: Principal) -> None:
        """Raises what `Limiter` says."""
        await self._gateway.limiter.charge(self._socket, principal, _READ, now=self._gateway.clock())

    async def _admitted(self, *needed: str) -> Principal:
        """The caller, when he may do what is `needed` and what he subscribed to: as for any other request."""
        subscribed = [*(["quotes"] if self._watched else []), *(["orders"] if self._orders else [])]
        permissions = {*needed, *(NEEDS[channel] for channel in subscribed)}
        return await admitted(self._gateway, self._credential, permissions, act_as=self._act_as, origin=self._origin)

    async def _listen(self, principal: Principal, tasks: asyncio.TaskGroup) -> None:
        while True:
            try:
                text = await self._socket.receive_text()
                await self._charge(principal)
                self._limited = 0
                await self._obey(_parsed(text), principal, tasks)
            except (DomainError, ValidationError, ValueError, KeyError) as error:
                await self._refuse(error)
                self._bear(error)

    def _bear(self, error: Exception) -> None:
        """Raises `_End` for one fault, or one message beyond the rate, too many."""
        if _is_limit(error):
            self._limited += 1
        else:
            self._faults += 1
        if self._limited >= MOST_LIMITED:
            raise _End(POLICY, "rate_limited") from None
        if self._faults >= MOST_FAULTS:
            raise _End(POLICY, "too_many_errors") from None

    async def _obey(self, asked: Asked, principal: Principal, tasks: asyncio.TaskGroup) -> None:
        if asked.op == "ping":
            await self._send({"type": "pong"})
            return
        if asked.op not in ("subscribe", "unsubscribe") or asked.channel not in NEEDS:
            reason = "Send op subscribe, unsubscribe or ping; channel is orders or quotes."
            raise invalid("unknown_operation", reason, param="op" if asked.channel in NEEDS else "channel")
        if asked.op == "subscribe":
            await self._admitted(NEEDS[asked.channel])
        if asked.channel == "quotes":
            await self._change_watched(asked)
        elif self._orders is not None:
            self._orders.cancel()
            self._orders = None
        if asked.channel == "orders" and asked.op == "subscribe":
            await self._check_position(principal.tenant_id, asked.since)
            self._orders = tasks.create_task(self._tell_orders(principal.tenant_id, asked.since))

    async def _change_watched(self, asked: Asked) -> None:
        ids = [decode_id("ins", one, param=f"instruments.{at}") for at, one in enumerate(asked.instruments or [])]
        if asked.op == "unsubscribe":
            for one in ids or list(self._watched):
                self._watched.pop(one, None)
            await self._send({"type": "unsubscribed", "channel": "quotes", "watched": len(self._watched)})
            return
        if not ids or len({*self._watched, *ids}) > MOST_INSTRUMENTS:
            reason = f"Name instruments, at most {MOST_INSTRUMENTS} in all."
            raise invalid("invalid_instruments", reason, param="instruments")
        place, present, unknown = await self._quotes.watch(ids)
        if unknown:
            name = encode_id("ins", unknown[0])
            raise invalid("unknown_instrument", f"No instrument has the id {name}.", param="instruments")
        self._seen = min(self._seen, place) if self._watched else place
        self._watched.update(dict.fromkeys(ids))
        await self._send({"type": "subscribed", "channel": "quotes", "watched": len(self._watched)})
        await self._send({"type": "quotes", "quotes": present})

    async def _check_position(self, tenant_id: UUID, since: int | None) -> None:
        head = await self._gateway.hub.head(tenant_id)
        if since is not None and not 0 <= since <= head:
            raise invalid("unknown_position", f"The last event has position {head}; send one up to it.", param="since")
        await self._send({"type": "subscribed", "channel": "orders", "position": head if since is None else since})

    async def _tell_orders(self, tenant_id: UUID, since: int | None) -> None:
        followed = self._gateway.hub.follow(tenant_id, since=since, idle=HEARTBEAT_SECONDS)
        async with aclosing(followed):
            async for batch in followed:
                for event in batch:
                    if event.type.startswith(ORDER_EVENTS):
                        await self._send_text('{"type": "event", "event": ' + event.body.decode() + "}")
        raise _End(GOING_AWAY, "shutting_down")

    async def _quoting(self) -> None:
        while True:
            await asyncio.sleep(QUOTE_SECONDS)
            if self._watched:
                self._seen, changed = self._quotes.changed(self._seen, self._watched)
                if changed:
                    await self._send({"type": "quotes", "quotes": changed})

    async def _heartbeats(self) -> None:
        due = monotonic() + HEARTBEAT_SECONDS
        while not self._gateway.hub.closed:
            await asyncio.sleep(CHECK_SECONDS)
            await self._check_caller()
            if monotonic() >= due:
                due += HEARTBEAT_SECONDS
                await self._send({"type": "heartbeat", "at": format_time(self._gateway.clock())})
        raise _End(GOING_AWAY, "shutting_down")

    async def _check_caller(self) -> None:
        try:
            await self._admitted()
        except DomainError as error:
            await self._refuse(error)
            known = error.kind is not Kind.UNAUTHENTICATED
            raise _End(POLICY, "not_permitted" if known else "not_authenticated") from None

    async def _refuse(self, error: Exception) -> None:
        if not isinstance(error, DomainError):
            error = invalid("invalid_request", "Send a JSON object with op and what belongs to it.")
        verdict = shown(self._socket.scope)
        wait_s = max(1, seconds(verdict.wait_us)) if _is_limit(error) and verdict and not verdict.admitted else None
        said = {"code": error.code, "detail": error.message, "param": error.param, "retry_after": wait_s}
        await self._send({"type": "error"} | said)

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self._send_text(json.dumps(message))

    async def _send_text(self, text: str) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS), self._sending:
                await self._socket.send_text(text)
        except TimeoutError:
            raise _End(TRY_AGAIN, "slow_consumer") from None


def _parsed(text: str) -> Asked:
    """Raises `ValueError` (of JSON) and `ValidationError`."""
    if len(text) > MOST_TEXT:
        raise ValueError("too long")
    return Asked.model_validate(json.loads(text))


def _is_limit(error: Exception) -> bool:
    return isinstance(error, DomainError) and error.kind is Kind.LIMITED


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    """Why it ended: our own decision before the client's going."""
    found = [*_leaves(group)]
    return next((one for one in found if isinstance(one, _End)), found[0])


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    return [
        leaf for one in group.exceptions for leaf in (_leaves(one) if isinstance(one, BaseExceptionGroup) else [one])
    ]
