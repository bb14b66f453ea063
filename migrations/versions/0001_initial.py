"""The first schema: every table of the walking skeleton, its policies and grants."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text, Uuid
from sqlalchemy.dialects import postgresql

from app.infra.rls import enable_tenant_rls, global_table

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "event_heads",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("event_heads_pkey")),
    )
    op.create_table(
        "events",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("data", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("actor_key_id", sa.Uuid(), nullable=True),
        sa.Column("source_ip", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "xid", sa.BigInteger(), server_default=sa.text("(pg_current_xact_id()::text)::bigint"), nullable=False
        ),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("events_pkey")),
        postgresql_partition_by="HASH (tenant_id)",
    )
    op.create_index("events_tenant_id_position_idx", "events", ["tenant_id", "position"], unique=True)
    op.create_index(
        "events_unstamped_idx", "events", ["xid"], unique=False, postgresql_where=sa.text("position IS NULL")
    )
    op.create_table(
        "feed_state",
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("interval", sa.Text(), nullable=False),
        sa.Column("market_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("watermark", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bars_published", sa.BigInteger(), nullable=False),
        sa.Column("last_stream_id", sa.Text(), nullable=False),
        sa.Column("speed", sa.Float(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('running', 'finished')", name=op.f("feed_state_status_check")),
        sa.PrimaryKeyConstraint("feed", name=op.f("feed_state_pkey")),
    )
    op.create_table(
        "instruments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("isin", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("price_exp", sa.Integer(), nullable=False),
        sa.Column("qty_exp", sa.Integer(), nullable=False),
        sa.Column("listed_on", sa.Date(), nullable=True),
        sa.Column("delisted_on", sa.Date(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.CheckConstraint("price_exp BETWEEN 0 AND 9", name=op.f("instruments_price_exp_check")),
        sa.CheckConstraint("qty_exp BETWEEN 0 AND 9", name=op.f("instruments_qty_exp_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("instruments_pkey")),
        sa.UniqueConstraint("isin", "venue", name=op.f("instruments_isin_venue_key")),
    )
    op.create_index("instruments_symbol_venue_idx", "instruments", ["symbol", "venue"], unique=False)
    op.create_table(
        "ledger_transactions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("posted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.CheckConstraint(
            "kind IN ('funding', 'deposit', 'withdrawal', 'transfer', 'fill', 'charge', 'dividend', 'split_cash', 'settlement', 'reversal', 'adjustment')",
            name=op.f("ledger_transactions_kind_check"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("ledger_transactions_pkey")),
        sa.UniqueConstraint(
            "tenant_id", "idempotency_key", name=op.f("ledger_transactions_tenant_id_idempotency_key_key")
        ),
    )
    op.create_table(
        "paper_checkpoints",
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("stream_id", sa.Text(), nullable=False),
        sa.Column("market_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("feed", name=op.f("paper_checkpoints_pkey")),
    )
    op.create_table(
        "strategies",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("template", sa.Text(), nullable=True),
        sa.Column("parameters", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("strategies_pkey")),
    )
    op.create_table(
        "tenants",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('active', 'suspended')", name=op.f("tenants_status_check")),
        sa.CheckConstraint("id = tenant_id", name=op.f("tenants_own_check")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("tenants_pkey")),
        sa.UniqueConstraint("tenant_id", name=op.f("tenants_tenant_id_key")),
    )
    op.create_table(
        "trading_sessions",
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("opens_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closes_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('regular', 'early_close', 'special', 'muhurat', 'pre_open', 'closing_auction', 'post_close')",
            name=op.f("trading_sessions_kind_check"),
        ),
        sa.CheckConstraint("closes_at > opens_at", name=op.f("trading_sessions_times_check")),
        sa.PrimaryKeyConstraint("venue", "segment", "opens_at", name=op.f("trading_sessions_pkey")),
    )
    op.create_index("trading_sessions_closes_idx", "trading_sessions", ["venue", "segment", "closes_at"], unique=False)
    op.create_table(
        "work_items",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("lane", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="ready", nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column(
            "available_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state in ('ready', 'done', 'dead')", name=op.f("work_items_state_check")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("work_items_pkey")),
    )
    op.create_index(
        "work_items_lane_idx",
        "work_items",
        ["tenant_id", "queue", "lane", "priority", "sequence"],
        unique=False,
        postgresql_where=sa.text("state = 'ready'"),
    )
    op.create_index(
        "work_items_ready_idx",
        "work_items",
        ["queue", "shard", "available_at"],
        unique=False,
        postgresql_where=sa.text("state = 'ready'"),
    )
    op.create_table(
        "work_leases",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("lane", sa.Uuid(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "queue", "lane", name=op.f("work_leases_pkey")),
    )
    op.create_table(
        "api_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(Text()), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("mode IN ('test', 'live')", name=op.f("api_keys_mode_check")),
        sa.CheckConstraint("length(secret_hash) = 32", name=op.f("api_keys_secret_hash_check")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("api_keys_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("api_keys_pkey")),
    )
    op.create_index("api_keys_key_id_key", "api_keys", ["key_id"], unique=True)
    op.create_table(
        "bar_series",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("interval", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("price_exp", sa.Integer(), nullable=False),
        sa.Column("qty_exp", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("license", sa.Text(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("path !~ '(^/|\\.\\.)'", name=op.f("bar_series_path_check")),
        sa.CheckConstraint("rows > 0 AND last_at >= first_at", name=op.f("bar_series_extent_check")),
        sa.ForeignKeyConstraint(["instrument_id"], ["instruments.id"], name=op.f("bar_series_instrument_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("bar_series_pkey")),
    )
    op.create_index(
        "bar_series_current_idx",
        "bar_series",
        ["instrument_id", "interval"],
        unique=True,
        postgresql_where=sa.text("superseded_at IS NULL"),
    )
    op.create_table(
        "clients",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("external_ref", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('active', 'closed')", name=op.f("clients_status_check")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("clients_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("clients_pkey")),
        sa.UniqueConstraint("tenant_id", "external_ref", name=op.f("clients_tenant_id_external_ref_key")),
    )
    op.create_table(
        "corporate_actions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ex_date", sa.Date(), nullable=False),
        sa.Column("numerator", sa.BigInteger(), nullable=True),
        sa.Column("denominator", sa.BigInteger(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(kind = 'split' AND numerator > 0 AND denominator > 0 AND amount IS NULL AND currency IS NULL) OR (kind = 'dividend' AND amount > 0 AND currency IS NOT NULL AND numerator IS NULL AND denominator IS NULL)",
            name=op.f("corporate_actions_terms_check"),
        ),
        sa.CheckConstraint("kind IN ('split', 'dividend')", name=op.f("corporate_actions_kind_check")),
        sa.ForeignKeyConstraint(
            ["instrument_id"], ["instruments.id"], name=op.f("corporate_actions_instrument_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("corporate_actions_pkey")),
        sa.UniqueConstraint(
            "instrument_id", "kind", "ex_date", name=op.f("corporate_actions_instrument_id_kind_ex_date_key")
        ),
    )
    op.create_table(
        "instrument_rules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("session_segment", sa.Text(), nullable=False),
        sa.Column("tick", sa.BigInteger(), nullable=False),
        sa.Column("lot", sa.BigInteger(), nullable=False),
        sa.Column("freeze_quantity", sa.BigInteger(), nullable=True),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recorded_from", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("recorded_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "freeze_quantity IS NULL OR freeze_quantity >= lot", name=op.f("instrument_rules_freeze_check")
        ),
        sa.CheckConstraint("tick > 0 AND lot > 0", name=op.f("instrument_rules_positive_check")),
        sa.CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name=op.f("instrument_rules_valid_check")),
        sa.ForeignKeyConstraint(
            ["instrument_id"], ["instruments.id"], name=op.f("instrument_rules_instrument_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("instrument_rules_pkey")),
    )
    op.create_index(
        "instrument_rules_current_idx",
        "instrument_rules",
        ["instrument_id", "valid_from"],
        unique=True,
        postgresql_where=sa.text("recorded_to IS NULL"),
    )
    op.create_table(
        "last_prices",
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("market_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("session_date", sa.Date(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["instrument_id"], ["instruments.id"], name=op.f("last_prices_instrument_id_fkey")),
        sa.PrimaryKeyConstraint("feed", "instrument_id", name=op.f("last_prices_pkey")),
    )
    op.create_table(
        "members",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('active', 'suspended')", name=op.f("members_status_check")),
        sa.CheckConstraint("email = lower(email)", name=op.f("members_email_check")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("members_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("members_pkey")),
        sa.UniqueConstraint("tenant_id", "email", name=op.f("members_tenant_id_email_key")),
    )
    op.create_table(
        "accounts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("broker", sa.Text(), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("charge_schedule", sa.Text(), nullable=False),
        sa.Column("slippage_bps", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("broker <> 'paper' OR mode = 'test'", name=op.f("accounts_paper_check")),
        sa.CheckConstraint("mode IN ('test', 'live')", name=op.f("accounts_mode_check")),
        sa.CheckConstraint("status IN ('active', 'reduce_only', 'closed')", name=op.f("accounts_status_check")),
        sa.CheckConstraint("slippage_bps BETWEEN 0 AND 1000", name=op.f("accounts_slippage_check")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_id"],
            ["clients.tenant_id", "clients.id"],
            name=op.f("accounts_tenant_id_client_id_fkey"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("accounts_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("accounts_pkey")),
        sa.UniqueConstraint("tenant_id", "id", "mode", name=op.f("accounts_tenant_id_id_mode_key")),
    )
    op.create_index(
        "accounts_client_idx",
        "accounts",
        ["tenant_id", "client_id"],
        unique=False,
        postgresql_where=sa.text("client_id IS NOT NULL"),
    )
    op.create_table(
        "deployments",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("strategy_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("bar_interval", sa.Text(), nullable=False),
        sa.Column("instruments", postgresql.ARRAY(Uuid()), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("first_bar", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_bar", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('running', 'paused', 'stopped')", name=op.f("deployments_status_check")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account_id"],
            ["accounts.tenant_id", "accounts.id"],
            name=op.f("deployments_tenant_id_account_id_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "strategy_id"],
            ["strategies.tenant_id", "strategies.id"],
            name=op.f("deployments_tenant_id_strategy_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("deployments_pkey")),
    )
    op.create_index(
        "deployments_due_idx",
        "deployments",
        ["feed", "bar_interval", "last_bar"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index(
        "deployments_one_per_account_idx",
        "deployments",
        ["tenant_id", "account_id"],
        unique=True,
        postgresql_where=sa.text("status <> 'stopped'"),
    )
    op.create_table(
        "ledger_accounts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("book", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("posted", sa.BigInteger(), nullable=False),
        sa.Column("pending_out", sa.BigInteger(), nullable=False),
        sa.Column("overdrawn", sa.BigInteger(), nullable=False),
        sa.Column("floor_minor", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(account_id IS NOT NULL) = (kind = 'client_cash')", name=op.f("ledger_accounts_owner_check")
        ),
        sa.CheckConstraint(
            "(book = 'firm') = (kind IN ('firm_bank', 'firm_income'))", name=op.f("ledger_accounts_firm_check")
        ),
        sa.CheckConstraint("book IN ('client', 'firm')", name=op.f("ledger_accounts_book_check")),
        sa.CheckConstraint(
            "kind IN ('client_cash', 'omnibus_bank', 'clearing', 'charges', 'suspense', 'firm_bank', 'firm_income')",
            name=op.f("ledger_accounts_kind_check"),
        ),
        sa.CheckConstraint("overdrawn >= 0", name=op.f("ledger_accounts_overdrawn_check")),
        sa.CheckConstraint("pending_out >= 0", name=op.f("ledger_accounts_pending_out_check")),
        sa.CheckConstraint("posted - pending_out + overdrawn >= floor_minor", name=op.f("ledger_accounts_floor_check")),
        sa.CheckConstraint("shard BETWEEN 0 AND 63", name=op.f("ledger_accounts_shard_check")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account_id"],
            ["accounts.tenant_id", "accounts.id"],
            name=op.f("ledger_accounts_tenant_id_account_id_fkey"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("ledger_accounts_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("ledger_accounts_pkey")),
    )
    op.create_index(
        "ledger_accounts_owned_idx",
        "ledger_accounts",
        ["tenant_id", "account_id", "kind"],
        unique=True,
        postgresql_where=sa.text("account_id IS NOT NULL"),
    )
    op.create_index(
        "ledger_accounts_pooled_idx",
        "ledger_accounts",
        ["tenant_id", "kind", "currency", "shard"],
        unique=True,
        postgresql_where=sa.text("account_id IS NULL"),
    )
    op.create_table(
        "positions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("cost_minor", sa.BigInteger(), nullable=False),
        sa.Column("realised_minor", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["instrument_id"], ["instruments.id"], name=op.f("positions_instrument_id_fkey")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account_id"],
            ["accounts.tenant_id", "accounts.id"],
            name=op.f("positions_tenant_id_account_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("positions_pkey")),
        sa.UniqueConstraint(
            "tenant_id",
            "account_id",
            "book_id",
            "instrument_id",
            name=op.f("positions_tenant_id_account_id_book_id_instrument_id_key"),
        ),
    )
    op.create_table(
        "risk_days",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("opening_equity_minor", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account_id"],
            ["accounts.tenant_id", "accounts.id"],
            name=op.f("risk_days_tenant_id_account_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("risk_days_pkey")),
        sa.UniqueConstraint("tenant_id", "account_id", "day", name=op.f("risk_days_tenant_id_account_id_day_key")),
    )
    op.create_table(
        "risk_decisions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("findings", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("verdict IN ('approved', 'denied')", name=op.f("risk_decisions_verdict_check")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account_id"],
            ["accounts.tenant_id", "accounts.id"],
            name=op.f("risk_decisions_tenant_id_account_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("risk_decisions_pkey")),
    )
    op.create_index(
        "risk_decisions_denied_idx",
        "risk_decisions",
        ["tenant_id", "account_id"],
        unique=False,
        postgresql_where=sa.text("verdict = 'denied'"),
    )
    op.create_table(
        "risk_limits",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("parameters", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account_id"],
            ["accounts.tenant_id", "accounts.id"],
            name=op.f("risk_limits_tenant_id_account_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("risk_limits_pkey")),
        sa.UniqueConstraint(
            "tenant_id",
            "account_id",
            "rule",
            name=op.f("risk_limits_tenant_id_account_id_rule_key"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_account_id", sa.Uuid(), nullable=False),
        sa.Column("account_version", sa.BigInteger(), nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("balance_after", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount <> 0", name=op.f("ledger_entries_amount_check")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "ledger_account_id"],
            ["ledger_accounts.tenant_id", "ledger_accounts.id"],
            name=op.f("ledger_entries_tenant_id_ledger_account_id_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "transaction_id"],
            ["ledger_transactions.tenant_id", "ledger_transactions.id"],
            name=op.f("ledger_entries_tenant_id_transaction_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "ledger_account_id", "account_version", name=op.f("ledger_entries_pkey")),
        sa.UniqueConstraint(
            "tenant_id",
            "transaction_id",
            "ledger_account_id",
            name=op.f("ledger_entries_tenant_id_transaction_id_ledger_account_id_key"),
        ),
    )
    op.create_table(
        "ledger_holds",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("ledger_account_id", sa.Uuid(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("remaining", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'pending') = (remaining > 0)", name=op.f("ledger_holds_pending_check")),
        sa.CheckConstraint("state IN ('pending', 'posted', 'voided')", name=op.f("ledger_holds_state_check")),
        sa.CheckConstraint("amount > 0 AND remaining BETWEEN 0 AND amount", name=op.f("ledger_holds_remaining_check")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "ledger_account_id"],
            ["ledger_accounts.tenant_id", "ledger_accounts.id"],
            name=op.f("ledger_holds_tenant_id_ledger_account_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("ledger_holds_pkey")),
    )
    op.create_index(
        "ledger_holds_pending_idx",
        "ledger_holds",
        ["tenant_id", "ledger_account_id"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "orders",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("deployment_id", sa.Uuid(), nullable=True),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("broker", sa.Text(), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("order_type", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("validity", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("limit_price", sa.BigInteger(), nullable=True),
        sa.Column("filled_quantity", sa.BigInteger(), nullable=False),
        sa.Column("filled_notional", sa.BigInteger(), nullable=False),
        sa.Column("hold_minor", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("intent_reason", sa.Text(), nullable=True),
        sa.Column("broker_tag", sa.Text(), nullable=False),
        sa.Column("venue_order_id", sa.Text(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=True),
        sa.Column("market_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(order_type = 'limit') = (limit_price IS NOT NULL)", name=op.f("orders_limit_price_check")),
        sa.CheckConstraint("order_type IN ('market', 'limit')", name=op.f("orders_order_type_check")),
        sa.CheckConstraint("product IN ('delivery', 'intraday')", name=op.f("orders_product_check")),
        sa.CheckConstraint("side IN ('buy', 'sell')", name=op.f("orders_side_check")),
        sa.CheckConstraint("status <> 'filled' OR filled_quantity = quantity", name=op.f("orders_filled_check")),
        sa.CheckConstraint(
            "status IN ('denied', 'accepted', 'submitting', 'unknown', 'open', 'partially_filled', 'filled', 'cancelled', 'rejected', 'expired', 'lost')",
            name=op.f("orders_status_check"),
        ),
        sa.CheckConstraint("validity IN ('day', 'gtc')", name=op.f("orders_validity_check")),
        sa.CheckConstraint(
            "quantity > 0 AND filled_quantity BETWEEN 0 AND quantity", name=op.f("orders_quantity_check")
        ),
        sa.ForeignKeyConstraint(["instrument_id"], ["instruments.id"], name=op.f("orders_instrument_id_fkey")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account_id", "mode"],
            ["accounts.tenant_id", "accounts.id", "accounts.mode"],
            name=op.f("orders_tenant_id_account_id_mode_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "deployment_id"],
            ["deployments.tenant_id", "deployments.id"],
            name=op.f("orders_tenant_id_deployment_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("orders_pkey")),
        sa.UniqueConstraint(
            "tenant_id", "account_id", "client_order_id", name=op.f("orders_tenant_id_account_id_client_order_id_key")
        ),
        sa.UniqueConstraint("tenant_id", "id", "account_id", name=op.f("orders_tenant_id_id_account_id_key")),
    )
    op.create_index("orders_account_idx", "orders", ["tenant_id", "account_id", "id"], unique=False)
    op.create_index(
        "orders_working_idx",
        "orders",
        ["tenant_id", "account_id", "instrument_id"],
        unique=False,
        postgresql_where=sa.text("status NOT IN ('cancelled', 'denied', 'expired', 'filled', 'lost', 'rejected')"),
    )
    op.create_table(
        "position_actions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("position_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("action_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("numerator", sa.BigInteger(), nullable=True),
        sa.Column("denominator", sa.BigInteger(), nullable=True),
        sa.Column("quantity_before", sa.BigInteger(), nullable=False),
        sa.Column("quantity_after", sa.BigInteger(), nullable=False),
        sa.Column("cash_minor", sa.BigInteger(), nullable=False),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('split', 'dividend')", name=op.f("position_actions_kind_check")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "position_id"],
            ["positions.tenant_id", "positions.id"],
            name=op.f("position_actions_tenant_id_position_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("position_actions_pkey")),
        sa.UniqueConstraint(
            "tenant_id", "position_id", "action_id", name=op.f("position_actions_tenant_id_position_id_action_id_key")
        ),
    )
    op.create_table(
        "fills",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("deployment_id", sa.Uuid(), nullable=True),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("venue_fill_id", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("notional_minor", sa.BigInteger(), nullable=False),
        sa.Column("charges_minor", sa.BigInteger(), nullable=False),
        sa.Column("heads", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("realised_minor", sa.BigInteger(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("quantity > 0 AND price > 0", name=op.f("fills_positive_check")),
        sa.ForeignKeyConstraint(["instrument_id"], ["instruments.id"], name=op.f("fills_instrument_id_fkey")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "order_id", "account_id"],
            ["orders.tenant_id", "orders.id", "orders.account_id"],
            name=op.f("fills_tenant_id_order_id_account_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("fills_pkey")),
        sa.UniqueConstraint(
            "tenant_id", "order_id", "venue_fill_id", name=op.f("fills_tenant_id_order_id_venue_fill_id_key")
        ),
    )
    op.create_index("fills_account_idx", "fills", ["tenant_id", "account_id", "id"], unique=False)
    op.create_index("fills_instrument_idx", "fills", ["tenant_id", "account_id", "instrument_id"], unique=False)
    op.create_table(
        "paper_orders",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("order_type", sa.Text(), nullable=False),
        sa.Column("validity", sa.Text(), nullable=False),
        sa.Column("limit_price", sa.BigInteger(), nullable=True),
        sa.Column("remaining", sa.BigInteger(), nullable=False),
        sa.Column("tick", sa.BigInteger(), nullable=False),
        sa.Column("slippage_bps", sa.Integer(), nullable=False),
        sa.Column("arrived_after", sa.Text(), nullable=False),
        sa.Column("arrived_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "id", "account_id"],
            ["orders.tenant_id", "orders.id", "orders.account_id"],
            name=op.f("paper_orders_tenant_id_id_account_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("paper_orders_pkey")),
    )
    op.create_index("paper_orders_book_idx", "paper_orders", ["feed", "instrument_id"], unique=False)
    enable_tenant_rls(op, "event_heads", dispatch="SELECT, INSERT, UPDATE")
    enable_tenant_rls(op, "events", app="SELECT, INSERT", dispatch="SELECT, UPDATE (position)")
    for part in range(8):
        op.execute(f"CREATE TABLE events_p{part} PARTITION OF events FOR VALUES WITH (MODULUS 8, REMAINDER {part})")
    global_table(op, "feed_state", app="SELECT", dispatch="SELECT", reference="SELECT, INSERT, UPDATE")
    global_table(
        op,
        "instruments",
        app="SELECT",
        dispatch="SELECT",
        reference="SELECT, INSERT, UPDATE (symbol, segment, name, listed_on, delisted_on)",
    )
    enable_tenant_rls(op, "ledger_transactions", app="SELECT", ledger="SELECT, INSERT")
    global_table(op, "paper_checkpoints", dispatch="SELECT, INSERT, UPDATE", reference="SELECT")
    enable_tenant_rls(op, "strategies", app="SELECT, INSERT")
    enable_tenant_rls(op, "tenants", app="SELECT, INSERT, UPDATE (name, status)", dispatch="SELECT", lookup="SELECT")
    global_table(op, "trading_sessions", app="SELECT", dispatch="SELECT", reference="SELECT, INSERT, UPDATE, DELETE")
    enable_tenant_rls(op, "work_items", app="SELECT, INSERT", dispatch="SELECT, UPDATE, DELETE")
    enable_tenant_rls(op, "work_leases", dispatch="SELECT, INSERT, UPDATE, DELETE")
    enable_tenant_rls(op, "api_keys", app="SELECT, INSERT, UPDATE (revoked_at, last_used_at)", lookup="SELECT")
    global_table(op, "bar_series", app="SELECT", dispatch="SELECT", reference="SELECT, INSERT, UPDATE (superseded_at)")
    enable_tenant_rls(op, "clients", app="SELECT, INSERT, UPDATE (name, status)")
    global_table(op, "corporate_actions", app="SELECT", dispatch="SELECT", reference="SELECT, INSERT")
    global_table(
        op, "instrument_rules", app="SELECT", dispatch="SELECT", reference="SELECT, INSERT, UPDATE (recorded_to)"
    )
    global_table(op, "last_prices", app="SELECT", dispatch="SELECT", reference="SELECT, INSERT, UPDATE")
    enable_tenant_rls(op, "members", app="SELECT, INSERT, UPDATE (role, status)")
    enable_tenant_rls(
        op, "accounts", app="SELECT, INSERT, UPDATE (name, status, version)", dispatch="SELECT (tenant_id, id, feed)"
    )
    enable_tenant_rls(
        op,
        "deployments",
        app="SELECT, INSERT, UPDATE (status, status_reason, last_bar, failures, updated_at)",
        dispatch="SELECT",
    )
    enable_tenant_rls(op, "ledger_accounts", app="SELECT", ledger="SELECT, INSERT, UPDATE")
    enable_tenant_rls(
        op, "positions", app="SELECT, INSERT, UPDATE (quantity, cost_minor, realised_minor, version, updated_at)"
    )
    enable_tenant_rls(op, "risk_days", app="SELECT, INSERT")
    enable_tenant_rls(op, "risk_decisions", app="SELECT, INSERT")
    enable_tenant_rls(op, "risk_limits", app="SELECT, INSERT, UPDATE (parameters, updated_at), DELETE")
    enable_tenant_rls(op, "ledger_entries", app="SELECT", ledger="SELECT, INSERT")
    enable_tenant_rls(op, "ledger_holds", app="SELECT", ledger="SELECT, INSERT, UPDATE")
    enable_tenant_rls(
        op,
        "orders",
        app="SELECT, INSERT, UPDATE (status, venue_order_id, filled_quantity, filled_notional, status_reason, fence, updated_at)",
    )
    enable_tenant_rls(op, "position_actions", app="SELECT, INSERT")
    enable_tenant_rls(op, "fills", app="SELECT, INSERT")
    enable_tenant_rls(op, "paper_orders", app="SELECT, INSERT, DELETE", dispatch="SELECT")


def downgrade() -> None:
    for table in (
        "paper_orders",
        "fills",
        "position_actions",
        "orders",
        "ledger_holds",
        "ledger_entries",
        "risk_limits",
        "risk_decisions",
        "risk_days",
        "positions",
        "ledger_accounts",
        "deployments",
        "accounts",
        "members",
        "last_prices",
        "instrument_rules",
        "corporate_actions",
        "clients",
        "bar_series",
        "api_keys",
        "work_leases",
        "work_items",
        "trading_sessions",
        "tenants",
        "strategies",
        "paper_checkpoints",
        "ledger_transactions",
        "instruments",
        "feed_state",
        "events",
        "event_heads",
    ):
        op.execute(f"DROP TABLE {table} CASCADE")
