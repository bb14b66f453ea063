-- The one way to a client's tenant before that is known: takes an exact client id, returns one tenant's id. Owned by
-- mandi_lookup, whose policies see all tenants; made under that role, since replacing a function takes its owner.
SET LOCAL ROLE mandi_lookup;
CREATE OR REPLACE FUNCTION oauth_tenant_of_client(p_client_id text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT c.tenant_id FROM oauth_clients c WHERE c.client_id = p_client_id
$$;
REVOKE ALL ON FUNCTION oauth_tenant_of_client(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION oauth_tenant_of_client(text) TO mandi_app;

-- Whether a client in force, of whatever tenant, has registered exactly this origin, and nothing more: browsers ask
-- before they send any credential.
CREATE OR REPLACE FUNCTION oauth_origin_registered(p_origin text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM oauth_clients c WHERE c.cors_origins @> ARRAY[p_origin] AND c.status = 'active')
$$;
REVOKE ALL ON FUNCTION oauth_origin_registered(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION oauth_origin_registered(text) TO mandi_app;
RESET ROLE;

-- Begins a new epoch of a subject (the transaction's tenant, or a person in it); the one that ended.
CREATE OR REPLACE FUNCTION oauth_next_epoch(p_tenant uuid, p_subject uuid) RETURNS bigint LANGUAGE sql AS $$
    INSERT INTO oauth_token_epochs (tenant_id, id, epoch) VALUES (p_tenant, p_subject, 1)
    ON CONFLICT (tenant_id, id) DO UPDATE SET epoch = oauth_token_epochs.epoch + 1
    RETURNING epoch - 1
$$;

-- All that the token endpoint asks of a client in force: what it proves itself by, what it may, and the epochs that a
-- token made now belongs to. Only its tenant's id is looked up across tenants; the rest is read as that tenant. A
-- transaction by itself.
CREATE OR REPLACE FUNCTION oauth_client_in_force(p_client_id text)
RETURNS TABLE (tenant uuid, ref uuid, name text, auth_method text, secret_hash bytea, jwks jsonb, grant_types text[],
               redirect_uris text[], scopes text[], cors_origins text[], mode text, tenant_epoch bigint,
               client_epoch bigint)
LANGUAGE plpgsql AS $$
DECLARE v_tenant uuid := oauth_tenant_of_client(p_client_id);
BEGIN
    IF v_tenant IS NULL THEN
        RETURN;
    END IF;
    PERFORM set_config('app.tenant_id', v_tenant::text, true);
    RETURN QUERY
    SELECT c.tenant_id, c.id, c.name, c.auth_method, c.secret_hash, c.jwks, c.grant_types, c.redirect_uris, c.scopes,
           c.cors_origins, c.mode, coalesce(t.epoch, 0), coalesce(e.epoch, 0)
    FROM oauth_clients c
    LEFT JOIN oauth_token_epochs t ON t.tenant_id = v_tenant AND t.id = v_tenant
    LEFT JOIN oauth_token_epochs e ON e.tenant_id = v_tenant AND e.id = c.id
    WHERE c.tenant_id = v_tenant AND c.client_id = p_client_id AND c.status = 'active';
END $$;
