-- On which account a deployment runs, and since which bar. The caller has set the tenant.
CREATE OR REPLACE FUNCTION strategies_deployment_period(p_deployment uuid)
RETURNS TABLE (account_id uuid, first_bar timestamptz, last_bar timestamptz, status text) LANGUAGE sql STABLE AS $$
    SELECT d.account_id, d.first_bar, d.last_bar, d.status FROM deployments d
    WHERE d.tenant_id = current_setting('app.tenant_id')::uuid AND d.id = p_deployment
$$;
