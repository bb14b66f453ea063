"""What is held, what a corporate action makes of it, how trades settle, and whether others say the same."""

from app.trading.portfolio.service.holding import (
    Holding,
    count_open,
    list_positions,
    pay_dividends,
    split_positions,
    was_applied,
)
from app.trading.portfolio.service.reconciling import (
    RECONCILIATION,
    get_reconciliation,
    list_reconciliations,
    reconcile,
)
from app.trading.portfolio.service.rendering import statement_csv, statement_pdf
from app.trading.portfolio.service.settling import run_settlements, settle_due
from app.trading.portfolio.service.statements import Statement, statement_of

__all__ = [
    "RECONCILIATION",
    "Holding",
    "Statement",
    "count_open",
    "get_reconciliation",
    "list_positions",
    "list_reconciliations",
    "pay_dividends",
    "reconcile",
    "run_settlements",
    "settle_due",
    "split_positions",
    "statement_csv",
    "statement_of",
    "statement_pdf",
    "was_applied",
]
