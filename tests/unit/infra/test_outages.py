"""What counts as the database being away."""

import socket

import asyncpg
import pytest

from app.infra.outages import UNANSWERED, is_outage

AWAY = [
    ConnectionRefusedError("refused"),
    socket.gaierror("Name or service not known"),
    asyncpg.AdminShutdownError("terminating connection"),
    asyncpg.CannotConnectNowError("the database system is starting up"),
    asyncpg.ConnectionDoesNotExistError("closed in the middle"),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
]
FAULTS = [
    TimeoutError("an item that never ends"),
    FileNotFoundError("a file that is not there"),
    asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
    asyncpg.exceptions.DataError("invalid input for query argument $1"),
    asyncpg.CheckViolationError("no overdraft"),
    ValueError("a mistake"),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_a_server_that_is_away_is_an_outage(error: Exception) -> None:
    assert is_outage(error)
    assert isinstance(error, UNANSWERED)


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_what_a_caller_brought_about_is_none(error: Exception) -> None:
    assert not is_outage(error)


def test_nothing_is_no_outage() -> None:
    assert not is_outage(None)
