"""A person's logins as `/account/sessions` shows them."""

from datetime import datetime
from uuid import UUID

from pydantic import ConfigDict, Field

from app.kernel.ids import encode_id
from app.platform.people.domain import browser_name
from app.platform.people.service.sessions import PREFIX
from app.platform.people.tables import LoginSession
from app.web.models import ApiModel


class SessionOut(ApiModel):
    """One login. Its token is nowhere but in the browser's cookie."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "ses_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "current": True,
                    "browser": "Firefox on Linux",
                    "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
                    "source_ip": "203.0.113.7",
                    "amr": ["pwd", "otp", "mfa"],
                    "auth_time": "2026-01-31T09:15:00Z",
                    "last_seen_at": "2026-01-31T09:20:00Z",
                    "expires_at": "2026-02-07T09:15:00Z",
                    "created_at": "2026-01-31T09:15:00Z",
                }
            ]
        }
    )

    id: str
    current: bool = Field(description="The login that asks.")
    browser: str = Field(description="The browser as people call it, guessed from what it says of itself.")
    user_agent: str | None
    source_ip: str | None
    amr: list[str] = Field(description="What was proven (RFC 8176): pwd, otp, mfa; recovery for a recovery code.")
    auth_time: datetime = Field(description="When it was proven last.")
    last_seen_at: datetime
    expires_at: datetime
    created_at: datetime

    @classmethod
    def of(cls, row: LoginSession, *, current: UUID) -> "SessionOut":
        return cls(
            id=encode_id(PREFIX, row.id),
            current=row.id == current,
            browser=browser_name(row.user_agent),
            user_agent=row.user_agent,
            source_ip=row.source_ip,
            amr=row.amr,
            auth_time=row.auth_time,
            last_seen_at=row.last_seen_at,
            expires_at=row.expires_at,
            created_at=row.created_at,
        )


class SessionsOut(ApiModel):
    """A person's logins. `form_token` goes into the header `X-Form-Token` of a request that ends one."""

    data: list[SessionOut]
    form_token: str | None
