-- Every fill of an account, in market time. The caller has set the tenant.
DROP FUNCTION IF EXISTS orders_fill_history(uuid);
CREATE OR REPLACE FUNCTION orders_fill_history(p_account uuid)
RETURNS TABLE (book_id uuid, instrument_id uuid, product text, side text, quantity bigint, notional_minor bigint,
               charges_minor bigint, occurred_at timestamptz) LANGUAGE sql STABLE AS $$
    SELECT coalesce(f.deployment_id, f.account_id), f.instrument_id, o.product, f.side, f.quantity, f.notional_minor,
           f.charges_minor, f.occurred_at
    FROM fills f JOIN orders o ON o.tenant_id = f.tenant_id AND o.id = f.order_id
    WHERE f.tenant_id = current_setting('app.tenant_id')::uuid AND f.account_id = p_account
    ORDER BY f.occurred_at, f.id
$$;
