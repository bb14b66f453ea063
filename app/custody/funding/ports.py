"""What funding needs of a payment provider. Adapters implement it; the work of the queue `default` is given one."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from app.custody.funding.domain import News
from app.kernel.money import Money


@dataclass(frozen=True, slots=True)
class Instruction:
    """One payment. `id` is what the provider is asked by, and makes a repeated instruction the same one."""

    id: UUID
    direction: str
    amount: Money


@dataclass(frozen=True, slots=True)
class Taken:
    """The provider has the instruction, under its own reference."""

    reference: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider will never do it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can tell whether the provider has it: a timeout, a broken answer."""

    reason: str


class PaymentProvider(Protocol):
    """Moves money between clients' own banks and the clients' pool. Its calls may raise `TimeoutError` or `OSError`."""

    name: str

    async def send(self, instruction: Instruction) -> Taken | Refused | Unknown:
        """Ask the payer for a deposit, or pay a withdrawal out."""
        ...

    async def find(self, instruction: Instruction) -> News | None:
        """What became of it; None: the provider does not know it (yet)."""
        ...
