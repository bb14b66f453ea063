-- An account's cash by trade date from p_from to before p_to, in one snapshot: what it began and ended with (each summed
-- from the entries by itself, so that the movements can be proven), every movement, and its settled securities at the
-- end. Null movements: there are more than p_limit. The caller has set the tenant.
CREATE OR REPLACE FUNCTION ledger_statement_between(p_account uuid, p_from timestamptz, p_to timestamptz, p_limit int)
RETURNS jsonb LANGUAGE sql STABLE AS $$
    WITH legs AS (
        SELECT t.id, t.effective_at, t.posted_at, t.kind, t.details, sum(e.amount)::bigint AS amount,
               coalesce(sum(e.amount) FILTER (WHERE a.kind IN ('client_cash', 'client_margin')), 0)::bigint AS settled
        FROM ledger_accounts a
        JOIN ledger_entries e ON e.tenant_id = a.tenant_id AND e.ledger_account_id = a.id
        JOIN ledger_transactions t ON t.tenant_id = e.tenant_id AND t.id = e.transaction_id
        WHERE a.tenant_id = ledger_tenant() AND a.account_id = p_account AND t.effective_at < p_to
          AND a.kind IN ('client_cash', 'client_receivable', 'client_payable', 'client_margin')
        GROUP BY t.id, t.effective_at, t.posted_at, t.kind, t.details
    ), moved AS (
        SELECT * FROM legs l WHERE l.effective_at >= p_from AND l.amount <> 0
    ), units AS (
        SELECT a.instrument_id, sum(e.amount)::bigint AS quantity
        FROM ledger_accounts a
        JOIN ledger_entries e ON e.tenant_id = a.tenant_id AND e.ledger_account_id = a.id
        JOIN ledger_transactions t ON t.tenant_id = e.tenant_id AND t.id = e.transaction_id
        WHERE a.tenant_id = ledger_tenant() AND a.account_id = p_account AND a.kind = 'client_securities'
          AND t.effective_at < p_to
        GROUP BY a.instrument_id
    )
    SELECT jsonb_build_object(
        'opening', coalesce((SELECT sum(l.amount) FROM legs l WHERE l.effective_at < p_from), 0),
        'closing', coalesce((SELECT sum(l.amount) FROM legs l), 0),
        'settled', coalesce((SELECT sum(l.settled) FROM legs l), 0),
        'movements', CASE WHEN (SELECT count(*) FROM moved) <= p_limit THEN (
            SELECT coalesce(jsonb_agg(jsonb_build_object('id', m.id, 'at', m.effective_at, 'kind', m.kind,
                                                         'amount', m.amount, 'details', m.details)
                                      ORDER BY m.effective_at, m.posted_at, m.id), '[]') FROM moved m) END,
        'securities', (SELECT coalesce(jsonb_object_agg(u.instrument_id, u.quantity), '{}') FROM units u
                       WHERE u.quantity <> 0))
$$;
