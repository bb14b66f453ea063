"""Deposits and withdrawals: asked for, carried out, and what the provider says of them."""

from app.custody.funding.service.asking import (
    DEPOSIT,
    WITHDRAWAL,
    get_payment,
    list_payments,
    request_deposit,
    request_withdrawal,
)
from app.custody.funding.service.carrying import handlers
from app.custody.funding.service.hearing import hear

__all__ = [
    "DEPOSIT",
    "WITHDRAWAL",
    "get_payment",
    "handlers",
    "hear",
    "list_payments",
    "request_deposit",
    "request_withdrawal",
]
