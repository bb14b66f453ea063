"""Implements people's `Mailer` by files. Decides where captured mail lies: `mail/` in the data folder, owner only."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from app.kernel.ids import uuid7
from app.platform.people.ports import Mail

FOLDER = "mail"


@dataclass(frozen=True, slots=True)
class CapturedMail:
    """A mail and when it was captured (RFC 3339)."""

    at: str
    mail: Mail


class MailboxMailer:
    """Writes each mail to a file of its own. Not for production: `bootstrap` refuses."""

    def __init__(self, data_dir: Path, *, clock: Callable[[], datetime]) -> None:
        self._folder = data_dir / FOLDER
        self._clock = clock

    async def send(self, mail: Mail) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        body = {"at": self._clock().isoformat(), **asdict(mail)}
        name = self._folder / f"{time.time_ns():020}-{uuid7()}.json"  # ids made in one millisecond do not sort
        with os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(body, file)


def captured(data_dir: Path) -> list[CapturedMail]:
    """What was captured, oldest first."""
    found = []
    for path in sorted((data_dir / FOLDER).glob("*.json")):
        body = json.loads(path.read_text())
        found.append(CapturedMail(body.pop("at"), Mail(**{"html": ""} | body)))  # one of an earlier release has no page
    return found
