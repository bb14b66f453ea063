"""A payment provider that fails in every way: it takes and loses its answer, pays late, twice, wrongly, never."""

from uuid import UUID

from app.custody.funding.domain import News
from app.custody.funding.ports import Instruction, Refused, Taken, Unknown
from app.kernel.money import Money


class FakeProvider:
    """Knobs: what the next `send` answers, and what `find` says. It counts what it was told."""

    name = "sandbox"

    def __init__(self) -> None:
        self.answer: Taken | Refused | Unknown | BaseException | None = None
        self.news: News | Exception | None = None
        self.told: list[UUID] = []
        self.asked = 0

    async def send(self, instruction: Instruction) -> Taken | Refused | Unknown:
        self.told.append(instruction.id)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer or Taken(f"ref-{instruction.id.hex}")

    async def find(self, instruction: Instruction) -> News | None:
        self.asked += 1
        if isinstance(self.news, Exception):
            raise self.news
        return self.news

    def paid(self, payment_id: UUID, minor: int, currency: str = "USD", *, reference: str | None = None) -> News:
        """From now on it says that it paid this."""
        news = News(reference or f"ref-{payment_id.hex}", Money(minor, currency), final=True, paid=True)
        self.news = news
        return news
