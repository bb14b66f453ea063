-- The limits that hold for an account: its own over the tenant's. The caller has set the tenant, here and below.
CREATE OR REPLACE FUNCTION risk_limits_for(p_account uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_object_agg(l.rule, l.parameters), '{}') FROM (
        SELECT DISTINCT ON (r.rule) r.rule, r.parameters FROM risk_limits r
        WHERE r.tenant_id = current_setting('app.tenant_id')::uuid AND (r.account_id = p_account OR r.account_id IS NULL)
        ORDER BY r.rule, r.account_id NULLS LAST
    ) l
$$;

CREATE OR REPLACE FUNCTION risk_record(p_order uuid, p_account uuid, p_verdict text, p_findings jsonb) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO risk_decisions (tenant_id, id, account_id, verdict, findings)
    VALUES (current_setting('app.tenant_id')::uuid, p_order, p_account, p_verdict, p_findings)
$$;

CREATE OR REPLACE FUNCTION risk_opening_equity(p_account uuid, p_day date) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT d.opening_equity_minor FROM risk_days d
    WHERE d.tenant_id = current_setting('app.tenant_id')::uuid AND d.account_id = p_account AND d.day = p_day
$$;

-- Notes the equity that a trading day began with, once; answers what is noted.
CREATE OR REPLACE FUNCTION risk_open_day(p_account uuid, p_day date, p_equity bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO risk_days (tenant_id, id, account_id, day, opening_equity_minor)
    VALUES (current_setting('app.tenant_id')::uuid, uuidv7(), p_account, p_day, coalesce(p_equity, 0))
    ON CONFLICT DO NOTHING;
    RETURN risk_opening_equity(p_account, p_day);
END $$;
