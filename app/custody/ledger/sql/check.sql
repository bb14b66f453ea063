-- Proves the tenant's ledger from its entries, a row per currency (XXX: units of all securities); every count and
-- difference must be 0. It trusts no trigger and no function: whoever went round them shows up here.
CREATE OR REPLACE FUNCTION ledger_check()
RETURNS TABLE (currency text, accounts bigint, entries bigint, entries_sum bigint, unbalanced_transactions bigint,
               balance_mismatches bigint, broken_chains bigint, hold_mismatches bigint, over_held bigint,
               client_liabilities bigint, omnibus_bank bigint, clearing bigint, charges bigint, suspense bigint,
               segregation_difference bigint)
LANGUAGE sql STABLE AS $$
    WITH chart AS (
        SELECT * FROM ledger_accounts WHERE tenant_id = ledger_tenant()
    ), legs AS (
        SELECT e.ledger_account_id, e.transaction_id, e.amount, a.currency, a.instrument_id, a.book,
               e.balance_after - e.amount
                   = coalesce(lag(e.balance_after) OVER chain, 0)
               AND e.account_version = coalesce(lag(e.account_version) OVER chain, 0) + 1 AS follows
        FROM ledger_entries e JOIN chart a ON a.id = e.ledger_account_id
        WHERE e.tenant_id = ledger_tenant()
        WINDOW chain AS (PARTITION BY e.ledger_account_id ORDER BY e.account_version)
    ), sums AS (
        SELECT l.ledger_account_id AS id, sum(l.amount) AS posted, count(*) AS legs,
               count(*) FILTER (WHERE NOT l.follows) AS broken
        FROM legs l GROUP BY l.ledger_account_id
    ), held AS (
        SELECT h.ledger_account_id AS id, sum(h.remaining) AS pending FROM ledger_holds h
        WHERE h.tenant_id = ledger_tenant() AND h.state = 'pending' GROUP BY h.ledger_account_id
    ), unsettled AS (
        SELECT c.account_id, coalesce((
                   SELECT sum(e.amount) FROM ledger_entries e
                   JOIN ledger_transactions t ON t.tenant_id = e.tenant_id AND t.id = e.transaction_id
                   JOIN chart k ON k.id = e.ledger_account_id AND k.kind = 'client_cash'
                   WHERE e.tenant_id = ledger_tenant() AND k.account_id = c.account_id
                     AND ledger_is_flow(e.tenant_id, t.kind, t.idempotency_key)), 0) AS flows,
               sum(c.posted) FILTER (WHERE c.kind = 'client_receivable') AS receivable,
               -sum(c.posted) FILTER (WHERE c.kind = 'client_payable') AS payable,
               sum(c.posted) FILTER (WHERE c.kind = 'client_margin') AS margin
        FROM chart c WHERE c.account_id IS NOT NULL GROUP BY c.account_id
    ), unbalanced AS (
        SELECT u.currency, count(DISTINCT u.transaction_id) AS transactions
        FROM (SELECT l.currency, l.transaction_id FROM legs l GROUP BY l.currency, l.instrument_id, l.book, l.transaction_id
              HAVING sum(l.amount) <> 0) u GROUP BY u.currency
    )
    SELECT a.currency, count(*), coalesce(sum(s.legs), 0)::bigint, coalesce(sum(s.posted), 0)::bigint,
           coalesce((SELECT u.transactions FROM unbalanced u WHERE u.currency = a.currency), 0),
           count(*) FILTER (WHERE a.posted <> coalesce(s.posted, 0) OR a.version <> coalesce(s.legs, 0)
                            OR (a.kind = 'client_cash' AND (a.receivable, a.payable, a.margin, a.flows)
                                IS DISTINCT FROM (coalesce(u.receivable, 0), coalesce(u.payable, 0),
                                                  coalesce(u.margin, 0), u.flows))),
           coalesce(sum(s.broken), 0)::bigint,
           count(*) FILTER (WHERE a.pending_out <> coalesce(h.pending, 0)),
           count(*) FILTER (WHERE a.overdrawn <> greatest(0, a.floor_minor - (a.posted + a.receivable - a.payable
                                                                     + a.financed - a.pending_out))),
           coalesce(sum(a.posted) FILTER (WHERE a.account_id IS NOT NULL), 0)::bigint,
           -coalesce(sum(a.posted) FILTER (WHERE a.kind IN ('omnibus_bank', 'depository')), 0)::bigint,
           coalesce(sum(a.posted) FILTER (WHERE a.kind = 'clearing'), 0)::bigint,
           coalesce(sum(a.posted) FILTER (WHERE a.kind IN ('charges', 'taxes')), 0)::bigint,
           coalesce(sum(a.posted) FILTER (WHERE a.kind = 'suspense'), 0)::bigint,
           coalesce(sum(a.posted) FILTER (WHERE a.book = 'client'), 0)::bigint
    FROM chart a LEFT JOIN sums s ON s.id = a.id LEFT JOIN held h ON h.id = a.id
         LEFT JOIN unsettled u ON u.account_id = a.account_id
    GROUP BY a.currency ORDER BY a.currency
$$;
