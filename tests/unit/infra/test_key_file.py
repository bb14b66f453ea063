"""The local keys lie in one file for its owner only; older keys stay; production refuses it."""

import asyncio
import json
import multiprocessing
from pathlib import Path

import pytest

from app.infra.crypto.envelope import UnsealError
from app.infra.crypto.local import FILE, LocalKeys, NoKeys
from app.infra.crypto.ports import Wrapped
from app.infra.settings import SettingsError
from app.kernel.errors import DomainError, Kind

KEY, CONTEXT = bytes(range(32)), {"owner": "a", "key": "1"}


@pytest.fixture
def keys(tmp_path: Path) -> LocalKeys:
    return LocalKeys(tmp_path / "data" / FILE, environment="local")


async def test_a_data_key_unwraps_for_its_own_context_only(keys: LocalKeys) -> None:
    wrapped = await keys.wrap(KEY, CONTEXT)
    assert KEY not in wrapped.data
    assert await keys.unwrap(wrapped, CONTEXT) == KEY
    for other in ({"owner": "b", "key": "1"}, {"owner": "a", "key": "2"}, {"owner": "a"}, {}):
        with pytest.raises(UnsealError):
            await keys.unwrap(wrapped, other)
    with pytest.raises(UnsealError):
        await keys.unwrap(Wrapped(wrapped.data[:-1] + bytes([wrapped.data[-1] ^ 1]), wrapped.kek_id), CONTEXT)


async def test_the_file_is_for_its_owner_only(keys: LocalKeys, tmp_path: Path) -> None:
    await keys.wrap(KEY, CONTEXT)
    assert (tmp_path / "data" / FILE).stat().st_mode & 0o777 == 0o600
    await keys.rotate()
    assert (tmp_path / "data" / FILE).stat().st_mode & 0o777 == 0o600


async def test_a_file_that_others_can_read_is_refused(keys: LocalKeys, tmp_path: Path) -> None:
    wrapped = await keys.wrap(KEY, CONTEXT)
    (tmp_path / "data" / FILE).chmod(0o640)
    with pytest.raises(DomainError, match="chmod 600") as caught:
        await keys.unwrap(wrapped, CONTEXT)
    assert caught.value.kind is Kind.UNAVAILABLE


async def test_what_was_wrapped_before_a_rotation_still_unwraps(keys: LocalKeys) -> None:
    before = await keys.wrap(KEY, CONTEXT)
    assert await keys.rotate() == await keys.current() != before.kek_id
    after = await keys.wrap(KEY, CONTEXT)
    assert after.kek_id == await keys.current()
    assert [await keys.unwrap(one, CONTEXT) for one in (before, after)] == [KEY, KEY]


async def test_a_lost_file_is_not_replaced_by_opening(keys: LocalKeys, tmp_path: Path) -> None:
    wrapped = await keys.wrap(KEY, CONTEXT)
    (tmp_path / "data" / FILE).unlink()
    with pytest.raises(DomainError, match="Restore that file"):
        await keys.unwrap(wrapped, CONTEXT)
    assert not (tmp_path / "data" / FILE).exists()


@pytest.mark.parametrize("text", ["", "{", "[1]"])
async def test_a_damaged_file_is_never_overwritten(keys: LocalKeys, tmp_path: Path, text: str) -> None:
    await keys.wrap(KEY, CONTEXT)
    (tmp_path / "data" / FILE).write_text(text)
    for call in (keys.wrap(KEY, CONTEXT), keys.rotate(), keys.current()):
        with pytest.raises(DomainError, match="cannot be read"):
            await call
    assert (tmp_path / "data" / FILE).read_text() == text


def _first_use(path: Path) -> str:
    return asyncio.run(LocalKeys(path, environment="local").current())


def test_processes_that_start_at_once_make_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(6) as pool:
        found = pool.map(_first_use, [tmp_path / FILE] * 24)
    assert len(set(found)) == 1
    assert len(json.loads((tmp_path / FILE).read_text())["keys"]) == 1


def test_production_refuses_a_key_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="MANDI_ENVIRONMENT=local"):
        LocalKeys(tmp_path / FILE, environment="production")


async def test_production_without_a_service_stores_no_secret() -> None:
    keys = NoKeys()
    wrapped = Wrapped(b"", "")
    for call in (keys.current(), keys.wrap(KEY, CONTEXT), keys.unwrap(wrapped, CONTEXT), keys.rotate()):
        with pytest.raises(DomainError, match="MANDI_KMS_KEY_ARN"):
            await call
