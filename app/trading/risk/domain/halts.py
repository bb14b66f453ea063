"""Decides what a kill switch may be aimed at, and what it says."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.kernel.errors import invalid

_ALGO_ID = re.compile(r"[A-Za-z0-9_.-]{1,32}", re.ASCII)


class HaltMode(StrEnum):
    """Both stop new risk and let exits and cancels pass. `halt` also takes back the entries that work already."""

    HALT = "halt"
    REDUCE_ONLY = "reduce_only"


def check_algo_id(algo_id: str) -> str:
    """Raises `invalid_algo_id`."""
    if not _ALGO_ID.fullmatch(algo_id):
        raise invalid("invalid_algo_id", "algo_id takes 1 to 32 letters, digits, '_', '.' or '-'.", param="algo_id")
    return algo_id


@dataclass(frozen=True, slots=True)
class Target:
    """What is halted: an account, a deployment, an algo id; for none of them, everything that the caller has."""

    account_id: UUID | None = None
    deployment_id: UUID | None = None
    algo_id: str | None = None

    def __post_init__(self) -> None:
        if sum(one is not None for one in (self.account_id, self.deployment_id, self.algo_id)) > 1:
            raise invalid(
                "several_targets",
                "Name one of account_id, deployment_id and algo_id, or none to halt all of them.",
                param="account_id",
            )
        if self.algo_id is not None:
            check_algo_id(self.algo_id)

    @property
    def level(self) -> str:
        if self.account_id is not None:
            return "account"
        if self.deployment_id is not None:
            return "deployment"
        return "tenant" if self.algo_id is None else "algo"


@dataclass(frozen=True, slots=True)
class Halt:
    """One that was made. `account_mode`: only in accounts of this mode; None for both."""

    id: UUID
    target: Target
    account_mode: str | None
    mode: HaltMode
    reason: str
    halted_by: UUID | None
    halted_at: datetime
    resumed_by: UUID | None
    resumed_at: datetime | None
