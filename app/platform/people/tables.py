"""Decides what is stored about people: proofs only as hashes or sealed, each row visible to its own person alone.

Row-level security compares the person's column with the transaction's `app.user_id` (`infra.rls.enable_person_rls`).
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.infra.columns import bigint, text_array, utc
from app.kernel.ids import uuid7


class User(SQLModel, table=True):
    """A person whose address is verified. `totp_secret` is sealed; it counts once `totp_confirmed_at` is set.

    `totp_last_step` is the time step of the last code that was taken: no code of it or before is taken again.
    """

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("email"),
        CheckConstraint("email = lower(email)", name="email"),
        CheckConstraint("status IN ('active', 'suspended')", name="status"),
        CheckConstraint("totp_confirmed_at IS NULL OR totp_secret IS NOT NULL", name="totp"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (password_hash, password_changed_at, totp_secret, totp_confirmed_at,"
                " totp_last_step, status)",
                "lookup": "SELECT",
            }
        },
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    email: str
    password_hash: str
    email_verified_at: datetime = utc()
    password_changed_at: datetime = utc()
    status: str = "active"
    totp_secret: bytes | None = None
    totp_confirmed_at: datetime | None = utc(nullable=True)
    totp_last_step: int | None = bigint(nullable=True)
    created_at: datetime = utc()


class SignUp(SQLModel, table=True):
    """An address and password that wait for the address's proof. `id` becomes the person's.

    Every sign-up is a row of its own, also for an address that has an account: nothing here depends on what exists.
    `invitation` is the sealed token of the invitation that it came from.
    """

    __tablename__ = "sign_ups"
    __table_args__ = (
        CheckConstraint("email = lower(email)", name="email"),
        {"info": {"app": "SELECT, INSERT, DELETE", "dispatch": "SELECT (id, created_at), DELETE"}},
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    email: str
    password_hash: str
    invitation: bytes | None = Field(default=None, repr=False)
    created_at: datetime = utc()


class MailToken(SQLModel, table=True):
    """What a mailed link proves, once. `user_id` is the person's, or for a sign-up the person's to be."""

    __tablename__ = "mail_tokens"
    __table_args__ = (
        Index("mail_tokens_token_hash_key", "token_hash", unique=True),
        Index("mail_tokens_user_id_idx", "user_id"),
        CheckConstraint("purpose IN ('sign_up', 'password_reset')", name="purpose"),
        CheckConstraint("length(token_hash) = 32", name="token_hash"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (used_at)",
                "dispatch": "SELECT (id, expires_at), DELETE",
                "lookup": "SELECT",
            }
        },
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    user_id: UUID
    purpose: str
    token_hash: bytes
    expires_at: datetime = utc()
    used_at: datetime | None = utc(nullable=True)
    created_at: datetime = utc()


class RecoveryCode(SQLModel, table=True):
    """One of ten codes that stand in for the second factor, each once. SHA-256: a code has 80 random bits."""

    __tablename__ = "recovery_codes"
    __table_args__ = (
        UniqueConstraint("user_id", "code_hash"),
        ForeignKeyConstraint(["user_id"], ["users.id"]),
        CheckConstraint("length(code_hash) = 32", name="code_hash"),
        {"info": {"app": "SELECT, INSERT, UPDATE (used_at), DELETE"}},
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    user_id: UUID
    code_hash: bytes
    used_at: datetime | None = utc(nullable=True)
    created_at: datetime = utc()


class LoginSession(SQLModel, table=True):
    """A login on one browser. `pending` waits for the second factor. The token rotates, the row stays."""

    __tablename__ = "login_sessions"
    __table_args__ = (
        Index("login_sessions_token_hash_key", "token_hash", unique=True),
        Index("login_sessions_user_id_idx", "user_id"),
        ForeignKeyConstraint(["user_id"], ["users.id"]),
        CheckConstraint("length(token_hash) = 32", name="token_hash"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (token_hash, pending, auth_time, amr, last_seen_at, expires_at,"
                " ended_at)",
                "dispatch": "SELECT (id, expires_at), DELETE",
                "lookup": "SELECT",
            }
        },
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    user_id: UUID
    token_hash: bytes
    pending: bool
    auth_time: datetime = utc()
    amr: list[str] = text_array()
    source_ip: str | None = None
    user_agent: str | None = None
    last_seen_at: datetime = utc()
    expires_at: datetime = utc()
    ended_at: datetime | None = utc(nullable=True)
    created_at: datetime = utc()


class MailRequest(SQLModel, table=True):
    """A mail to be made and sent: written the same way for addresses with and without an account.

    `user_id` is the person's to be for a sign-up, else random. The role `dispatch` sends: it finds out who has the
    address, makes the token, and deletes the row. An invitation's `letter` is sealed: it holds the token already.
    """

    __tablename__ = "mail_requests"
    __table_args__ = (
        Index("mail_requests_due_idx", "available_at"),
        CheckConstraint("purpose IN ('sign_up', 'password_reset', 'security_changed', 'invitation')", name="purpose"),
        CheckConstraint("(letter IS NOT NULL) = (purpose = 'invitation')", name="letter"),
        CheckConstraint("email = lower(email)", name="email"),
        {"info": {"app": "INSERT", "dispatch": "SELECT, UPDATE (available_at, attempts), DELETE"}},
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    user_id: UUID
    purpose: str
    email: str
    letter: bytes | None = Field(default=None, repr=False)
    attempts: int = bigint(default=0)
    available_at: datetime = utc()
    created_at: datetime = utc()
