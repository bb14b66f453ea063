"""Decides which errors say that the database is away: those are nobody's fault, so whoever sees one waits."""

import socket

import asyncpg

AWAY: tuple[type[Exception], ...] = (
    ConnectionError,
    socket.gaierror,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg raises when its connection dies in the middle of an exchange
)
"""The server cannot be reached, went away in between, or says that it stops or only starts."""

UNANSWERED: tuple[type[Exception], ...] = (OSError, asyncpg.PostgresError, *AWAY)
"""All that a call may raise instead of its answer, timeouts and refusals of the server among them."""


def is_outage(error: BaseException | None) -> bool:
    """Whether `error` says that the database is away, unlike one that its caller's values brought about."""
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, ValueError)  # a closed connection, unlike a value that does not fit
    return isinstance(error, AWAY)
