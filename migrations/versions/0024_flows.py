"""What a client brings in or takes out is neither profit nor loss; an order says when it was set off."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"

_WRITES = "uuid, bigint, jsonb, jsonb, date, bigint, bigint, bigint, jsonb, uuid, text, text, uuid, uuid, uuid, jsonb"
_OTHERWISE = (
    "ledger_cash(uuid)",
    "portfolio_action_history(uuid)",
    "portfolio_valued(uuid)",
    "orders_fill_history(uuid)",
    f"orders_write({_WRITES})",
    f"orders_write_group({_WRITES}, jsonb)",
    "risk_day(uuid, date, bigint, bigint)",
    "risk_note_equity(uuid, date, bigint, bigint, bigint)",
)
"""SQL functions that take or answer something else before; those of the release are made afterwards."""
_RESTATED = "opening_equity_minor, flows_minor"
_SOUND_BEFORE = """
CREATE OR REPLACE FUNCTION ledger_account_sound(a ledger_accounts) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN a.kind IN ('client_cash', 'client_receivable', 'client_payable', 'client_margin', 'client_securities',
                      'omnibus_bank', 'depository', 'clearing', 'charges', 'taxes', 'suspense', 'firm_bank', 'firm_income')
        AND (a.account_id IS NOT NULL)
            = (a.kind IN ('client_cash', 'client_receivable', 'client_payable', 'client_margin', 'client_securities'))
        AND (a.instrument_id IS NOT NULL) = (a.kind IN ('client_securities', 'depository'))
        AND (a.instrument_id IS NOT NULL) = (a.currency = 'XXX')
        AND (a.head = '' OR a.kind IN ('charges', 'taxes'))
        AND a.book IN ('client', 'firm')
        AND (a.book = 'firm') = (a.kind IN ('firm_bank', 'firm_income'))
        AND a.shard BETWEEN 0 AND 63
        AND a.pending_out >= 0 AND a.overdrawn >= 0
        AND a.receivable >= 0 AND a.payable >= 0 AND a.margin >= 0
        AND (a.kind = 'client_cash' OR (a.receivable = 0 AND a.payable = 0 AND a.margin = 0 AND a.financed = 0))
        AND (a.posted + a.receivable - a.payable + a.financed - a.pending_out + a.overdrawn >= a.floor_minor) IS NOT FALSE;
END $$;
"""
_FLOWS = """
UPDATE ledger_accounts a SET flows = f.amount FROM (
    SELECT e.tenant_id, e.ledger_account_id, sum(e.amount) AS amount
    FROM ledger_entries e JOIN ledger_transactions t ON t.tenant_id = e.tenant_id AND t.id = e.transaction_id
    LEFT JOIN ledger_transactions r ON t.kind = 'reversal' AND r.tenant_id = t.tenant_id
                                   AND t.idempotency_key = 'reversal:' || r.id
    WHERE coalesce(r.kind, t.kind) IN ('funding', 'deposit', 'withdrawal', 'transfer') GROUP BY 1, 2
) f WHERE a.kind = 'client_cash' AND (a.tenant_id, a.id) = (f.tenant_id, f.ledger_account_id)
"""
_AS_OF_NOW = """
UPDATE risk_days d SET flows_minor = a.flows FROM ledger_accounts a
WHERE a.kind = 'client_cash' AND (a.tenant_id, a.account_id) = (d.tenant_id, d.account_id)
"""
_READ = ("ledger_accounts", "ledger_entries", "ledger_transactions", "risk_days")


def upgrade() -> None:
    for table, column in (("ledger_accounts", "flows"), ("risk_days", "flows_minor")):
        op.add_column(table, sa.Column(column, sa.BigInteger(), nullable=False, server_default="0"))
        op.alter_column(table, column, server_default=None)
    for table in _READ:  # the owner may see every tenant's for these two statements
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(_FLOWS)
    op.execute(_AS_OF_NOW)
    for table in _READ:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"GRANT UPDATE ({_RESTATED}) ON risk_days TO mandi_app")
    op.add_column("orders", sa.Column("triggered_at", sa.DateTime(timezone=True)))
    op.execute("GRANT UPDATE (triggered_at) ON orders TO mandi_app")


def downgrade() -> None:
    op.execute("REVOKE UPDATE (triggered_at) ON orders FROM mandi_app")
    op.drop_column("orders", "triggered_at")
    op.execute(f"REVOKE UPDATE ({_RESTATED}) ON risk_days FROM mandi_app")
    op.execute(_SOUND_BEFORE)
    op.drop_column("risk_days", "flows_minor")
    op.drop_column("ledger_accounts", "flows")
    for function in _OTHERWISE:
        op.execute(f"DROP FUNCTION IF EXISTS {function}")
