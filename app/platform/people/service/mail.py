"""Decides which mail an address gets. Requests are rows, the same for every address; what they become, only the reader
of the mailbox learns. A token exists in clear only in the mail: it is made when the mail is, or comes sealed."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import asyncpg
import structlog
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from app.infra.database import PersonTx
from app.platform.people import repository
from app.platform.people.domain import RESET_VALID, SIGN_UP_VALID, hash_token
from app.platform.people.ports import Mail, Mailer
from app.platform.people.service.invitations import invitation_path, read_letter
from app.platform.people.service.people import People
from app.platform.people.service.sessions import new_token
from app.platform.people.tables import MailRequest, MailToken

POLL_SECONDS = 5.0
MAX_ATTEMPTS = 8
_TEMPLATES = Path(__file__).parents[1] / "templates"
_VALID = {"sign_up": SIGN_UP_VALID, "password_reset": RESET_VALID}
_PATHS = {"sign_up": "verify", "password_reset": "reset"}
log = structlog.get_logger(__name__)


def request_mail(tx: PersonTx, purpose: str, email: str, *, now: datetime) -> None:
    """Append a request in the caller's transaction; who calls sets `people.mail_due` afterwards."""
    tx.add(MailRequest(user_id=tx.user_id, purpose=purpose, email=email, available_at=now, created_at=now))


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        autoescape=select_autoescape(("html",)),
        trim_blocks=True,
    )


def write_mail(template: str, to: str, **facts: str) -> Mail:
    """The mail of `template`, the same twice: the first line of its text is the subject of both."""
    first, _, rest = _templates().get_template(f"{template}.txt").render(email=to, **facts).partition("\n")
    subject = first.strip()
    html = _templates().get_template(f"{template}.mail.html").render(email=to, subject=subject, **facts)
    return Mail(to, subject, rest.strip() + "\n", html)


class MailSender:
    """Makes and sends the mails that are due, in the gateway's background. Several gateways share the work."""

    def __init__(self, people: People, mailer: Mailer, *, public_url: str, clock: Callable[[], datetime]) -> None:
        self._people = people
        self._mailer = mailer
        self._public_url = public_url.rstrip("/")
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`: send at once what this process asks for, and within seconds what others left."""
        while not stop.is_set():
            self._people.mail_due.clear()
            try:
                await self.send_due()
            except Exception as error:  # a database that is away comes back
                log.warning("mail.waiting", error=type(error).__name__)
            await _first_of(stop, self._people.mail_due, seconds=POLL_SECONDS)

    async def send_due(self) -> int:
        """Send everything that is due; how many requests were dealt with."""
        dealt_with = 0
        while True:
            row = await repository.lease_mail(self._people.database.dispatch, self._clock())
            if row is None:
                return dealt_with
            dealt_with += 1
            await self._deal_with(row)

    async def _deal_with(self, row: asyncpg.Record) -> None:
        """Mails may come twice (when a process dies after sending), never not at all while the server answers."""
        try:
            mail = await self._compose(row)
            if mail is not None:
                await self._mailer.send(mail)
        except Exception as error:
            log.warning("mail.deferred", purpose=row["purpose"], attempt=row["attempts"], error=type(error).__name__)
            if row["attempts"] < MAX_ATTEMPTS:
                return
            log.error("mail.given_up", purpose=row["purpose"], request=str(row["id"]))
        await repository.forget_mail(self._people.database.dispatch, row["id"])

    async def _compose(self, row: asyncpg.Record) -> Mail | None:
        purpose, email, user_id = row["purpose"], row["email"], row["user_id"]
        if purpose == "invitation":
            facts = read_letter(self._people, row)
            return write_mail(purpose, email, link=self._public_url + invitation_path(facts.pop("token")), **facts)
        found = await repository.find_by_email(self._people.database.pool, email)
        if purpose == "security_changed":
            return write_mail(purpose, email, link=f"{self._public_url}/forgot")
        if purpose == "sign_up" and found is not None:
            return write_mail("account_exists", email, link=f"{self._public_url}/forgot")
        if purpose == "password_reset":
            if found is None:
                return None
            user_id = found.person.id
        token, now = new_token(), self._clock()
        async with self._people.database.person(user_id) as tx:
            tx.add(
                MailToken(
                    user_id=user_id,
                    purpose=purpose,
                    token_hash=hash_token(token),
                    expires_at=now + _VALID[purpose],
                    created_at=now,
                )
            )
        return write_mail(purpose, email, link=f"{self._public_url}/{_PATHS[purpose]}?token={token}")


async def _first_of(*events: asyncio.Event, seconds: float) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
