-- Whether a tenant owes money for longer than its plan bears: it may exit, not enter.
CREATE OR REPLACE FUNCTION plans_read_only(p_tenant uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM entitlements e WHERE e.tenant_id = p_tenant AND e.read_only_at <= now())
$$;

-- Everything that decides what a tenant may do at p_at (null: now), as JSON: its own row, its plan, the plans on offer,
-- what it has used. Without a row of its own it has the newest 'free'. A plan's terms are text: whoever has read a text
-- before knows it again without reading it.
CREATE OR REPLACE FUNCTION plans_entitlements(p_tenant uuid, p_at timestamptz) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_at timestamptz := coalesce(p_at, now());
    v_own jsonb;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    SELECT to_jsonb(e) INTO v_own FROM entitlements e WHERE e.tenant_id = p_tenant;
    RETURN jsonb_build_object(
        'at', v_at,
        'own', v_own,
        'plan', (SELECT jsonb_build_object('code', p.code, 'version', p.version, 'terms', p.terms::text) FROM plans p
                 WHERE p.code = coalesce(v_own ->> 'plan_code', 'free')
                   AND CASE WHEN v_own IS NULL THEN p.valid_from <= v_at
                            ELSE p.version = (v_own ->> 'plan_version')::bigint END
                 ORDER BY p.version DESC LIMIT 1),
        'offered', (SELECT coalesce(jsonb_object_agg(o.code, o.terms::text), '{}')
                    FROM (SELECT DISTINCT ON (code) code, terms FROM plans WHERE valid_from <= v_at
                          ORDER BY code, version DESC) o),
        'used', (SELECT coalesce(jsonb_object_agg(c.name, c.used), '{}') FROM usage_counters c
                 WHERE c.tenant_id = p_tenant
                   AND c.period IN ('standing', to_char(v_at AT TIME ZONE 'UTC', 'YYYY-MM')))
    )::text;
END
$$;

-- Adds to counters of many tenants whatever their limits, for what was served already, each tenant set in turn, and returns
-- what is used now; a transaction by itself. Whoever counts comes in the order of tenants and periods.
DROP FUNCTION IF EXISTS plans_count_usage(uuid, text, text, bigint);
CREATE OR REPLACE FUNCTION plans_count_usage(p_tenants uuid[], p_periods text[], p_name text, p_more bigint[])
RETURNS TABLE (tenant_id uuid, period text, used bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    FOR n IN 1 .. coalesce(cardinality(p_tenants), 0) LOOP
        PERFORM set_config('app.tenant_id', p_tenants[n]::text, true);
        RETURN QUERY
        INSERT INTO usage_counters AS c (tenant_id, period, name, used)
        VALUES (p_tenants[n], p_periods[n], p_name, p_more[n])
        ON CONFLICT (tenant_id, period, name) DO UPDATE SET used = c.used + excluded.used
        RETURNING c.tenant_id, c.period, c.used;
    END LOOP;
END
$$;
