"""People: users, sign-ups, their mail, second factors and sessions; each row is its own person's."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from app.infra.rls import enable_person_rls

revision = "0004"
down_revision = "0003"


def _time(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        _time("email_verified_at"),
        _time("password_changed_at"),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("totp_secret", sa.LargeBinary(), nullable=True),
        _time("totp_confirmed_at", nullable=True),
        sa.Column("totp_last_step", sa.BigInteger(), nullable=True),
        _time("created_at"),
        sa.CheckConstraint("email = lower(email)", name=op.f("users_email_check")),
        sa.CheckConstraint("status IN ('active', 'suspended')", name=op.f("users_status_check")),
        sa.CheckConstraint("totp_confirmed_at IS NULL OR totp_secret IS NOT NULL", name=op.f("users_totp_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("users_pkey")),
        sa.UniqueConstraint("email", name=op.f("users_email_key")),
    )
    op.create_table(
        "sign_ups",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        _time("created_at"),
        sa.CheckConstraint("email = lower(email)", name=op.f("sign_ups_email_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("sign_ups_pkey")),
    )
    op.create_table(
        "mail_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        _time("expires_at"),
        _time("used_at", nullable=True),
        _time("created_at"),
        sa.CheckConstraint("purpose IN ('sign_up', 'password_reset')", name=op.f("mail_tokens_purpose_check")),
        sa.CheckConstraint("length(token_hash) = 32", name=op.f("mail_tokens_token_hash_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("mail_tokens_pkey")),
    )
    op.create_index("mail_tokens_token_hash_key", "mail_tokens", ["token_hash"], unique=True)
    op.create_index("mail_tokens_user_id_idx", "mail_tokens", ["user_id"], unique=False)
    op.create_table(
        "recovery_codes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        _time("used_at", nullable=True),
        _time("created_at"),
        sa.CheckConstraint("length(code_hash) = 32", name=op.f("recovery_codes_code_hash_check")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("recovery_codes_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("recovery_codes_pkey")),
        sa.UniqueConstraint("user_id", "code_hash", name=op.f("recovery_codes_user_id_code_hash_key")),
    )
    op.create_table(
        "login_sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("pending", sa.Boolean(), nullable=False),
        _time("auth_time"),
        sa.Column("amr", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("source_ip", sa.Text(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        _time("last_seen_at"),
        _time("expires_at"),
        _time("ended_at", nullable=True),
        _time("created_at"),
        sa.CheckConstraint("length(token_hash) = 32", name=op.f("login_sessions_token_hash_check")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("login_sessions_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("login_sessions_pkey")),
    )
    op.create_index("login_sessions_token_hash_key", "login_sessions", ["token_hash"], unique=True)
    op.create_index("login_sessions_user_id_idx", "login_sessions", ["user_id"], unique=False)
    op.create_table(
        "mail_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        _time("available_at"),
        _time("created_at"),
        sa.CheckConstraint(
            "purpose IN ('sign_up', 'password_reset', 'security_changed')", name=op.f("mail_requests_purpose_check")
        ),
        sa.CheckConstraint("email = lower(email)", name=op.f("mail_requests_email_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("mail_requests_pkey")),
    )
    op.create_index("mail_requests_due_idx", "mail_requests", ["available_at"], unique=False)
    _protect()


def _protect() -> None:
    enable_person_rls(
        op,
        "users",
        person="id",
        app="SELECT, INSERT, UPDATE (password_hash, password_changed_at, totp_secret, totp_confirmed_at,"
        " totp_last_step, status)",
        lookup="SELECT",
    )
    enable_person_rls(op, "sign_ups", person="id", app="SELECT, INSERT, DELETE")
    enable_person_rls(op, "mail_tokens", person="user_id", app="SELECT, INSERT, UPDATE (used_at)", lookup="SELECT")
    enable_person_rls(op, "recovery_codes", person="user_id", app="SELECT, INSERT, UPDATE (used_at), DELETE")
    enable_person_rls(
        op,
        "login_sessions",
        person="user_id",
        app="SELECT, INSERT, UPDATE (token_hash, pending, auth_time, amr, last_seen_at, expires_at, ended_at)",
        lookup="SELECT",
    )
    enable_person_rls(
        op,
        "mail_requests",
        person="user_id",
        app="INSERT",
        dispatch="SELECT, UPDATE (available_at, attempts), DELETE",
    )


def downgrade() -> None:
    for table in ("mail_requests", "login_sessions", "recovery_codes", "mail_tokens", "sign_ups", "users"):
        op.execute(f"DROP TABLE {table} CASCADE")
