-- An account's cash: what was posted, and what of it is held for working orders. The caller has set the tenant.
CREATE OR REPLACE FUNCTION ledger_cash(p_account uuid) RETURNS TABLE (posted bigint, held bigint)
LANGUAGE sql STABLE AS $$
    SELECT a.posted, a.pending_out FROM ledger_accounts a
    WHERE a.tenant_id = ledger_tenant() AND a.account_id = p_account AND a.kind = 'client_cash'
$$;
