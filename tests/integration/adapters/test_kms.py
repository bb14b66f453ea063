"""The adapter of the key management service against a fake on loopback. The real service was never asked."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.adapters.kms.config import KmsConfig, kms_config
from app.adapters.kms.keys import KmsKeys
from app.bootstrap import key_keeper, utc_clock
from app.infra.crypto.envelope import UnsealError
from app.infra.crypto.local import LocalKeys, NoKeys
from app.infra.crypto.ports import Wrapped
from app.infra.crypto.rotation import rotate_key_encryption
from app.infra.crypto.sealer import DataKeys, Sealer
from app.infra.database import Database
from app.infra.settings import Settings, SettingsError
from app.kernel.errors import DomainError, Kind
from app.kernel.ids import uuid7
from tests.factories.kms import ACCESS_KEY_ID, ARNS, REGION, SECRET_ACCESS_KEY, SESSION_TOKEN, FakeKms, fake_kms

KEY, CONTEXT = bytes(range(32)), {"mandi:owner": "a", "mandi:key": "1"}


@pytest.fixture
def kms() -> Iterator[FakeKms]:
    with fake_kms() as fake:
        yield fake


@pytest.fixture
def config(kms: FakeKms) -> KmsConfig:
    return KmsConfig(ARNS[0], REGION, kms.url, ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN)


@pytest.fixture
def keys(config: KmsConfig) -> KmsKeys:
    return KmsKeys(config, utc_clock, longest_wait=0)


def settings(**given: Any) -> Settings:
    """Of a production with a key, changed as given."""
    url = "postgresql://u:p@127.0.0.1:9/none"
    base: dict[str, Any] = {
        "APP_DATABASE_URL": url,
        "DISPATCH_DATABASE_URL": url,
        "REFERENCE_DATABASE_URL": url,
        "REDIS_URL": "redis://127.0.0.1:9",
        "MANDI_DATA_DIR": Path("none"),
        "MANDI_KMS_KEY_ARN": ARNS[0],
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
    }
    return Settings.model_validate(base | given)


async def test_a_data_key_unwraps_for_its_own_context_only(keys: KmsKeys, kms: FakeKms) -> None:
    wrapped = await keys.wrap(KEY, CONTEXT)
    assert wrapped.kek_id == await keys.current() == await keys.rotate() == ARNS[0]
    assert await keys.unwrap(wrapped, CONTEXT) == KEY
    assert [asked["EncryptionContext"] for _, asked in kms.requests] == [CONTEXT, CONTEXT]
    with pytest.raises(UnsealError):
        await keys.unwrap(wrapped, CONTEXT | {"mandi:owner": "b"})
    with pytest.raises(UnsealError):
        await keys.unwrap(Wrapped(wrapped.data[:-1] + bytes([wrapped.data[-1] ^ 1]), wrapped.kek_id), CONTEXT)
    with pytest.raises(UnsealError):
        await keys.unwrap(Wrapped(wrapped.data, ARNS[1]), CONTEXT)


@pytest.mark.parametrize("failure", [(503, b""), (400, b'{"__type": "ThrottlingException"}')])
async def test_a_busy_service_is_asked_again(keys: KmsKeys, kms: FakeKms, failure: tuple[int, bytes]) -> None:
    kms.failing = [failure, failure]
    assert (await keys.wrap(KEY, CONTEXT)).kek_id == ARNS[0]
    kms.failing = [failure] * 3
    with pytest.raises(DomainError, match="busy or away") as caught:
        await keys.wrap(KEY, CONTEXT)
    assert (caught.value.code, caught.value.kind) == ("keys_unavailable", Kind.UNAVAILABLE)
    assert kms.failing == []


async def test_a_refusal_is_not_repeated(keys: KmsKeys, kms: FakeKms) -> None:
    denied = (400, b'{"__type": "AccessDeniedException"}')
    kms.failing = [denied, denied]
    with pytest.raises(DomainError, match="AccessDeniedException"):
        await keys.wrap(KEY, CONTEXT)
    assert kms.failing == [denied]


async def test_a_service_that_is_away_is_a_reason_to_try_later(config: KmsConfig) -> None:
    away = KmsKeys(replace(config, endpoint="http://127.0.0.1:1"), utc_clock, longest_wait=0)
    with pytest.raises(DomainError, match="ConnectError"):
        await away.wrap(KEY, CONTEXT)


@pytest.mark.parametrize(
    "changed", [{"secret_access_key": "other"}, {"access_key_id": "OTHER"}, {"session_token": None}, {"region": "x"}]
)
async def test_wrong_credentials_are_refused(config: KmsConfig, changed: dict[str, Any]) -> None:
    with pytest.raises(DomainError, match="refused the request"):
        await KmsKeys(replace(config, **changed), utc_clock, longest_wait=0).wrap(KEY, CONTEXT)


async def test_an_old_request_is_refused(config: KmsConfig) -> None:
    slow = KmsKeys(config, lambda: datetime.now(UTC) - timedelta(minutes=6), longest_wait=0)
    with pytest.raises(DomainError, match="InvalidSignatureException"):
        await slow.wrap(KEY, CONTEXT)


async def test_nothing_secret_is_logged_or_shown(
    keys: KmsKeys, config: KmsConfig, kms: FakeKms, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await keys.unwrap(await keys.wrap(KEY, CONTEXT), CONTEXT)
    kms.failing = [(400, b'{"__type": "AccessDeniedException"}')]
    with pytest.raises(DomainError) as caught:
        await keys.wrap(KEY, CONTEXT)
    said = caplog.text + str(caught.value) + repr(config)
    for secret in (SECRET_ACCESS_KEY, SESSION_TOKEN, KEY.hex(), "AAECAwQF"):
        assert secret not in said


async def test_another_key_in_the_settings_and_a_rotation_move_every_data_key(
    config: KmsConfig, kms: FakeKms, scratch_database: Database
) -> None:
    tenant_id, row_id = uuid7(), uuid7()
    before = Sealer(DataKeys(scratch_database.pool, KmsKeys(config, utc_clock)))
    sealed = await before.seal(tenant_id, "t", "c", row_id, b"x")
    moved = DataKeys(scratch_database.pool, KmsKeys(replace(config, key_arn=ARNS[1]), utc_clock))
    assert await Sealer(moved).unseal(tenant_id, "t", "c", row_id, sealed) == b"x"
    assert (await rotate_key_encryption(scratch_database, moved)).changed == 1
    del kms.keys[ARNS[0]]
    after = Sealer(DataKeys(scratch_database.pool, moved.keeper))
    assert await after.unseal(tenant_id, "t", "c", row_id, sealed) == b"x"


def test_settings_name_the_service_of_the_keys_region() -> None:
    assert kms_config(settings()).endpoint == "https://kms.ap-south-1.amazonaws.com"
    china = ARNS[0].replace("arn:aws:", "arn:aws-cn:").replace(REGION, "cn-north-1")
    assert kms_config(settings(MANDI_KMS_KEY_ARN=china)).endpoint == "https://kms.cn-north-1.amazonaws.com.cn"
    assert SECRET_ACCESS_KEY not in repr(kms_config(settings()))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"MANDI_KMS_KEY_ARN": "alias/mandi"}, "MANDI_KMS_KEY_ARN"),
        ({"MANDI_KMS_KEY_ARN": f"{ARNS[0]} "}, "MANDI_KMS_KEY_ARN"),
        ({"AWS_ACCESS_KEY_ID": None}, "AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": None}, "AWS_SECRET_ACCESS_KEY"),
        ({"MANDI_KMS_ENDPOINT": "http://kms.local"}, "MANDI_KMS_ENDPOINT"),
        ({"MANDI_KMS_ENDPOINT": "http://127.0.0.1:1"}, "MANDI_KMS_ENDPOINT"),
        ({"MANDI_KMS_ENDPOINT": "http://localhost.evil", "MANDI_ENVIRONMENT": "local"}, "MANDI_KMS_ENDPOINT"),
    ],
)
def test_incomplete_settings_are_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        key_keeper(settings(**given), utc_clock)


def test_the_settings_decide_who_keeps_the_keys() -> None:
    assert type(key_keeper(settings(), utc_clock)) is KmsKeys
    assert type(key_keeper(settings(MANDI_KMS_KEY_ARN=None), utc_clock)) is NoKeys
    local = settings(MANDI_KMS_KEY_ARN=None, MANDI_ENVIRONMENT="local")
    assert type(key_keeper(local, utc_clock)) is LocalKeys
