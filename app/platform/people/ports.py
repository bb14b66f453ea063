"""What people need of the outside: mail, and a place to seal secrets."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Mail:
    """One message in plain text. Its text may hold a single-use link, so a mail is never logged."""

    to: str
    subject: str
    text: str

    def __repr__(self) -> str:
        return f"Mail({self.subject!r})"


class Mailer(Protocol):
    """Delivers mail, or raises: the caller tries again later."""

    async def send(self, mail: Mail) -> None:
        """Hand `mail` to the next server. Raises whatever failed."""
        ...


class Sealer(Protocol):
    """Encrypts small secrets. `context` names the row and column: a sealed value opens nowhere else."""

    async def seal(self, data: bytes, *, context: bytes) -> bytes: ...

    async def unseal(self, sealed: bytes, *, context: bytes) -> bytes:
        """The data. Raises when `sealed` was changed, moved or made under another key."""
        ...
