"""What the stack's processes are told, and what is kept from them."""

from pathlib import Path

import pytest

from app.local.environment import passwords_of, process_environment, read_dotenv, stack_settings
from app.local.home import BusyError, Credentials, Home
from app.local.ports import StartError
from app.local.stack import process_command

PASSWORDS = {role: f"p@ss/{role}" for role in ("mandi_app", "mandi_dispatch", "mandi_reference", "mandi_migrate")}
ADMIN = "postgresql://postgres:secret@127.0.0.1:54329/postgres"


def settings(speed: float | None = None) -> dict[str, str]:
    home = Home(Path("/h"))
    return stack_settings(home, admin_url=ADMIN, redis_url="redis://r", passwords=PASSWORDS, speed=speed)


def test_every_role_gets_its_own_url() -> None:
    made = settings(speed=250.0)
    assert made["APP_DATABASE_URL"] == "postgresql://mandi_app:p%40ss%2Fmandi_app@127.0.0.1:54329/mandi"
    assert made["MANDI_DATA_DIR"] == "/h/data"
    assert made["REPLAY_BARS_PER_SECOND"] == "250"
    assert "REPLAY_BARS_PER_SECOND" not in settings()


def test_the_owners_and_the_administrators_urls_reach_no_process() -> None:
    base = {"DATABASE_URL": ADMIN, "PYTHONPATH": "/x", "KITE_API_KEY": "k", "PATH": "/bin", "REDIS_URL": "redis://old"}
    environ = process_environment(base, settings())
    assert not {"DATABASE_URL", "MIGRATE_DATABASE_URL", "PYTHONPATH"} & set(environ)
    assert environ["KITE_API_KEY"] == "k"
    assert environ["REDIS_URL"] == "redis://r", "the stack knows better than the shell"
    assert environ["PATH"].endswith(":/bin")


def test_the_urls_and_the_passwords_they_carry_are_inverse() -> None:
    assert passwords_of(settings()) == (PASSWORDS, "mandi")


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("APP_DATABASE_URL", ""),
        ("APP_DATABASE_URL", "postgresql://postgres:x@h/mandi"),
        ("APP_DATABASE_URL", "postgresql://mandi_app@h/mandi"),
        ("APP_DATABASE_URL", "postgresql://mandi_app:x@h/other"),
    ],
)
def test_a_url_that_cannot_make_its_role_is_named(variable: str, url: str) -> None:
    with pytest.raises(StartError, match=variable):
        passwords_of({**settings(), variable: url})


def test_dotenv_is_read_when_there(tmp_path: Path) -> None:
    assert read_dotenv(tmp_path / ".env") == {}
    (tmp_path / ".env").write_text("# comment\nKITE_API_KEY='a b'\nLOG_LEVEL=DEBUG\n")
    assert read_dotenv(tmp_path / ".env") == {"KITE_API_KEY": "a b", "LOG_LEVEL": "DEBUG"}


def test_the_gateway_listens_on_loopback_only() -> None:
    command = process_command("gateway", 8123)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "8123"
    assert process_command("worker", 8123)[1:] == ["-m", "workers", "worker"]


def test_mandi_home_names_the_data_folder(tmp_path: Path) -> None:
    assert Home.find({"MANDI_HOME": str(tmp_path)}).root == tmp_path
    assert Home.find({}).root.name == ".mandi"


def test_secrets_are_made_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    first = home.passwords(["mandi_app", "mandi_migrate"])
    assert home.passwords(["mandi_app"])["mandi_app"] == first["mandi_app"]
    assert first["mandi_app"] != first["mandi_migrate"]
    home.keep_credentials(Credentials(tenant_id="t", api_key="k"))
    assert home.credentials() == Credentials(tenant_id="t", api_key="k")
    for name in ("roles.json", "demo.json"):
        assert (home.root / name).stat().st_mode & 0o777 == 0o600


def test_one_stack_at_a_time(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    with home.lock():
        assert home.locked()
        with pytest.raises(BusyError, match="mandi down"), home.lock():
            pass
    assert not home.locked()
