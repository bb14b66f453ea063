"""What is held, what a corporate action makes of it, and how trades settle."""

from app.trading.portfolio.service.holding import Holding, count_open, list_positions, pay_dividends, split_positions
from app.trading.portfolio.service.settling import run_settlements, settle_due

__all__ = [
    "Holding",
    "count_open",
    "list_positions",
    "pay_dividends",
    "run_settlements",
    "settle_due",
    "split_positions",
]
