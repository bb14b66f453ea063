"""Decides what an expected failure is: a code, a kind and a remedy. `web` alone maps kinds to HTTP."""

from enum import StrEnum


class Kind(StrEnum):
    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    STALE = "stale"
    LIMITED = "limited"
    UNAVAILABLE = "unavailable"


class DomainError(Exception):
    """An anticipated failure, raised by the module that finds it.

    `code` is stable and machine-readable (`off_tick`), `message` says what is wrong and what to do,
    `param` names the offending field of the caller's input, if there is one. `retry_after_s`: the same request may
    succeed after that many seconds.
    """

    def __init__(
        self, code: str, kind: Kind, message: str, *, param: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class StepUpError(DomainError):
    """The caller proved who they are too long ago for this (RFC 9470): more than `max_age_s` seconds have passed."""

    def __init__(self, max_age_s: int) -> None:
        super().__init__(
            "insufficient_user_authentication",
            Kind.UNAUTHENTICATED,
            f"This needs a login of the last {max_age_s} seconds: ask the authorization endpoint with "
            f"max_age={max_age_s}, then repeat it with the new access token.",
        )
        self.max_age_s = max_age_s


def invalid(code: str, message: str, *, param: str | None = None) -> DomainError:
    """The caller's input is wrong by its form or by a fixed fact; nothing was written."""
    return DomainError(code, Kind.INVALID, message, param=param)


def not_found(what: str, identifier: str) -> DomainError:
    """Also the answer for another tenant's id, so that ids are not an oracle."""
    return DomainError(f"{what}_not_found", Kind.NOT_FOUND, f"No {what} has the id {identifier!r}.", param="id")


def conflict(code: str, message: str, *, param: str | None = None) -> DomainError:
    """The input is well formed but contradicts the present state."""
    return DomainError(code, Kind.CONFLICT, message, param=param)
