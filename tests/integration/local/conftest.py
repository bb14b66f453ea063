"""`mandi tenants` as its operator calls it, with settings from the environment and without the database's owner."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from app.cli import app
from app.infra.roles import with_database
from app.infra.settings import Settings
from app.kernel.ids import decode_id, uuid7

OPERATOR = "asha"


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said; `text` is all of it, in words apart by one space, without the frame around errors."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return " ".join((self.out + self.err).replace("│", " ").split())


@dataclass(frozen=True, slots=True)
class Desk:
    """The operator's terminal, and a look behind it as the database's administrator."""

    admin: str

    def tenants(self, *arguments: str, typed: str | None = None) -> Said:
        done = CliRunner().invoke(app, ["tenants", *arguments], input=typed)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return Said(done.exit_code, done.stdout, done.stderr)

    def done(self, *arguments: str, typed: str | None = None) -> Said:
        """It worked."""
        said = self.tenants(*arguments, typed=typed)
        assert said.code == 0, said.text
        return said

    def refused(self, *arguments: str, code: int = 2, typed: str | None = None) -> str:
        """It did not; what was said."""
        said = self.tenants(*arguments, typed=typed)
        assert said.code == code, said.text
        return said.text

    def made(self, *options: str) -> tuple[str, dict[str, Any]]:
        """A new tenant with a key: its slug, and what the command told of it."""
        slug = self.slug()
        said = self.done("create", slug, "--name", "Made", "--key", "--json", *options)
        return slug, json.loads(said.out)

    def slug(self) -> str:
        return f"t-{uuid7().hex[-12:]}"

    def shown(self, tenant: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.done("show", tenant, "--json").out)
        return found

    def rows(self, sql: str, *arguments: object) -> list[dict[str, Any]]:
        async def fetch() -> list[dict[str, Any]]:
            connection = await asyncpg.connect(self.admin)
            try:
                return [dict(row) for row in await connection.fetch(sql, *arguments)]
            finally:
                await connection.close()

        return asyncio.run(fetch())

    def events(self, tenant: str, kind: str = "") -> list[dict[str, Any]]:
        """The tenant's events whose type begins so, oldest first: `type`, `data`, `who`."""
        found = self.rows(
            "select type, data, actor_operator as who from events where tenant_id = $1 and starts_with(type, $2)"
            " order by id",
            decode_id("ten", self.shown(tenant)["id"]),
            kind,
        )
        return [row | {"data": json.loads(row["data"])} for row in found]


@pytest.fixture
def desk(app_settings: Settings, database_urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    for name in ("MIGRATE_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for field, info in Settings.model_fields.items():
        given = getattr(app_settings, field)
        if given is not None and field != "migrate_database_url":
            text = given.get_secret_value() if hasattr(given, "get_secret_value") else str(given)
            monkeypatch.setenv(str(info.alias), text)
    monkeypatch.setenv("MANDI_OPERATOR", OPERATOR)
    monkeypatch.setenv("COLUMNS", "80")
    return Desk(with_database(database_urls["admin"], "mandi"))
