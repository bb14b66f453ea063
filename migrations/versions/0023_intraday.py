"""Intraday positions stand beside those that are delivered, on margin; an order says whether it only closes."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"

_OF_A_BOOK = ["tenant_id", "account_id", "book_id", "instrument_id"]
_OTHERWISE = (
    "portfolio_book(uuid, uuid)",
    "portfolio_held(uuid)",
    "portfolio_held_of(uuid, uuid, uuid, text)",
    "portfolio_valued(uuid)",
    "portfolio_position(uuid, uuid, uuid, text)",
    "ledger_cash(uuid)",
    "orders_context(uuid, uuid, uuid, uuid, text, uuid, text, text)",
    "orders_exit_context(uuid, uuid, uuid, text)",
    "orders_cancel_exits(uuid, uuid, uuid, text)",
)
"""SQL functions that take or answer something else before; those of the release are made afterwards."""
_SOUND_BEFORE = """
CREATE OR REPLACE FUNCTION ledger_account_sound(a ledger_accounts) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN a.kind IN ('client_cash', 'client_receivable', 'client_payable', 'client_securities', 'omnibus_bank',
                      'depository', 'clearing', 'charges', 'taxes', 'suspense', 'firm_bank', 'firm_income')
        AND (a.account_id IS NOT NULL)
            = (a.kind IN ('client_cash', 'client_receivable', 'client_payable', 'client_securities'))
        AND (a.instrument_id IS NOT NULL) = (a.kind IN ('client_securities', 'depository'))
        AND (a.instrument_id IS NOT NULL) = (a.currency = 'XXX')
        AND (a.head = '' OR a.kind IN ('charges', 'taxes'))
        AND a.book IN ('client', 'firm')
        AND (a.book = 'firm') = (a.kind IN ('firm_bank', 'firm_income'))
        AND a.shard BETWEEN 0 AND 63
        AND a.pending_out >= 0 AND a.overdrawn >= 0
        AND a.receivable >= 0 AND a.payable >= 0
        AND (a.kind = 'client_cash' OR (a.receivable = 0 AND a.payable = 0))
        AND (a.posted + a.receivable - a.payable - a.pending_out + a.overdrawn >= a.floor_minor) IS NOT FALSE;
END $$;
"""
_CLOSED = """
DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM positions WHERE product <> 'delivery' AND quantity <> 0) THEN
        RAISE EXCEPTION 'intraday positions are open: close them, then go back';
    END IF;
    DELETE FROM position_actions a USING positions p
    WHERE a.tenant_id = p.tenant_id AND a.position_id = p.id AND p.product <> 'delivery';
    DELETE FROM positions WHERE product <> 'delivery';
END $$
"""


def upgrade() -> None:
    op.add_column("positions", sa.Column("product", sa.Text(), nullable=False, server_default="delivery"))
    op.alter_column("positions", "product", server_default=None)
    op.create_check_constraint(
        op.f("positions_product_check"), "positions", sa.text("product IN ('delivery', 'intraday')")
    )
    op.add_column("positions", sa.Column("margin_minor", sa.BigInteger(), nullable=False, server_default="0"))
    op.alter_column("positions", "margin_minor", server_default=None)
    _once_a_book([*_OF_A_BOOK, "product"], before=_OF_A_BOOK)
    for column in ("margin", "financed"):
        op.add_column("ledger_accounts", sa.Column(column, sa.BigInteger(), nullable=False, server_default="0"))
        op.alter_column("ledger_accounts", column, server_default=None)
    op.add_column("orders", sa.Column("reduces", sa.Boolean(), nullable=False, server_default=sa.false()))
    _of_all_tenants("UPDATE orders SET reduces = true WHERE side = 'sell'", "orders")
    op.add_column("calendar_jobs", sa.Column("wanted", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute(
        "GRANT SELECT (feed, venue, segment, kind, day, state, wanted), UPDATE (wanted) ON calendar_jobs TO mandi_app"
    )
    op.execute("GRANT UPDATE (margin_minor) ON positions TO mandi_app")
    op.execute("GRANT UPDATE (reduces) ON orders TO mandi_app")


def downgrade() -> None:
    _of_all_tenants(_CLOSED, "positions", "position_actions")
    op.execute("REVOKE ALL ON calendar_jobs FROM mandi_app")
    op.drop_column("calendar_jobs", "wanted")
    op.execute("REVOKE UPDATE (reduces) ON orders FROM mandi_app")
    op.drop_column("orders", "reduces")
    op.execute(_SOUND_BEFORE)
    for column in ("margin", "financed"):
        op.drop_column("ledger_accounts", column)
    _once_a_book(_OF_A_BOOK, before=[*_OF_A_BOOK, "product"])
    op.drop_column("positions", "margin_minor")
    op.drop_column("positions", "product")
    for function in _OTHERWISE:
        op.execute(f"DROP FUNCTION IF EXISTS {function}")


def _once_a_book(columns: list[str], *, before: list[str]) -> None:
    op.drop_constraint(op.f(f"positions_{'_'.join(before)}_key"), "positions")
    op.create_unique_constraint(op.f(f"positions_{'_'.join(columns)}_key"), "positions", columns)


def _of_all_tenants(statement: str, *tables: str) -> None:
    """As the owner, whom forced row-level security would show no tenant's rows."""
    for table in tables:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(statement)
    for table in tables:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
