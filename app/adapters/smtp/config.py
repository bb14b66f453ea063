"""Decides how an SMTP server is named: `smtps://user:password@host:465`, or `smtp://` with STARTTLS."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class SmtpConfig:
    """`implicit_tls`: TLS from the first byte. Otherwise STARTTLS, which `require_tls` makes a condition."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    implicit_tls: bool
    require_tls: bool
    sender: str


def read_config(url: str, *, sender: str, require_tls: bool) -> SmtpConfig:
    """The server that `url` names."""
    parts = urlsplit(url)
    implicit = parts.scheme == "smtps"
    return SmtpConfig(
        host=parts.hostname or "localhost",
        port=parts.port or (465 if implicit else 587),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        implicit_tls=implicit,
        require_tls=require_tls,
        sender=sender,
    )
