"""Custody: the chart of accounts with unsettled money, heads of charges and securities; rows of settlement."""

import sqlalchemy as sa
from alembic import op

from app.infra.rls import enable_tenant_rls

revision = "0014"
down_revision = "0010"

_KINDS = (
    "'client_cash', 'client_receivable', 'client_payable', 'client_securities', 'omnibus_bank', 'depository', "
    "'clearing', 'charges', 'taxes', 'suspense', 'firm_bank', 'firm_income'"
)
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
        ("owner", "(account_id IS NOT NULL) = starts_with(kind, 'client_')"),
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


def downgrade() -> None:
    op.execute("DROP TABLE settlements CASCADE")
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
