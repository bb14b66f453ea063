"""What risk needs of what lies above it: deployments and working orders. `main` hands them in."""

from typing import Protocol
from uuid import UUID

from app.infra.database import Tx
from app.trading.risk.domain import Target


class Deployments(Protocol):
    """The tenant's deployments."""

    async def account_of(self, tx: Tx, deployment_id: UUID) -> UUID:
        """The account that a deployment trades. Raises `deployment_not_found`."""
        ...


class WorkingOrders(Protocol):
    """The tenant's orders whose life has not ended."""

    async def take_back(self, tx: Tx, target: Target) -> None:
        """Ask for every one that may still add risk to be cancelled, of the caller's mode, ahead of all other work."""
        ...
