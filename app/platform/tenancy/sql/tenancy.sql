-- The status of one tenant, 'active' or 'suspended': null for an unknown one, and for any but the caller's own unless
-- the role looks tenants up.
CREATE OR REPLACE FUNCTION tenancy_status_of(p_tenant uuid) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT t.status FROM tenants t WHERE t.tenant_id = p_tenant
$$;

-- The status of the transaction's tenant: a suspended one may exit, not enter.
CREATE OR REPLACE FUNCTION tenancy_status() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT tenancy_status_of(nullif(current_setting('app.tenant_id', true), '')::uuid)
$$;
