-- Everything that moved an account's cash by trade date, in market time: a settlement moves nothing. What undoes a deposit,
-- or another flow from outside, is a flow itself: a transfer. The caller has set the tenant.
CREATE OR REPLACE FUNCTION ledger_statement(p_account uuid)
RETURNS TABLE (effective_at timestamptz, kind text, amount bigint) LANGUAGE sql STABLE AS $$
    SELECT t.effective_at,
           CASE WHEN t.kind = 'reversal' AND ledger_is_flow(t.tenant_id, t.kind, t.idempotency_key) THEN 'transfer'
                ELSE t.kind END, sum(e.amount)::bigint
    FROM ledger_accounts a
    JOIN ledger_entries e ON e.tenant_id = a.tenant_id AND e.ledger_account_id = a.id
    JOIN ledger_transactions t ON t.tenant_id = e.tenant_id AND t.id = e.transaction_id
    WHERE a.tenant_id = ledger_tenant() AND a.account_id = p_account
      AND a.kind IN ('client_cash', 'client_receivable', 'client_payable', 'client_margin')
    GROUP BY t.tenant_id, t.id, t.effective_at, t.kind, t.idempotency_key, t.posted_at HAVING sum(e.amount) <> 0
    ORDER BY t.effective_at, t.posted_at, t.id
$$;
