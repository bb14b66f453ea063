"""What holds of every order and of every account of the ledger is one CHECK each, by a function (decision 0018)."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"

_FUNCTIONS = {
    "orders": """
CREATE OR REPLACE FUNCTION orders_sound(o orders) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN o.status IN ('denied', 'waiting', 'accepted', 'submitting', 'unknown', 'open', 'partially_filled', 'filled',
                        'cancelled', 'rejected', 'expired', 'lost')
        AND o.side IN ('buy', 'sell')
        AND o.order_type ~ '^[a-z_]{1,32}$'
        AND o.product IN ('delivery', 'intraday')
        AND o.validity IN ('day', 'gtc', 'ioc', 'ttl', 'gtt')
        AND o.quantity > 0 AND o.filled_quantity BETWEEN 0 AND o.quantity
        AND (o.status <> 'filled' OR o.filled_quantity = o.quantity)
        AND (o.limit_price > 0) IS NOT FALSE
        AND (o.trigger_price > 0) IS NOT FALSE
        AND (o.market_protection_bps BETWEEN 1 AND 10000) IS NOT FALSE
        AND (o.disclosed_quantity > 0 AND o.disclosed_quantity < o.quantity) IS NOT FALSE
        AND (o.validity = 'ttl') = (o.expires_at IS NOT NULL)
        AND (o.validity = 'ttl') = (o.validity_minutes IS NOT NULL)
        AND o.order_class IN ('single', 'sliced', 'iceberg', 'bracket', 'oto', 'oco', 'cover')
        AND (o.leg IN ('whole', 'slice', 'entry', 'target', 'stop')) IS NOT FALSE
        AND (o.order_class = 'single') = (o.leg IS NULL)
        AND (o.parent_id IS NULL OR o.leg IN ('slice', 'entry', 'target', 'stop'))
        AND (o.pair_id IS NULL) = (o.pair_quantity IS NULL);
END $$;
""",
    "ledger_accounts": """
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
""",
}
_SOUND = {"orders": "orders_sound", "ledger_accounts": "ledger_account_sound"}
_CHECKS = {
    "orders": {
        "status": "status IN ('denied', 'waiting', 'accepted', 'submitting', 'unknown', 'open', 'partially_filled', "
        "'filled', 'cancelled', 'rejected', 'expired', 'lost')",
        "side": "side IN ('buy', 'sell')",
        "order_type": "order_type ~ '^[a-z_]{1,32}$'",
        "product": "product IN ('delivery', 'intraday')",
        "order_class": "order_class IN ('single', 'sliced', 'iceberg', 'bracket', 'oto', 'oco', 'cover')",
        "leg": "leg IN ('whole', 'slice', 'entry', 'target', 'stop')",
        "grouped": "(order_class = 'single') = (leg IS NULL)",
        "child": "parent_id IS NULL OR leg IN ('slice', 'entry', 'target', 'stop')",
        "pair": "(pair_id IS NULL) = (pair_quantity IS NULL)",
        "validity": "validity IN ('day', 'gtc', 'ioc', 'ttl', 'gtt')",
        "quantity": "quantity > 0 AND filled_quantity BETWEEN 0 AND quantity",
        "limit_price": "limit_price > 0",
        "trigger_price": "trigger_price > 0",
        "market_protection": "market_protection_bps BETWEEN 1 AND 10000",
        "disclosed_quantity": "disclosed_quantity > 0 AND disclosed_quantity < quantity",
        "expires_at": "(validity = 'ttl') = (expires_at IS NOT NULL)",
        "validity_minutes": "(validity = 'ttl') = (validity_minutes IS NOT NULL)",
        "filled": "status <> 'filled' OR filled_quantity = quantity",
    },
    "ledger_accounts": {
        "kind": "kind IN ('client_cash', 'client_receivable', 'client_payable', 'client_securities', 'omnibus_bank', "
        "'depository', 'clearing', 'charges', 'taxes', 'suspense', 'firm_bank', 'firm_income')",
        "owner": "(account_id IS NOT NULL) = "
        "(kind IN ('client_cash', 'client_receivable', 'client_payable', 'client_securities'))",
        "unit": "(instrument_id IS NOT NULL) = (kind IN ('client_securities', 'depository')) "
        "AND (instrument_id IS NOT NULL) = (currency = 'XXX')",
        "head": "head = '' OR kind IN ('charges', 'taxes')",
        "firm": "(book = 'firm') = (kind IN ('firm_bank', 'firm_income'))",
        "book": "book IN ('client', 'firm')",
        "shard": "shard BETWEEN 0 AND 63",
        "pending_out": "pending_out >= 0",
        "overdrawn": "overdrawn >= 0",
        "unsettled": "receivable >= 0 AND payable >= 0",
        "mirror": "kind = 'client_cash' OR (receivable = 0 AND payable = 0)",
        "floor": "posted + receivable - payable - pending_out + overdrawn >= floor_minor",
    },
}


def upgrade() -> None:
    for table, checks in _CHECKS.items():
        op.execute(_FUNCTIONS[table])
        op.create_check_constraint(op.f(f"{table}_sound_check"), table, sa.text(f"{_SOUND[table]}({table}.*)"))
        for name in checks:
            op.drop_constraint(op.f(f"{table}_{name}_check"), table)


def downgrade() -> None:
    for table, checks in _CHECKS.items():
        for name, holds in checks.items():
            op.create_check_constraint(op.f(f"{table}_{name}_check"), table, sa.text(holds))
        op.drop_constraint(op.f(f"{table}_sound_check"), table)
        op.execute(f"DROP FUNCTION {_SOUND[table]}({table})")
