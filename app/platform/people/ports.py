"""What people need of others: mail, a place to seal secrets, and who must hear of a login's end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Mail:
    """One message, as plain text and as a page. Both may hold a single-use link, so a mail is never logged."""

    to: str
    subject: str
    text: str
    html: str

    def __repr__(self) -> str:
        return f"Mail({self.subject!r})"


class Mailer(Protocol):
    """Delivers mail, or raises: the caller tries again later."""

    async def send(self, mail: Mail) -> None:
        """Hand `mail` to the next server. Raises whatever failed."""
        ...


class Endings(Protocol):
    """Whoever gave out something that ends with a login."""

    async def sessions_ended(self, session_ids: Sequence[UUID]) -> None:
        """These logins were ended by their person; that is committed. Raises nothing."""
        ...


class Sealer(Protocol):
    """Encrypts small secrets. `context` names the row and column: a sealed value opens nowhere else."""

    async def seal(self, data: bytes, *, context: bytes) -> bytes: ...

    async def unseal(self, sealed: bytes, *, context: bytes) -> bytes:
        """The data. Raises when `sealed` was changed, moved or made under another key."""
        ...
