-- An account's cash, by trade date: what was posted, with what trades have yet to bring and cost; `held`, what of it cannot
-- be traded with: what is `reserved` for working orders and withdrawals, and the margin of intraday positions, less what
-- these cost, which is not paid for while they are open; `flows`, what came in from outside and stayed. Venues let the
-- proceeds of a sale buy again at once. No row when the account has no books. The caller has set the tenant, here and below.
DROP FUNCTION IF EXISTS ledger_cash(uuid);
CREATE OR REPLACE FUNCTION ledger_cash(p_account uuid) RETURNS TABLE (posted bigint, held bigint, reserved bigint, flows bigint)
LANGUAGE sql STABLE AS $$
    SELECT a.posted + a.margin + a.receivable - a.payable, a.pending_out + a.margin - a.financed, a.pending_out, a.flows
    FROM ledger_accounts a
    WHERE a.tenant_id = current_setting('app.tenant_id')::uuid AND a.account_id = p_account AND a.kind = 'client_cash'
$$;

-- The units of an instrument that are settled in an account.
CREATE OR REPLACE FUNCTION ledger_securities(p_account uuid, p_instrument uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT a.posted FROM ledger_accounts a
                     WHERE a.tenant_id = ledger_tenant() AND a.account_id = p_account
                       AND a.kind = 'client_securities' AND a.instrument_id = p_instrument), 0)
$$;
