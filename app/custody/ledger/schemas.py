"""Balances, transactions, segregation and breaks as the API shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.custody.accounts.service import PREFIX
from app.custody.ledger.service import BREAK, TRANSACTION, Balance, Journal, Segregation, break_exponent
from app.custody.ledger.tables import LedgerBreak
from app.kernel.ids import encode_id
from app.kernel.money import currency_exponent, format_scaled
from app.web.models import ApiModel

_EXAMPLE: JsonDict = {
    "account_id": "acc_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "currency": "USD",
    "posted": "98250.75",
    "settled": "97000.75",
    "receivable": "2500.00",
    "payable": "1250.00",
    "held": "1500.00",
    "margin": "400.00",
    "financed": "2000.00",
    "available": "98350.75",
    "withdrawable": "93850.75",
}


class BalanceOut(ApiModel):
    """The cash of one account in one currency."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    account_id: str
    currency: str
    posted: str = Field(description="By trade date: `settled` + `receivable` - `payable`.")
    settled: str = Field(description="Cash that is there.")
    receivable: str = Field(description="What sales bring on their settlement day.")
    payable: str = Field(description="What purchases cost on their settlement day.")
    held: str = Field(description="Reserved for open orders and pending withdrawals.")
    margin: str = Field(description="Blocked for open intraday positions.")
    financed: str = Field(
        description="What open intraday positions cost: not paid for while they are open. Below zero: what short ones "
        "brought, which cannot be spent."
    )
    available: str = Field(description="`posted` - `held` - `margin` + `financed`: what a new order may take.")
    withdrawable: str = Field(
        description="`settled` - `payable` - `held` - `margin`, if above zero: what a withdrawal may take."
    )

    @classmethod
    def of(cls, balance: Balance) -> "BalanceOut":
        def shown(minor: int) -> str:
            return format_scaled(minor, currency_exponent(balance.currency))

        return cls(
            account_id=encode_id(PREFIX, balance.account_id),
            currency=balance.currency,
            posted=shown(balance.posted),
            settled=shown(balance.settled),
            receivable=shown(balance.receivable),
            payable=shown(balance.payable),
            held=shown(balance.held),
            margin=shown(balance.margin),
            financed=shown(balance.financed),
            available=shown(balance.available),
            withdrawable=shown(balance.withdrawable),
        )


class BalanceList(ApiModel):
    """Every currency of the account, in one page."""

    data: list[BalanceOut]
    has_more: bool = False


_ID = "01kpx4t8yhe6rb2y6x3v1m9d0c"
_ENTRIES: JsonDict = {
    "id": f"ltx_{_ID}",
    "kind": "deposit",
    "effective_at": "2026-01-30T12:00:00Z",
    "posted_at": "2026-01-30T12:00:00Z",
    "reverses": None,
    "reason": None,
    "entries": [
        {
            "account": "client_cash",
            "account_id": f"acc_{_ID}",
            "currency": "USD",
            "instrument_id": None,
            "head": None,
            "amount": "250.00",
            "balance_after": "1250.00",
        },
        {
            "account": "omnibus_bank",
            "account_id": None,
            "currency": "USD",
            "instrument_id": None,
            "head": None,
            "amount": "-250.00",
            "balance_after": "-91250.00",
        },
    ],
}
Reason = Annotated[str, Field(min_length=3, max_length=200, description="Why, in words that an auditor understands.")]
BreakStatus = Literal["open", "resolved"]


class EntryOut(ApiModel):
    """One leg. Above zero a credit: more is owed, or less is owned. The entries of a transaction sum to zero by
    currency and by instrument."""

    account: str = Field(description="Its kind in the chart of accounts, such as `client_cash` or `clearing`.")
    account_id: str | None = Field(description="Whose it is; null for the pool's and the firm's.")
    currency: str = Field(description="ISO 4217; XXX where units of an instrument are counted.")
    instrument_id: str | None = Field(description="What is counted, for securities.")
    head: str | None = Field(description="Which charge or tax, such as `brokerage` or `stt`.")
    amount: str = Field(description="Money, or whole units at the instrument's scale.")
    balance_after: str = Field(description="What the ledger account stood at then.")


class TransactionOut(ApiModel):
    """A journal entry. It never changes: a mistake is undone by a reversal."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ENTRIES]})

    id: str
    kind: str = Field(description="`fill`, `settlement`, `deposit`, `reversal` …")
    effective_at: datetime = Field(description="Market time.")
    posted_at: datetime = Field(description="When it was written.")
    reverses: str | None = Field(description="The transaction that it undoes.")
    reason: str | None = Field(description="Why it was posted, where somebody had to say.")
    entries: list[EntryOut] = Field(description="Its legs.")

    @classmethod
    def of(cls, journal: Journal) -> "TransactionOut":
        row = journal.row
        return cls(
            id=encode_id(TRANSACTION, row.id),
            kind=row.kind,
            effective_at=row.effective_at,
            posted_at=row.posted_at,
            reverses=row.details.get("reverses"),
            reason=row.details.get("reason"),
            entries=[_entry(leg) for leg in journal.legs],
        )


def _entry(leg: Any) -> EntryOut:
    exponent = 0 if leg.instrument_id else currency_exponent(leg.currency)
    return EntryOut(
        account=leg.kind,
        account_id=None if leg.account_id is None else encode_id(PREFIX, leg.account_id),
        currency=leg.currency,
        instrument_id=None if leg.instrument_id is None else encode_id("ins", leg.instrument_id),
        head=leg.head or None,
        amount=format_scaled(leg.amount, exponent),
        balance_after=format_scaled(leg.balance_after, exponent),
    )


class ReverseTransaction(ApiModel):
    """What `POST /v1/ledger_transactions/{id}/reverse` takes."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"reason": "credited to the wrong account", "approval_id": f"apr_{_ID}"}]}
    )

    reason: Reason
    approval_id: str | None = Field(
        default=None, max_length=64, description="Of `ledger_transaction.reverse` with this transaction and reason."
    )


class SegregationOut(ApiModel):
    """One currency of the clients' pool."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "currency": "INR",
                    "segregated": True,
                    "client_liabilities": "250000.00",
                    "client_debits": "8000.00",
                    "other_liabilities": "120.50",
                    "omnibus_bank": "260120.50",
                    "clearing": "-18000.00",
                    "financed_debits": "8000.00",
                    "shortfall": "0.00",
                    "firm_money": "5000.00",
                }
            ]
        }
    )

    currency: str
    segregated: bool = Field(description="Nothing is missing, and no money of the firm was ever moved into the pool.")
    client_liabilities: str = Field(description="What is owed to clients, each by itself; debits of others not netted.")
    client_debits: str = Field(description="What clients owe.")
    other_liabilities: str = Field(description="Charges and taxes not yet paid on, and what waits in suspense.")
    omnibus_bank: str = Field(description="What lies at the bank for clients.")
    clearing: str = Field(description="What the clearing house owes (below zero: is owed).")
    financed_debits: str = Field(
        description="What of `client_debits` open intraday positions cost that are not settled: their sale covers it."
    )
    shortfall: str = Field(
        description="`client_liabilities` + `other_liabilities` - `omnibus_bank` - `clearing` - `financed_debits`, if "
        "above zero: what nothing covers. Anything but zero is an alarm."
    )
    firm_money: str = Field(description="The firm's own, at its own bank.")

    @classmethod
    def of(cls, row: Segregation) -> "SegregationOut":
        def shown(minor: int) -> str:
            return format_scaled(minor, currency_exponent(row.currency))

        return cls(
            currency=row.currency,
            segregated=row.segregated,
            client_liabilities=shown(row.client_liabilities),
            client_debits=shown(row.client_debits),
            other_liabilities=shown(row.other_liabilities),
            omnibus_bank=shown(row.omnibus_bank),
            clearing=shown(row.clearing),
            financed_debits=shown(row.financed_debits),
            shortfall=shown(row.shortfall),
            firm_money=shown(row.firm_money),
        )


class SegregationList(ApiModel):
    """Every currency, in one page."""

    data: list[SegregationOut]
    has_more: bool = False


class BreakOut(ApiModel):
    """A difference between the ledger and what somebody outside says."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": f"brk_{_ID}",
                    "kind": "wrong_amount",
                    "source": "sandbox",
                    "reference": "pay-7719",
                    "account_id": f"acc_{_ID}",
                    "instrument_id": None,
                    "currency": "INR",
                    "expected": "5000.00",
                    "actual": "500.00",
                    "in_suspense": "500.00",
                    "status": "open",
                    "age_days": 2,
                    "owner_id": None,
                    "reason": None,
                    "opened_at": "2026-01-30T12:00:00Z",
                    "resolved_at": None,
                }
            ]
        }
    )

    id: str
    kind: Literal["wrong_amount", "unidentified", "unexpected", "overdue", "difference"] = Field(
        description="Money of another amount, of nobody known, or not awaited; money that did not come; another figure."
    )
    source: str = Field(description="Who says otherwise: a payment provider, or a file that was imported.")
    reference: str = Field(description="Its name there.")
    account_id: str | None
    instrument_id: str | None
    currency: str
    expected: str = Field(description="What the ledger expected.")
    actual: str = Field(description="What was said instead.")
    in_suspense: str = Field(description="What of it was posted to suspense.")
    status: BreakStatus
    age_days: int = Field(description="Whole days since it was opened, until it was resolved.")
    owner_id: str | None = Field(description="The person who took it.")
    reason: str | None = Field(description="What it was, once resolved.")
    opened_at: datetime = Field(description="When it was found.")
    resolved_at: datetime | None = Field(description="Null while it is open.")

    @classmethod
    def of(cls, row: LedgerBreak, now: datetime) -> "BreakOut":
        exponent = break_exponent(row.currency)
        return cls.model_validate(
            {
                "id": encode_id(BREAK, row.id),
                "kind": row.kind,
                "source": row.source,
                "reference": row.reference,
                "account_id": None if row.account_id is None else encode_id(PREFIX, row.account_id),
                "instrument_id": None if row.instrument_id is None else encode_id("ins", row.instrument_id),
                "currency": row.currency,
                "expected": format_scaled(row.expected_minor, exponent),
                "actual": format_scaled(row.actual_minor, exponent),
                "in_suspense": format_scaled(row.suspense_minor, exponent),
                "status": row.status,
                "age_days": ((row.resolved_at or now) - row.opened_at).days,
                "owner_id": None if row.owner_id is None else encode_id("usr", row.owner_id),
                "reason": row.reason,
                "opened_at": row.opened_at,
                "resolved_at": row.resolved_at,
            }
        )


class ResolveBreak(ApiModel):
    """What `POST /v1/breaks/{id}/resolve` takes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "the bank's fee, refunded on 2 March"}]})

    reason: Reason
    account_id: str | None = Field(
        default=None, max_length=64, description="Whose the money in suspense is; without it, it stays there."
    )
