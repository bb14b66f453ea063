-- Leaves p_remaining of a resting order, which keeps its place. False when it does not rest. The caller has set the
-- tenant.
CREATE OR REPLACE FUNCTION paper_reduce(p_order uuid, p_remaining bigint) RETURNS boolean LANGUAGE sql AS $$
    WITH reduced AS (
        UPDATE paper_orders SET remaining = p_remaining
        WHERE tenant_id = current_setting('app.tenant_id')::uuid AND id = p_order RETURNING 1
    )
    SELECT EXISTS (SELECT 1 FROM reduced)
$$;
