"""Custody: the chart of accounts with unsettled money, heads of charges and securities; rows of settlement."""

import sqlalchemy as sa
from alembic import op

from app.infra.rls import enable_tenant_rls

revision = "0016"
down_revision = "0015"

_KINDS = (
    "'client_cash', 'client_receivable', 'client_payable', 'client_securities', 'omnibus_bank', 'depository', "
    "'clearing', 'charges', 'taxes', 'suspense', 'firm_bank', 'firm_income'"
)
_CLIENT_KINDS = "'client_cash', 'client_receivable', 'client_payable', 'client_securities'"
_OLD_KINDS = "'client_cash', 'omnibus_bank', 'clearing', 'charges', 'suspense', 'firm_bank', 'firm_income'"
_UNIT = (
    "(instrument_id IS NOT NULL) = (kind IN ('client_securities', 'depository')) "
    "AND (instrument_id IS NOT NULL) = (currency = 'XXX')"
)
_TRANSACTIONS = (
    "'funding', 'deposit', 'withdrawal', 'transfer', 'fill', 'charge', 'dividend', 'split', 'split_cash', "
    "'settlement', 'reversal', 'adjustment'"
)


def upgrade() -> None:
    _chart()
    _settlements()
    _breaks()
    _payments()


def _chart() -> None:
    op.add_column("ledger_accounts", sa.Column("instrument_id", sa.Uuid(), nullable=True))
    op.add_column("ledger_accounts", sa.Column("head", sa.Text(), nullable=False, server_default=""))
    op.alter_column("ledger_accounts", "head", server_default=None)
    for name in ("receivable", "payable"):
        op.add_column("ledger_accounts", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
        op.alter_column("ledger_accounts", name, server_default=None)
    op.create_foreign_key(
        op.f("ledger_accounts_instrument_id_fkey"), "ledger_accounts", "instruments", ["instrument_id"], ["id"]
    )
    for name, condition in (
        ("kind", f"kind IN ({_KINDS})"),
        ("owner", f"(account_id IS NOT NULL) = (kind IN ({_CLIENT_KINDS}))"),
        ("floor", "posted + receivable - payable - pending_out + overdrawn >= floor_minor"),
    ):
        op.drop_constraint(op.f(f"ledger_accounts_{name}_check"), "ledger_accounts")
        op.create_check_constraint(op.f(f"ledger_accounts_{name}_check"), "ledger_accounts", condition)
    for name, condition in (
        ("unit", _UNIT),
        ("head", "head = '' OR kind IN ('charges', 'taxes')"),
        ("unsettled", "receivable >= 0 AND payable >= 0"),
        ("mirror", "kind = 'client_cash' OR (receivable = 0 AND payable = 0)"),
    ):
        op.create_check_constraint(op.f(f"ledger_accounts_{name}_check"), "ledger_accounts", condition)
    op.drop_index("ledger_accounts_owned_idx")
    op.drop_index("ledger_accounts_pooled_idx")
    op.create_index(
        "ledger_accounts_owned_idx",
        "ledger_accounts",
        ["tenant_id", "account_id", "kind", "instrument_id"],
        unique=True,
        postgresql_where=sa.text("account_id IS NOT NULL"),
        postgresql_nulls_not_distinct=True,
    )
    op.create_index(
        "ledger_accounts_pooled_idx",
        "ledger_accounts",
        ["tenant_id", "kind", "currency", "head", "shard", "instrument_id"],
        unique=True,
        postgresql_where=sa.text("account_id IS NULL"),
        postgresql_nulls_not_distinct=True,
    )
    op.drop_constraint(op.f("ledger_transactions_kind_check"), "ledger_transactions")
    op.create_check_constraint(
        op.f("ledger_transactions_kind_check"), "ledger_transactions", f"kind IN ({_TRANSACTIONS})"
    )


def _settlements() -> None:
    op.create_table(
        "settlements",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("trade_day", sa.Date(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("receivable_minor", sa.BigInteger(), nullable=False),
        sa.Column("payable_minor", sa.BigInteger(), nullable=False),
        sa.Column("cash_minor", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state IN ('pending', 'settled')", name=op.f("settlements_state_check")),
        sa.CheckConstraint("(state = 'settled') = (settled_at IS NOT NULL)", name=op.f("settlements_settled_check")),
        sa.CheckConstraint("receivable_minor >= 0 AND payable_minor >= 0", name=op.f("settlements_amounts_check")),
        sa.ForeignKeyConstraint(["instrument_id"], ["instruments.id"], name=op.f("settlements_instrument_id_fkey")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account_id"],
            ["accounts.tenant_id", "accounts.id"],
            name=op.f("settlements_tenant_id_account_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("settlements_pkey")),
    )
    op.create_index(
        "settlements_pending_idx",
        "settlements",
        ["tenant_id", "account_id", "instrument_id", "trade_day"],
        unique=True,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "settlements_due_idx", "settlements", ["feed", "due_at"], postgresql_where=sa.text("state = 'pending'")
    )
    enable_tenant_rls(
        op,
        "settlements",
        app="SELECT, INSERT, UPDATE (due_at, receivable_minor, payable_minor, cash_minor, quantity, state, settled_at)",
        dispatch="SELECT",
    )


def _breaks() -> None:
    op.create_table(
        "ledger_breaks",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("instrument_id", sa.Uuid(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("expected_minor", sa.BigInteger(), nullable=False),
        sa.Column("actual_minor", sa.BigInteger(), nullable=False),
        sa.Column("suspense_minor", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('wrong_amount', 'unidentified', 'unexpected', 'overdue', 'difference')",
            name=op.f("ledger_breaks_kind_check"),
        ),
        sa.CheckConstraint("status IN ('open', 'resolved')", name=op.f("ledger_breaks_status_check")),
        sa.CheckConstraint(
            "(status = 'resolved') = (resolved_at IS NOT NULL AND reason IS NOT NULL)",
            name=op.f("ledger_breaks_resolved_check"),
        ),
        sa.ForeignKeyConstraint(["instrument_id"], ["instruments.id"], name=op.f("ledger_breaks_instrument_id_fkey")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account_id"],
            ["accounts.tenant_id", "accounts.id"],
            name=op.f("ledger_breaks_tenant_id_account_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("ledger_breaks_pkey")),
        sa.UniqueConstraint(
            "tenant_id", "source", "reference", "kind", name=op.f("ledger_breaks_tenant_id_source_reference_kind_key")
        ),
    )
    op.create_index(
        "ledger_breaks_open_idx", "ledger_breaks", ["tenant_id", "id"], postgresql_where=sa.text("status = 'open'")
    )
    enable_tenant_rls(
        op,
        "ledger_breaks",
        app="SELECT, INSERT, UPDATE (status, owner_id, reason, resolved_at, resolved_by)",
    )


def _payments() -> None:
    op.create_table(
        "payments",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("overdue", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("direction IN ('deposit', 'withdrawal')", name=op.f("payments_direction_check")),
        sa.CheckConstraint(
            "status IN ('pending', 'sent', 'completed', 'failed', 'disputed')", name=op.f("payments_status_check")
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("payments_amount_check")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account_id"],
            ["accounts.tenant_id", "accounts.id"],
            name=op.f("payments_tenant_id_account_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("payments_pkey")),
    )
    op.create_index("payments_account_idx", "payments", ["tenant_id", "account_id", "id"], unique=False)
    op.create_index(
        "payments_reference_idx",
        "payments",
        ["tenant_id", "provider", "reference"],
        unique=True,
        postgresql_where=sa.text("reference IS NOT NULL"),
    )
    enable_tenant_rls(
        op, "payments", app="SELECT, INSERT, UPDATE (status, reference, reason, sent_at, ended_at, overdue)"
    )


# Revision 0015 has no place for money between trade and settlement, nor for heads of charges: whoever has such entries
# goes back by a backup. Legs in units of an instrument sum to zero by themselves, and positions say the same.
_FOLD = """
DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM ledger_entries e JOIN ledger_accounts a
               ON a.tenant_id = e.tenant_id AND a.id = e.ledger_account_id
               WHERE a.instrument_id IS NULL AND (a.kind NOT IN (OLD_KINDS) OR a.head <> '')) THEN
        RAISE EXCEPTION 'the books hold unsettled money, taxes or heads of charges: go back by the backup before 0016';
    END IF;
    DELETE FROM ledger_entries e USING ledger_accounts a
    WHERE a.tenant_id = e.tenant_id AND a.id = e.ledger_account_id AND a.instrument_id IS NOT NULL;
    DELETE FROM ledger_holds h USING ledger_accounts a
    WHERE a.tenant_id = h.tenant_id AND a.id = h.ledger_account_id AND a.instrument_id IS NOT NULL;
    DELETE FROM ledger_accounts WHERE kind NOT IN (OLD_KINDS) OR head <> '';
END $$
""".replace("OLD_KINDS", _OLD_KINDS)


def _fold() -> None:
    """As the owner, of all tenants: forced row-level security would show it none, and triggers keep what was posted."""
    for table in ("ledger_accounts", "ledger_entries", "ledger_holds"):
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE TRIGGER USER")
    op.execute(_FOLD)
    for table in ("ledger_accounts", "ledger_entries", "ledger_holds"):
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY, ENABLE TRIGGER USER")


def downgrade() -> None:
    _fold()
    for table in ("payments", "ledger_breaks", "settlements"):
        op.execute(f"DROP TABLE {table} CASCADE")
    op.drop_index("ledger_accounts_owned_idx")
    op.drop_index("ledger_accounts_pooled_idx")
    for name in ("unit", "head", "unsettled", "mirror", "kind", "owner", "floor"):
        op.drop_constraint(op.f(f"ledger_accounts_{name}_check"), "ledger_accounts")
    op.drop_constraint(op.f("ledger_accounts_instrument_id_fkey"), "ledger_accounts")
    for name in ("instrument_id", "head", "receivable", "payable"):
        op.drop_column("ledger_accounts", name)
    for name, condition in (
        ("kind", f"kind IN ({_OLD_KINDS})"),
        ("owner", "(account_id IS NOT NULL) = (kind = 'client_cash')"),
        ("floor", "posted - pending_out + overdrawn >= floor_minor"),
    ):
        op.create_check_constraint(op.f(f"ledger_accounts_{name}_check"), "ledger_accounts", condition)
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
    op.drop_constraint(op.f("ledger_transactions_kind_check"), "ledger_transactions")
    op.create_check_constraint(
        op.f("ledger_transactions_kind_check"),
        "ledger_transactions",
        f"kind IN ({_TRANSACTIONS.replace(chr(39) + 'split' + chr(39) + ', ', '')})",
    )
