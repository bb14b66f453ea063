"""What is held, what a corporate action makes of it, and how trades settle."""

from app.trading.portfolio.service.holding import Holding, count_open, list_positions, pay_dividends, split_positions
from app.trading.portfolio.service.rendering import statement_csv, statement_pdf
from app.trading.portfolio.service.settling import run_settlements, settle_due
from app.trading.portfolio.service.statements import Statement, statement_of

__all__ = [
    "Holding",
    "Statement",
    "count_open",
    "list_positions",
    "pay_dividends",
    "run_settlements",
    "settle_due",
    "split_positions",
    "statement_csv",
    "statement_of",
    "statement_pdf",
]
