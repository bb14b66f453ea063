-- Whether the clients' money is there, a row per currency: what each client is owed (one client's debit covers no other)
-- and what else the pool owes (suspense below zero covers nothing), against the bank, what the clearing house owes, and
-- `financed_debits`: what of each client's debit his open intraday positions cost, which their sale brings, for as long as
-- it is payable; once settled, the bank has paid it with the money of others. `shortfall` is what is missing.
-- `mixed` counts transactions that moved money between the pool and the firm: always 0, or somebody went round the ledger.
DROP FUNCTION IF EXISTS ledger_segregation();
CREATE OR REPLACE FUNCTION ledger_segregation()
RETURNS TABLE (currency text, client_liabilities bigint, client_debits bigint, other_liabilities bigint,
               omnibus_bank bigint, clearing bigint, financed_debits bigint, shortfall bigint, firm_money bigint,
               mixed bigint)
LANGUAGE sql STABLE AS $$
    WITH clients AS (
        SELECT a.currency, sum(a.posted)::bigint AS owed,
               greatest(0, least(-sum(a.posted), sum(a.financed), sum(a.payable)))::bigint AS financed
        FROM ledger_accounts a
        WHERE a.tenant_id = ledger_tenant() AND a.account_id IS NOT NULL AND a.instrument_id IS NULL
        GROUP BY a.currency, a.account_id
    ), owed AS (
        SELECT c.currency, coalesce(sum(c.owed) FILTER (WHERE c.owed > 0), 0)::bigint AS credits,
               coalesce(-sum(c.owed) FILTER (WHERE c.owed < 0), 0)::bigint AS debits,
               sum(c.financed)::bigint AS financed
        FROM clients c GROUP BY c.currency
    ), pool AS (
        SELECT a.currency, coalesce(-sum(a.posted) FILTER (WHERE a.kind = 'omnibus_bank'), 0)::bigint AS bank,
               coalesce(-sum(a.posted) FILTER (WHERE a.kind = 'clearing'), 0)::bigint AS clearing,
               (coalesce(sum(a.posted) FILTER (WHERE a.kind IN ('charges', 'taxes')), 0)
                + greatest(0, sum(a.posted) FILTER (WHERE a.kind = 'suspense')))::bigint AS other,
               coalesce(-sum(a.posted) FILTER (WHERE a.kind = 'firm_bank'), 0)::bigint AS firm
        FROM ledger_accounts a
        WHERE a.tenant_id = ledger_tenant() AND a.account_id IS NULL AND a.instrument_id IS NULL GROUP BY a.currency
    ), mixed AS (
        SELECT m.currency, count(*) AS n FROM (
            SELECT a.currency FROM ledger_entries e
            JOIN ledger_accounts a ON a.tenant_id = e.tenant_id AND a.id = e.ledger_account_id
            WHERE e.tenant_id = ledger_tenant() AND a.instrument_id IS NULL
              AND EXISTS (SELECT 1 FROM ledger_accounts f WHERE f.tenant_id = ledger_tenant() AND f.book = 'firm')
            GROUP BY a.currency, e.transaction_id HAVING coalesce(sum(e.amount) FILTER (WHERE a.book = 'firm'), 0) <> 0
        ) m GROUP BY m.currency
    )
    SELECT p.currency, coalesce(o.credits, 0), coalesce(o.debits, 0), p.other, p.bank, p.clearing, coalesce(o.financed, 0),
           greatest(0, coalesce(o.credits, 0) + p.other - p.bank - p.clearing - coalesce(o.financed, 0)), p.firm,
           coalesce(m.n, 0)
    FROM pool p LEFT JOIN owed o ON o.currency = p.currency LEFT JOIN mixed m ON m.currency = p.currency
    ORDER BY p.currency
$$;
