"""The embedded servers: kill -9, restart, adoption, privileges, nothing left behind."""

import asyncio
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis import Redis

from app.local import binaries
from app.local.postgres import EmbeddedPostgres, PostgresError, cluster_dir, temporary_postgres
from app.local.process import start_time
from app.local.valkey import EmbeddedValkey


def run_sql(dsn: str, sql: str) -> Any:
    async def go() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(go())


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every account can enter (pytest's own is closed, and root's server runs as nobody)."""
    made = Path(tempfile.mkdtemp(prefix="mandi-test-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def kill(server: EmbeddedPostgres | EmbeddedValkey) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    while server.alive():
        time.sleep(0.01)


def test_a_committed_row_survives_kill_9_of_the_postmaster(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    try:
        dsn = server.start()
        run_sql(dsn, "create table kept (n int)")
        run_sql(dsn, "insert into kept values (7)")
        kill(server)
        assert server.start() == dsn, "the others keep their URL"
        assert run_sql(dsn, "select n from kept") == 7
    finally:
        server.destroy()


def test_a_server_that_outlived_its_supervisor_is_adopted_and_can_be_stopped(folder: Path) -> None:
    first = EmbeddedPostgres(folder)
    try:
        dsn = first.start()
        pid = first.pid
        assert pid is not None
        said: list[str] = []
        second = EmbeddedPostgres(folder, say=said.append)
        assert second.start() == dsn
        assert second.pid == pid
        assert "using it" in said[0]
        second.stop()
        assert start_time(pid) is None
    finally:
        first.destroy()


def test_root_drops_its_privileges_and_connections_need_the_password(folder: Path) -> None:
    with temporary_postgres() as server:
        pid = server.pid
        assert pid is not None
        if os.geteuid() == 0:
            assert Path(f"/proc/{pid}").stat().st_uid != 0
        assert run_sql(server.dsn, "select current_setting('listen_addresses')") == "127.0.0.1"
        with pytest.raises(asyncpg.InvalidPasswordError):
            run_sql(f"postgresql://postgres:wrong@127.0.0.1:{server.port}/postgres", "select 1")
    assert start_time(pid) is None
    assert not server.data_dir.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to move its data")
def test_root_keeps_the_cluster_outside_of_a_folder_that_nobody_can_enter(folder: Path) -> None:
    folder.chmod(0o700)
    shelter = folder / "shelter"
    assert cluster_dir(folder / "data", shelter).is_relative_to(shelter)
    assert cluster_dir(Path("/usr/data"), shelter) == Path("/usr/data/cluster")


def test_a_cluster_of_another_major_version_is_refused_with_the_remedy(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    server.cluster.mkdir()
    (server.cluster / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresError, match="PG_BIN"):
        server.start()


def test_valkey_keeps_acknowledged_writes_after_kill_9_and_needs_its_password(folder: Path) -> None:
    server = EmbeddedValkey(folder)
    try:
        client = Redis.from_url(server.start())
        client.set("kept", "7")
        client.close()
        kill(server)
        client = Redis.from_url(server.start())
        assert client.get("kept") == b"7"
        client.close()
        assert Path(folder / "password").stat().st_mode & 0o777 == 0o600
        twin = EmbeddedValkey(folder)
        twin.start()
        assert twin.pid == server.pid
    finally:
        server.destroy()
    assert server.pid is None


def test_a_busy_port_moves_the_server_to_the_next(folder: Path) -> None:
    first = EmbeddedValkey(folder / "a", durable=False)
    said: list[str] = []
    try:
        first.start()
        second = EmbeddedValkey(folder / "b", port=first.port, durable=False, say=said.append)
        second.start()
        assert second.port != first.port
        assert "is busy" in said[0]
        second.destroy()
    finally:
        first.destroy()


def test_a_server_that_comes_back_waits_for_its_port(folder: Path) -> None:
    """Its users have the address: it must not move, though somebody takes the port while it is away."""
    servers = EmbeddedPostgres(folder / "p", durable=False), EmbeddedValkey(folder / "v", durable=False)
    try:
        for server in servers:
            url = server.start()
            kill(server)
            intruder = socket.socket()
            intruder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            intruder.bind(("127.0.0.1", server.port or 0))
            intruder.listen()
            threading.Timer(1.0, intruder.close).start()
            assert server.start() == url
    finally:
        for server in servers:
            server.destroy()


def test_the_binaries_run_from_a_copy(folder: Path) -> None:
    found = binaries.postgres_bin()
    folder.chmod(0o755)
    (folder / "closed").mkdir(mode=0o700)
    shutil.copytree(found.parents[1], folder / "closed" / found.parents[1].name, symlinks=True)
    libs = found.parents[1].with_name(f"{found.parents[1].name}.libs")
    if libs.exists():
        shutil.copytree(libs, folder / "closed" / libs.name)
    inside = folder / "closed" / found.parents[1].name / found.parent.name / found.name
    copied = binaries.reachable(inside, shelter=folder / "shelter")
    shutil.rmtree(folder / "closed")
    assert os.system(f"{copied}/postgres --version >/dev/null") == 0
