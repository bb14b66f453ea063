"""Implements people's `Mailer`. Decides when credentials and links may leave without TLS: on a local stack."""

from collections.abc import Callable
from datetime import datetime

import aiosmtplib

from app.adapters.smtp.config import SmtpConfig
from app.adapters.smtp.mapping import to_message
from app.platform.people.ports import Mail

TIMEOUT_S = 20.0


class SmtpMailer:
    """One connection a mail. A server without STARTTLS is refused where TLS is required; certificates are checked."""

    def __init__(self, config: SmtpConfig, *, clock: Callable[[], datetime]) -> None:
        self._config = config
        self._clock = clock

    async def send(self, mail: Mail) -> None:
        """Raises `aiosmtplib.SMTPException` or `OSError` when the server is away or refuses."""
        config = self._config
        start_tls = False if config.implicit_tls else True if config.require_tls else None
        await aiosmtplib.send(
            to_message(mail, sender=config.sender, now=self._clock()),
            hostname=config.host,
            port=config.port,
            username=config.username,
            password=config.password,
            use_tls=config.implicit_tls,
            start_tls=start_tls,
            timeout=TIMEOUT_S,
        )
