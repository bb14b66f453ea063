"""Orders are changed wherever they are; an entry above the freeze quantity is a slice of its whole."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

_GRANTS = {"orders": "validity, parameters", "waiting_orders": "validity", "paper_orders": "validity"}
_OTHERWISE = (
    "paper_modify(uuid, uuid, bigint, bigint, bigint, bigint, text, text)",
    "paper_reports(uuid, uuid, uuid)",
)
"""SQL functions that take or answer something else before; those of the release are made afterwards."""


def upgrade() -> None:
    for table, columns in _GRANTS.items():
        op.execute(f"GRANT UPDATE ({columns}) ON {table} TO mandi_app")
    _child("'slice', 'entry', 'target', 'stop'")


def downgrade() -> None:
    _child("'slice', 'target', 'stop'")
    for table, columns in _GRANTS.items():
        op.execute(f"REVOKE UPDATE ({columns}) ON {table} FROM mandi_app")
    for function in _OTHERWISE:
        op.execute(f"DROP FUNCTION IF EXISTS {function}")


def _child(legs: str) -> None:
    op.drop_constraint(op.f("orders_child_check"), "orders")
    op.create_check_constraint(op.f("orders_child_check"), "orders", sa.text(f"parent_id IS NULL OR leg IN ({legs})"))
