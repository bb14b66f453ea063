"""Decides how the key management service is reached: by the key's ARN, with credentials of the environment."""

import re
from dataclasses import dataclass, field

from app.infra.settings import Settings, SettingsError

_ARN = re.compile(r"arn:(aws|aws-cn|aws-us-gov):kms:([a-z0-9-]+):\d{12}:key/[A-Za-z0-9-]+")
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")


@dataclass(frozen=True, slots=True)
class KmsConfig:
    """The key, where its service answers, and who asks."""

    key_arn: str
    region: str
    endpoint: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


def kms_config(settings: Settings) -> KmsConfig:
    """The configuration that `settings` name. Raises `SettingsError` for what is missing or malformed."""
    match = _ARN.fullmatch(settings.kms_key_arn or "")
    if settings.kms_key_arn is None or match is None:
        raise SettingsError("MANDI_KMS_KEY_ARN must be a key's ARN, arn:aws:kms:<region>:<account>:key/<id>: no alias")
    if settings.aws_access_key_id is None or settings.aws_secret_access_key is None:
        raise SettingsError("MANDI_KMS_KEY_ARN needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    partition, region = match.groups()
    suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    endpoint = (settings.kms_endpoint or f"https://kms.{region}.{suffix}").rstrip("/")
    local = settings.environment == "local" and _LOOPBACK.fullmatch(endpoint)
    if not endpoint.startswith("https://") and not local:
        raise SettingsError("MANDI_KMS_ENDPOINT must start with https://")
    token = settings.aws_session_token
    return KmsConfig(
        settings.kms_key_arn,
        region,
        endpoint,
        settings.aws_access_key_id.get_secret_value(),
        settings.aws_secret_access_key.get_secret_value(),
        token.get_secret_value() if token else None,
    )
