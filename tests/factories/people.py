"""People, and the browsers they use: for tests that log in."""

import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
from fastapi import FastAPI

from app.kernel.ids import uuid7
from app.platform.people.ports import Mail
from app.platform.people.service import People, Person, create_person

_FIELD = re.compile(r'name="form_token" value="([0-9a-f]{64})"')
_LINK = re.compile(r"https?://\S+/(?:verify|reset|invitation)\?token=([\w-]+)")


@dataclass
class Mailbox:
    """A `Mailer` that keeps what it is given; raises `fails_with` when that is set."""

    mails: list[Mail] = field(default_factory=list)
    fails_with: Exception | None = None

    async def send(self, mail: Mail) -> None:
        if self.fails_with is not None:
            raise self.fails_with
        self.mails.append(mail)

    def to(self, email: str) -> list[Mail]:
        return [mail for mail in self.mails if mail.to == email]

    def token(self, email: str) -> str:
        """The token of the last link that `email` was sent."""
        found = _LINK.search(self.to(email)[-1].text)
        assert found is not None, "the mail has no link"
        return found[1]


def fresh_email() -> str:
    return f"p{uuid7().hex[-12:]}@example.com"


def fresh_password() -> str:
    return f"correct {secrets.token_hex(6)} stapler"


@dataclass(frozen=True, slots=True)
class Somebody:
    """A person and the password."""

    person: Person
    email: str
    password: str


async def make_person(people: People, *, now: datetime | None = None) -> Somebody:
    """A new person with a verified address."""
    email, password = fresh_email(), fresh_password()
    person = await create_person(people, email=email, password=password, now=now or datetime.now(UTC))
    return Somebody(person, email, password)


class Browser:
    """A browser without scripts: keeps cookies, sends forms as they were shown. `ip` is where it is."""

    def __init__(self, app: FastAPI, *, ip: str = "198.51.100.7") -> None:
        transport = httpx.ASGITransport(app=app, client=(ip, 50_000))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://gateway")

    async def get(self, path: str) -> httpx.Response:
        return await self.http.get(path)

    async def token(self, path: str) -> str:
        """The form token of the page at `path`."""
        found = _FIELD.search((await self.get(path)).text)
        assert found is not None, f"{path} has no form"
        return found[1]

    async def send(self, path: str, *, page: str | None = None, **fields: str) -> httpx.Response:
        """Post a form that the page (`path` itself by default) showed."""
        return await self.http.post(path, data={"form_token": await self.token(page or path), **fields})

    async def log_in(self, who: Somebody, **fields: str) -> httpx.Response:
        return await self.send("/login", email=who.email, password=who.password, **fields)

    async def follow(self, answer: httpx.Response) -> httpx.Response:
        assert answer.status_code == 303, answer.text
        return await self.get(answer.headers["location"])

    def cookie(self, name: str) -> str | None:
        found: str | None = self.http.cookies.get(name)
        return found
