"""Decides what a tenant may be called and which roles its members have."""

import re
from enum import StrEnum

from app.kernel.errors import invalid

_SLUG = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", re.ASCII)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+", re.ASCII)


class TenantStatus(StrEnum):
    """A suspended tenant may close positions and cancel orders, not open new ones."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class Role(StrEnum):
    """What a member does for the tenant."""

    OWNER = "owner"
    ADMIN = "admin"
    TRADER = "trader"
    RISK_OFFICER = "risk_officer"
    COMPLIANCE_OFFICER = "compliance_officer"
    ANALYST = "analyst"
    SUPPORT = "support"
    READ_ONLY = "read_only"


def check_slug(slug: str) -> str:
    """`slug` when it can be a host name's label. Raises `invalid_slug`."""
    if not _SLUG.fullmatch(slug):
        raise invalid("invalid_slug", "slug takes 1 to 40 of a-z, 0-9 and inner hyphens.", param="slug")
    return slug


def normal_email(email: str) -> str:
    """`email` trimmed and in lower case, as it is stored and compared. Raises `invalid_email`."""
    normal = email.strip().lower()
    if len(normal) > 254 or not _EMAIL.fullmatch(normal):
        raise invalid("invalid_email", "email must look like name@example.com.", param="email")
    return normal
