-- The one way to a key before its tenant is known: takes an exact key id, returns what verifying it needs. Owned by
-- mandi_lookup, whose policies see all tenants; made under that role, since replacing a function takes its owner.
SET LOCAL ROLE mandi_lookup;
CREATE OR REPLACE FUNCTION identity_api_key(p_key_id text)
RETURNS TABLE (tenant_id uuid, id uuid, secret_hash bytea, scopes text[], mode text, expires_at timestamptz,
               revoked_at timestamptz, tenant_status text, user_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT k.tenant_id, k.id, k.secret_hash, k.scopes, k.mode, k.expires_at, k.revoked_at,
           tenancy_status_of(k.tenant_id), k.user_id
    FROM api_keys k WHERE k.key_id = p_key_id
$$;
REVOKE ALL ON FUNCTION identity_api_key(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity_api_key(text) TO mandi_app;
RESET ROLE;

-- Notes when each of these keys, of whatever tenants, was last used, each tenant set in turn; a transaction by itself.
-- Whoever notes comes in the order of tenants and keys.
DROP FUNCTION IF EXISTS identity_keys_used(uuid, uuid[], timestamptz);
CREATE OR REPLACE FUNCTION identity_keys_used(p_tenants uuid[], p_ids uuid[], p_at timestamptz[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN 1 .. coalesce(cardinality(p_tenants), 0) LOOP
        PERFORM set_config('app.tenant_id', p_tenants[n]::text, true);
        UPDATE api_keys SET last_used_at = p_at[n]
        WHERE tenant_id = p_tenants[n] AND id = p_ids[n] AND (last_used_at IS NULL OR last_used_at < p_at[n]);
    END LOOP;
END
$$;
