-- Every corporate action that changed a position of an account, in market time. The caller has set the tenant.
DROP FUNCTION IF EXISTS portfolio_action_history(uuid);
CREATE OR REPLACE FUNCTION portfolio_action_history(p_account uuid)
RETURNS TABLE (book_id uuid, instrument_id uuid, product text, kind text, numerator bigint, denominator bigint,
               quantity_before bigint, quantity_after bigint, cash_minor bigint, effective_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT a.book_id, a.instrument_id, p.product, a.kind, a.numerator, a.denominator, a.quantity_before, a.quantity_after,
           a.cash_minor, a.effective_at
    FROM position_actions a JOIN positions p ON p.tenant_id = a.tenant_id AND p.id = a.position_id
    WHERE a.tenant_id = current_setting('app.tenant_id')::uuid AND a.account_id = p_account
    ORDER BY a.effective_at, a.id
$$;
