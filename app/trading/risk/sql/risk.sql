-- The limits that concern an order, by rule: [[level, parameters], …], the outermost level first. The caller has set the
-- tenant, here and below.
CREATE OR REPLACE FUNCTION risk_limits_for(p_client uuid, p_account uuid, p_deployment uuid) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_object_agg(g.rule, g.sets), '{}') FROM (
        SELECT l.rule, jsonb_agg(jsonb_build_array(l.level, l.parameters) ORDER BY l.depth) AS sets FROM (
            SELECT p.rule, 0 AS depth, 'platform' AS level, p.parameters FROM risk_platform_limits p
            UNION ALL
            SELECT r.rule, d.depth, (ARRAY['tenant', 'client', 'account', 'deployment'])[d.depth], r.parameters
            FROM risk_limits r
            CROSS JOIN LATERAL (
                SELECT CASE WHEN r.deployment_id IS NOT NULL THEN 4 WHEN r.account_id IS NOT NULL THEN 3
                            WHEN r.client_id IS NOT NULL THEN 2 ELSE 1 END AS depth
            ) d
            WHERE r.tenant_id = current_setting('app.tenant_id')::uuid
              AND r.scope_id = ANY (ARRAY[r.tenant_id, p_client, p_account, p_deployment])
        ) l GROUP BY l.rule
    ) g
$$;

-- What stands in the way of new risk, the outermost first: level, mode and reason; null when nothing does.
CREATE OR REPLACE FUNCTION risk_halted(p_account uuid, p_deployment uuid, p_algo text, p_mode text) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (SELECT jsonb_build_object('level', 'platform', 'mode', h.mode, 'reason', h.reason)
         FROM risk_platform_halts h
         WHERE h.resumed_at IS NULL AND (h.algo_id IS NULL OR h.algo_id = p_algo)
         ORDER BY h.mode, h.halted_at LIMIT 1),
        (SELECT jsonb_build_object(
             'level', CASE WHEN h.algo_id IS NOT NULL THEN 'algo' WHEN h.deployment_id IS NOT NULL THEN 'deployment'
                           WHEN h.account_id IS NOT NULL THEN 'account' ELSE 'tenant' END, 'mode', h.mode, 'reason', h.reason)
         FROM risk_halts h
         WHERE h.tenant_id = current_setting('app.tenant_id')::uuid AND h.resumed_at IS NULL
           AND (h.account_mode IS NULL OR h.account_mode = p_mode)
           AND h.scope = ANY (ARRAY['', p_account::text, p_deployment::text, 'algo:' || p_algo])
         ORDER BY h.mode, h.halted_at LIMIT 1))
$$;

-- Whether any halt of the tenant or the platform stands, whomever it concerns.
CREATE OR REPLACE FUNCTION risk_any_halt() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT 1 FROM risk_platform_halts h WHERE h.resumed_at IS NULL)
        OR EXISTS (SELECT 1 FROM risk_halts h
                   WHERE h.tenant_id = current_setting('app.tenant_id')::uuid AND h.resumed_at IS NULL)
$$;

-- Whoever begins to send orders takes this before any account's turn and holds it until they are noted; whoever halts the
-- platform waits for all who do, and those who come later wait for him, then read what he wrote. Halts of a tenant take the
-- accounts' turns instead.
CREATE OR REPLACE FUNCTION risk_pass_gate() RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock_shared(hashtextextended('risk-platform-gate', 0))
$$;
CREATE OR REPLACE FUNCTION risk_close_gate() RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtextextended('risk-platform-gate', 0))
$$;

CREATE OR REPLACE FUNCTION risk_record(p_order uuid, p_account uuid, p_verdict text, p_findings jsonb) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO risk_decisions (tenant_id, id, account_id, verdict, findings)
    VALUES (current_setting('app.tenant_id')::uuid, p_order, p_account, p_verdict, p_findings)
$$;

-- Whether the rules let the order go. A decision is never changed, and there is one for an order.
CREATE OR REPLACE FUNCTION risk_approved(p_tenant uuid, p_order uuid, p_account uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT 1 FROM risk_decisions d WHERE d.tenant_id = p_tenant AND d.id = p_order
                   AND d.account_id = p_account AND d.verdict = 'approved')
$$;

-- What the account's equity was in a trading day: at its first decision, and at most; and the highest ever before. What a
-- client brought in or took out since (p_flows: all of it, until now) is neither profit nor loss: it moves what a day is
-- measured from, and scales the highest as it has scaled p_equity. `restated`: since what was noted there were such.
DROP FUNCTION IF EXISTS risk_day(uuid, date);
CREATE OR REPLACE FUNCTION risk_day(p_account uuid, p_day date, p_equity bigint, p_flows bigint, OUT opening bigint,
                                    OUT high bigint, OUT peak bigint, OUT restated boolean)
LANGUAGE plpgsql STABLE AS $$
DECLARE d risk_days; v_since bigint;
BEGIN
    SELECT * INTO d FROM risk_days x
    WHERE x.tenant_id = current_setting('app.tenant_id')::uuid AND x.account_id = p_account AND x.day <= p_day
    ORDER BY x.day DESC LIMIT 1;
    IF d.id IS NULL THEN
        RETURN;
    END IF;
    v_since := coalesce(p_flows - d.flows_minor, 0);
    restated := v_since <> 0;
    peak := coalesce(d.peak_equity_minor, d.opening_equity_minor);
    IF restated AND p_equity > 0 AND p_equity - v_since > 0 THEN
        peak := round(peak::numeric * p_equity / (p_equity - v_since));
    ELSIF restated THEN
        peak := greatest(peak + v_since, 0);
    END IF;
    IF d.day = p_day THEN
        opening := d.opening_equity_minor + v_since;
        high := coalesce(d.high_equity_minor, d.opening_equity_minor) + v_since;
    END IF;
END $$;

-- Notes the equity that a decision saw: what a trading day began with, once, and the highest. p_peak is what `risk_day`
-- said before, p_flows what came in from outside by now.
DROP FUNCTION IF EXISTS risk_note_equity(uuid, date, bigint, bigint);
CREATE OR REPLACE FUNCTION risk_note_equity(p_account uuid, p_day date, p_equity bigint, p_peak bigint, p_flows bigint)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO risk_days AS d (tenant_id, id, account_id, day, opening_equity_minor, high_equity_minor, peak_equity_minor,
                                flows_minor)
    VALUES (current_setting('app.tenant_id')::uuid, uuidv7(), p_account, p_day, coalesce(p_equity, 0),
            coalesce(p_equity, 0), greatest(p_equity, p_peak, 0), coalesce(p_flows, 0))
    ON CONFLICT (tenant_id, account_id, day) DO UPDATE
    SET opening_equity_minor = d.opening_equity_minor + excluded.flows_minor - d.flows_minor,
        high_equity_minor = greatest(coalesce(d.high_equity_minor, d.opening_equity_minor) + excluded.flows_minor
                                     - d.flows_minor, excluded.high_equity_minor),
        peak_equity_minor = excluded.peak_equity_minor, flows_minor = excluded.flows_minor
$$;
