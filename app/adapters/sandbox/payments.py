"""Implements funding's `PaymentProvider` for virtual money, without a network: it pays everything, in full, when it is
asked. It remembers nothing, so every process sees the same and a restart forgets nothing."""

from app.custody.funding.domain import News
from app.custody.funding.ports import Instruction, Taken


class SandboxPayments:
    """For test accounts. How providers fail is shown by the provider of the tests."""

    name = "sandbox"

    async def send(self, instruction: Instruction) -> Taken:
        """Take it, under a reference that a repeated instruction gets, too."""
        return Taken(_reference(instruction))

    async def find(self, instruction: Instruction) -> News | None:
        """Paid."""
        return News(_reference(instruction), instruction.amount, final=True, paid=True)


def _reference(instruction: Instruction) -> str:
    return f"sbx-{instruction.id.hex}"
