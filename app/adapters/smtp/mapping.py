"""Decides what our mail is as a message of RFC 5322. A line break in an address or subject raises."""

from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from app.platform.people.ports import Mail


def to_message(mail: Mail, *, sender: str, now: datetime) -> EmailMessage:
    """The message, its text first: a client shows the last form that it can. It is marked as made by a machine, so that
    nobody's absence note answers it."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = mail.to
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(now)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].strip(" >") or None)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message
