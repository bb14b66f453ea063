-- Everything that moved an account's cash, in market time. The caller has set the tenant.
CREATE OR REPLACE FUNCTION ledger_statement(p_account uuid)
RETURNS TABLE (effective_at timestamptz, kind text, amount bigint) LANGUAGE sql STABLE AS $$
    SELECT t.effective_at, t.kind, e.amount
    FROM ledger_accounts a
    JOIN ledger_entries e ON e.tenant_id = a.tenant_id AND e.ledger_account_id = a.id
    JOIN ledger_transactions t ON t.tenant_id = e.tenant_id AND t.id = e.transaction_id
    WHERE a.tenant_id = ledger_tenant() AND a.account_id = p_account AND a.kind = 'client_cash'
    ORDER BY t.effective_at, e.account_version
$$;
