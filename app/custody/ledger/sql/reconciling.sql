-- What the books say at the end of a day, for files from outside to be compared with. p_mode: test or live accounts alone;
-- p_ends: when the day ends, by the currency of the account (the empty one: of every other). The caller has set the tenant.

CREATE OR REPLACE FUNCTION ledger_end_of(p_ends jsonb, p_currency text) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(p_ends->>p_currency, p_ends->>'')::timestamptz
$$;

-- The pool's balance at the bank by currency, without what was moved for accounts of the other mode.
CREATE OR REPLACE FUNCTION ledger_bank_at(p_mode text, p_ends jsonb) RETURNS TABLE (currency text, balance bigint)
LANGUAGE sql STABLE AS $$
    WITH others AS (
        SELECT e.transaction_id FROM ledger_accounts a
        CROSS JOIN LATERAL accounts_for_order(a.account_id) owner
        JOIN ledger_entries e ON e.tenant_id = a.tenant_id AND e.ledger_account_id = a.id
        WHERE a.tenant_id = ledger_tenant() AND a.account_id IS NOT NULL AND owner.mode <> p_mode
    )
    SELECT a.currency, coalesce(-sum(e.amount) FILTER (WHERE t.effective_at < ledger_end_of(p_ends, a.currency)), 0)::bigint
    FROM ledger_accounts a
    LEFT JOIN ledger_entries e ON e.tenant_id = a.tenant_id AND e.ledger_account_id = a.id
        AND e.transaction_id NOT IN (SELECT o.transaction_id FROM others o)
    LEFT JOIN ledger_transactions t ON t.tenant_id = e.tenant_id AND t.id = e.transaction_id
    WHERE a.tenant_id = ledger_tenant() AND a.kind = 'omnibus_bank' GROUP BY a.currency
$$;

-- The settled units of every account, by instrument; none where there are none.
CREATE OR REPLACE FUNCTION ledger_securities_at(p_mode text, p_ends jsonb)
RETURNS TABLE (account_id uuid, instrument_id uuid, quantity bigint) LANGUAGE sql STABLE AS $$
    SELECT a.account_id, a.instrument_id, sum(e.amount)::bigint
    FROM ledger_accounts a CROSS JOIN LATERAL accounts_for_order(a.account_id) owner
    JOIN ledger_entries e ON e.tenant_id = a.tenant_id AND e.ledger_account_id = a.id
    JOIN ledger_transactions t ON t.tenant_id = e.tenant_id AND t.id = e.transaction_id
    WHERE a.tenant_id = ledger_tenant() AND a.kind = 'client_securities' AND owner.mode = p_mode
      AND t.effective_at < ledger_end_of(p_ends, owner.currency)
    GROUP BY a.account_id, a.instrument_id HAVING sum(e.amount) <> 0
$$;

-- Every fill from p_from to p_to, in market time.
CREATE OR REPLACE FUNCTION ledger_fills_between(p_mode text, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (account_id uuid, instrument_id uuid, side text, quantity bigint, price bigint, effective_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT own.account_id, (t.details->>'instrument_id')::uuid, t.details->>'side', (t.details->>'quantity')::bigint,
           (t.details->>'price')::bigint, t.effective_at
    FROM ledger_transactions t CROSS JOIN LATERAL (
        SELECT a.account_id FROM ledger_entries e
        JOIN ledger_accounts a ON a.tenant_id = e.tenant_id AND a.id = e.ledger_account_id
        WHERE e.tenant_id = t.tenant_id AND e.transaction_id = t.id AND a.account_id IS NOT NULL LIMIT 1
    ) own CROSS JOIN LATERAL accounts_for_order(own.account_id) owner
    WHERE t.tenant_id = ledger_tenant() AND t.kind = 'fill' AND t.effective_at BETWEEN p_from AND p_to
      AND owner.mode = p_mode
$$;
