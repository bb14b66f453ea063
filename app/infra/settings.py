"""Decides what can be configured, under which environment name, and what is said when it is missing or malformed."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_ISSUER = re.compile(r"https://[a-z0-9.-]+(:[0-9]{1,5})?|http://(localhost|127\.0\.0\.1)(:[0-9]{1,5})?", re.ASCII)


class SettingsError(Exception):
    """Names every missing or malformed variable, without its value. `mandi` exits 78 (EX_CONFIG) on it."""


class Settings(BaseSettings):
    """One field per environment variable; `.env.example` explains each. Secrets are `SecretStr`: never printed."""

    model_config = SettingsConfigDict(env_file=None, extra="ignore", frozen=True)

    app_database_url: SecretStr = Field(alias="APP_DATABASE_URL")
    dispatch_database_url: SecretStr = Field(alias="DISPATCH_DATABASE_URL")
    reference_database_url: SecretStr = Field(alias="REFERENCE_DATABASE_URL")
    migrate_database_url: SecretStr | None = Field(default=None, alias="MIGRATE_DATABASE_URL")
    redis_url: SecretStr = Field(alias="REDIS_URL")
    redis_stream_url: SecretStr | None = Field(default=None, alias="REDIS_STREAM_URL")
    data_dir: Path = Field(alias="MANDI_DATA_DIR")
    environment: Literal["local", "production"] = Field(default="production", alias="MANDI_ENVIRONMENT")
    cell: str = Field(default="in1", alias="MANDI_CELL", pattern=r"^[a-z]{2}[0-9]{1,2}$")
    issuer: str | None = Field(default=None, alias="MANDI_ISSUER")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", alias="LOG_LEVEL")
    database_pool_size: int = Field(default=10, ge=2, le=100, alias="DATABASE_POOL_SIZE")
    gateway_processes: int = Field(default=4, ge=1, le=1_000, alias="GATEWAY_PROCESSES")
    anonymous_calls_per_minute: int = Field(default=6_000, ge=1, le=1_000_000, alias="ANONYMOUS_CALLS_PER_MINUTE")
    worker_concurrency: int = Field(default=1, ge=1, le=64, alias="WORKER_CONCURRENCY")
    lasting_lease_s: float = Field(default=20.0, ge=2, le=600, alias="LASTING_LEASE_SECONDS")
    unknown_order_seconds: int = Field(default=180, ge=91, le=3_600, alias="UNKNOWN_ORDER_SECONDS")
    order_backlog_s: float = Field(default=2.0, ge=0.5, le=86_400, alias="ORDER_BACKLOG_SECONDS")
    backtest_backlog_s: float = Field(default=300.0, ge=1, le=86_400, alias="BACKTEST_BACKLOG_SECONDS")
    replay_bars_per_second: float = Field(default=20.0, ge=0, le=100_000, alias="REPLAY_BARS_PER_SECOND")
    otel_endpoint: str | None = Field(default=None, alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    secret_key: SecretStr | None = Field(default=None, alias="MANDI_SECRET_KEY", min_length=32)
    public_url: str = Field(default="http://localhost:8000", alias="MANDI_PUBLIC_URL")
    smtp_url: SecretStr | None = Field(default=None, alias="SMTP_URL")
    mail_from: str = Field(default="Mandi <no-reply@localhost>", alias="MAIL_FROM")
    kms_key_arn: str | None = Field(default=None, alias="MANDI_KMS_KEY_ARN")
    kms_endpoint: str | None = Field(default=None, alias="MANDI_KMS_ENDPOINT")
    aws_access_key_id: SecretStr | None = Field(default=None, alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: SecretStr | None = Field(default=None, alias="AWS_SECRET_ACCESS_KEY")
    aws_session_token: SecretStr | None = Field(default=None, alias="AWS_SESSION_TOKEN")
    kite_api_key: SecretStr | None = Field(default=None, alias="KITE_API_KEY")
    kite_api_secret: SecretStr | None = Field(default=None, alias="KITE_API_SECRET")

    @field_validator(
        "app_database_url",
        "dispatch_database_url",
        "reference_database_url",
        "migrate_database_url",
    )
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must start with postgresql://")
        return value

    @field_validator("redis_url", "redis_stream_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value

    @field_validator("public_url")
    @classmethod
    def _is_web(cls, value: str) -> str:
        if not value.startswith(("https://", "http://")):
            raise ValueError("must start with https:// (http:// on a local stack)")
        return value.rstrip("/")

    @field_validator("smtp_url")
    @classmethod
    def _is_smtp(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("smtp://", "smtps://")):
            raise ValueError("must start with smtps:// (TLS from the start) or smtp:// (STARTTLS)")
        return value

    @field_validator("issuer")
    @classmethod
    def _is_issuer(cls, value: str | None) -> str | None:
        if value is not None and not _ISSUER.fullmatch(value):
            raise ValueError("must be https://host without a path or a final slash (http only for 127.0.0.1)")
        return value

    @property
    def stream_url(self) -> str:
        """The Redis that carries market data: losable and bounded; the broker's own by default."""
        return (self.redis_stream_url or self.redis_url).get_secret_value()


def load_settings() -> Settings:
    """Settings from the environment. Raises `SettingsError` naming each bad variable and what it should be."""
    try:
        return Settings()  # type: ignore[call-arg]  # fields come from the environment
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors(include_input=False)]
        raise SettingsError("settings are incomplete (see .env.example):\n  " + "\n  ".join(lines)) from None
