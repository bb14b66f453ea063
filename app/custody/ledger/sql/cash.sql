-- An account's cash, by trade date: what was posted, with what trades have yet to bring and cost; and what of it is held
-- for working orders. The rest can be traded with or reserved: venues let the proceeds of a sale buy again at once. No row
-- when the account has no books. The caller has set the tenant, here and below.
CREATE OR REPLACE FUNCTION ledger_cash(p_account uuid) RETURNS TABLE (posted bigint, held bigint)
LANGUAGE sql STABLE AS $$
    SELECT a.posted + a.receivable - a.payable, a.pending_out FROM ledger_accounts a
    WHERE a.tenant_id = current_setting('app.tenant_id')::uuid AND a.account_id = p_account AND a.kind = 'client_cash'
$$;

-- The units of an instrument that are settled in an account.
CREATE OR REPLACE FUNCTION ledger_securities(p_account uuid, p_instrument uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT a.posted FROM ledger_accounts a
                     WHERE a.tenant_id = ledger_tenant() AND a.account_id = p_account
                       AND a.kind = 'client_securities' AND a.instrument_id = p_instrument), 0)
$$;
