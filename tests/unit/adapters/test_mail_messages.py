"""How an SMTP server is named, and what our mail is as a message."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.adapters.mailbox.mailer import MailboxMailer, captured
from app.adapters.smtp.config import read_config
from app.adapters.smtp.mapping import to_message
from app.platform.people.ports import Mail

NOW = datetime(2026, 1, 5, 9, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("url", "host", "port", "implicit"),
    [
        ("smtps://user:p%40ss@mail.example.com", "mail.example.com", 465, True),
        ("smtp://user:p%40ss@mail.example.com:2525", "mail.example.com", 2525, False),
        ("smtp://mail.example.com", "mail.example.com", 587, False),
    ],
)
def test_a_server_is_named_by_its_url(url: str, host: str, port: int, implicit: bool) -> None:
    config = read_config(url, sender="Mandi <a@example.com>", require_tls=True)
    assert (config.host, config.port, config.implicit_tls, config.require_tls) == (host, port, implicit, True)
    assert config.password == ("p@ss" if "user" in url else None)
    assert "p@ss" not in repr(config)


def test_a_message_is_complete_and_marked_as_made_by_a_machine() -> None:
    mail = Mail("b@example.com", "Grüße", "नमस्ते\n", "<p>नमस्ते</p>\n")
    message = to_message(mail, sender="Mandi <a@example.com>", now=NOW)
    assert (message["From"], message["To"], message["Subject"]) == ("Mandi <a@example.com>", "b@example.com", "Grüße")
    assert message["Message-ID"].endswith("@example.com>") and message["Date"].startswith("Mon, 05 Jan 2026 09:15")
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"
    text, page = message.iter_parts()
    assert (text.get_content_type(), text.get_content()) == ("text/plain", "नमस्ते\n")
    assert (page.get_content_type(), page.get_content()) == ("text/html", "<p>नमस्ते</p>\n")


@pytest.mark.parametrize(
    "mail", [Mail("a@x.com\r\nBcc: b@x.com", "s", "", ""), Mail("a@x.com", "s\nBcc: b@x.com", "", "")]
)
def test_a_line_break_makes_no_second_header(mail: Mail) -> None:
    with pytest.raises(ValueError, match="linefeed or carriage return"):
        to_message(mail, sender="a@example.com", now=NOW)


async def test_captured_mail_is_its_owners_alone(tmp_path: Path) -> None:
    mailer = MailboxMailer(tmp_path, clock=lambda: NOW)
    for number in range(3):
        await mailer.send(Mail("b@example.com", f"s{number}", "token=secret", "<p>token=secret</p>"))
    assert [one.mail.subject for one in captured(tmp_path)] == ["s0", "s1", "s2"]
    assert captured(tmp_path)[0].mail == Mail("b@example.com", "s0", "token=secret", "<p>token=secret</p>")
    files = list((tmp_path / "mail").iterdir())
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert (tmp_path / "mail").stat().st_mode & 0o777 == 0o700
    assert captured(tmp_path / "nowhere") == []
    assert "secret" not in repr(Mail("b@example.com", "s", "token=secret", "token=secret"))
