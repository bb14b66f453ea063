"""SMTP over loopback: what is delivered, and that nothing leaves without TLS where TLS is required."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_string
from email.policy import default

import aiosmtplib
import pytest
import pytest_asyncio

from app.adapters.smtp.config import read_config
from app.adapters.smtp.mailer import SmtpMailer
from app.bootstrap import App, bootstrap, open_people
from app.infra.settings import Settings, SettingsError
from app.platform.people.ports import Mail
from app.platform.people.service.mail import write_mail
from tests.factories.endings import Heard

pytestmark = pytest.mark.asyncio


@dataclass
class PlainServer:
    """A server of RFC 5321 that knows no STARTTLS, and what it was told."""

    port: int = 0
    heard: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        data = False
        while line := await reader.readline():
            text = line.decode().rstrip("\r\n")
            self.heard.append(text[1:] if data and text.startswith("..") else text)  # RFC 5321, 4.5.2
            if data:
                data = text != "."
                answer = b"" if data else b"250 taken\r\n"
            elif text.upper().startswith("EHLO"):
                answer = b"250-here\r\n250 8BITMIME\r\n"
            elif text.upper() == "DATA":
                data, answer = True, b"354 go on\r\n"
            elif text.upper() == "QUIT":
                answer = b"221 bye\r\n"
            else:
                answer = b"250 good\r\n"
            writer.write(answer)
            await writer.drain()
            if text.upper() == "QUIT":
                break
        writer.close()


@pytest_asyncio.fixture
async def server() -> AsyncIterator[PlainServer]:
    plain = PlainServer()
    listening = await asyncio.start_server(plain.serve, "127.0.0.1", 0)
    plain.port = listening.sockets[0].getsockname()[1]
    yield plain
    listening.close()


def mailer(port: int, *, require_tls: bool) -> SmtpMailer:
    url = f"smtp://127.0.0.1:{port}"
    config = read_config(url, sender="Mandi <no-reply@example.com>", require_tls=require_tls)
    return SmtpMailer(config, clock=lambda: datetime.now(UTC))


async def test_a_mail_is_delivered_as_text_and_as_a_page(server: PlainServer) -> None:
    mail = write_mail("sign_up", "b@example.com", link="https://mandi.example/verify?token=ü")
    await mailer(server.port, require_tls=False).send(mail)
    assert any("RCPT TO:<b@example.com>" in line for line in server.heard)
    message = message_from_string("\n".join(server.heard[server.heard.index("DATA") + 1 : -2]), policy=default)
    assert (message["Subject"], message.get_content_type()) == (mail.subject, "multipart/alternative")
    parts = [(part.get_content_type(), part.get_content()) for part in message.iter_parts()]
    assert parts == [("text/plain", mail.text), ("text/html", f"{mail.html}\n")]


async def test_nothing_is_said_without_tls_where_it_is_required(server: PlainServer) -> None:
    with pytest.raises(aiosmtplib.SMTPException):
        await mailer(server.port, require_tls=True).send(Mail("b@example.com", "Hello", "the text\n", "the text\n"))
    assert not [line for line in server.heard if "RCPT" in line or "the text" in line]


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ({"smtp_url": None}, "SMTP_URL"),
        ({"secret_key": None}, "MANDI_SECRET_KEY"),
        ({"public_url": "http://mandi.example"}, "MANDI_PUBLIC_URL"),
        ({}, None),
    ],
)
async def test_production_does_not_start_without_mail_secret_and_https(
    app_settings: Settings, missing: dict[str, object], said: str | None
) -> None:
    from pydantic import SecretStr

    sound = {
        "environment": "production",
        "public_url": "https://mandi.example",
        "smtp_url": SecretStr("smtps://u:p@mail.example"),
        "secret_key": SecretStr("k" * 32),
    }
    async with bootstrap(app_settings.model_copy(update=sound | missing)) as process:
        await _open(process, said)


async def _open(process: App, said: str | None) -> None:
    if said is None:
        async with open_people(process, Heard()) as opened:
            assert "k" * 32 not in repr(opened)
        return
    with pytest.raises(SettingsError, match=said):
        async with open_people(process, Heard()):
            pass
