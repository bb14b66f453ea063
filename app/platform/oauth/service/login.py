"""Who signed in, and what they may grant: people's sessions and tenancy's members, as the authorization server asks."""

from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlencode
from uuid import UUID

from app.infra.database import Tx
from app.platform.oauth.ports import Asking, Person, Session
from app.platform.people.service import People, session_stands, session_user
from app.platform.tenancy.service import active_member


class PeopleLogin:
    """Implements `ports.Login`. `cookie`: the name of the cookie that carries a session."""

    def __init__(self, people: People, *, cookie: str, clock: Callable[[], datetime]) -> None:
        self._people, self._cookie, self._clock = people, cookie, clock

    async def session_of(self, request: Asking) -> Session | None:
        """The signed-in person behind a request."""
        found = await session_user(self._people, request.cookies.get(self._cookie), now=self._clock())
        if found is None:
            return None
        person, session = found
        return Session(str(session.id), person.id, session.auth_time, session.amr, person.email)

    def login_url(self, next_url: str, *, again: bool) -> str:
        """The login page, or the one that asks for a fresh proof, and back from there."""
        return f"{'/account/confirm' if again else '/login'}?{urlencode({'next': next_url})}"

    async def stands(self, tx: Tx, user_id: UUID, session_id: str) -> bool:
        """Whether the session was not ended."""
        return await session_stands(tx, user_id, UUID(session_id))

    async def person_of(self, tx: Tx, user_id: UUID) -> Person | None:
        """The active member of the transaction's tenant. Their address was verified when they accepted by it."""
        member = await active_member(tx, user_id)
        if member is None:
            return None
        return Person(user_id, member.email, email_verified=True, permissions=member.permissions)
