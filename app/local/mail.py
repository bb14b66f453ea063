"""Decides where `mandi mail` looks: in the local stack's data folder, and never in production."""

from collections.abc import Mapping
from pathlib import Path

from app.adapters.mailbox.mailer import captured
from app.local.home import Home
from app.local.ports import StartError


def captured_mail(home: Home, environ: Mapping[str, str]) -> list[dict[str, str]]:
    """Each captured mail as `at`, `to`, `subject`, `text`, oldest first. Raises `StartError` in production."""
    if environ.get("MANDI_ENVIRONMENT") == "production":
        raise StartError("mail is not captured in production: SMTP_URL names the server that sends it")
    data = Path(environ["MANDI_DATA_DIR"]) if "MANDI_DATA_DIR" in environ else home.data
    return [
        {"at": one.at, "to": one.mail.to, "subject": one.mail.subject, "text": one.mail.text} for one in captured(data)
    ]
