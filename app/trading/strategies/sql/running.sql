-- Whether a deployment that failed on its bar has waited long enough to try again.
CREATE OR REPLACE FUNCTION strategies_rested(d deployments) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT d.failures = 0 OR d.updated_at < clock_timestamp() - d.failures * interval '1 second'
$$;

-- Shards with a running deployment that has not decided on its feed's last complete bar: the relay's poll (dispatch).
CREATE OR REPLACE FUNCTION strategies_due_shards() RETURNS TABLE (shard smallint) LANGUAGE sql STABLE AS $$
    SELECT DISTINCT work_shard(d.tenant_id) FROM deployments d
    WHERE d.status = 'running' AND d.last_bar < market_watermark(d.feed) AND strategies_rested(d)
$$;

-- The deployments of a shard that are due, with the bar time they are due for (dispatch).
CREATE OR REPLACE FUNCTION strategies_due(p_shard int)
RETURNS TABLE (tenant_id uuid, id uuid, account_id uuid, strategy_id uuid, digest text, feed text, bar_interval text,
               instruments uuid[], last_bar timestamptz, watermark timestamptz) LANGUAGE sql STABLE AS $$
    SELECT d.tenant_id, d.id, d.account_id, d.strategy_id, d.digest, d.feed, d.bar_interval, d.instruments, d.last_bar,
           market_watermark(d.feed)
    FROM deployments d
    WHERE d.status = 'running' AND work_shard(d.tenant_id) = p_shard AND d.last_bar < market_watermark(d.feed)
      AND strategies_rested(d)
    ORDER BY d.digest, d.tenant_id, d.id
$$;

-- The books of a chunk of deployments before their decision on p_bar, tenants in turn, row-level security kept.
CREATE OR REPLACE FUNCTION strategies_books(p_tenants uuid[], p_accounts uuid[], p_deployments uuid[], p_bar timestamptz)
RETURNS TABLE (deployment_id uuid, book jsonb) LANGUAGE plpgsql AS $$
DECLARE n int;
BEGIN
    FOR n IN 1 .. coalesce(cardinality(p_tenants), 0) LOOP
        PERFORM set_config('app.tenant_id', p_tenants[n]::text, true);
        deployment_id := p_deployments[n];
        SELECT jsonb_build_object(
            'cash', c.posted, 'held', c.held - orders_held_since(p_accounts[n], p_deployments[n], p_bar),
            'positions', (SELECT coalesce(jsonb_object_agg(p.instrument_id, p.quantity), '{}')
                          FROM portfolio_book(p_accounts[n], p_deployments[n]) p WHERE p.product = 'delivery'),
            'working', (SELECT coalesce(jsonb_agg(to_jsonb(w)), '[]')
                        FROM orders_working(p_accounts[n], p_deployments[n], p_bar) w),
            'strategy', (SELECT jsonb_build_object('template', s.template, 'parameters', s.parameters,
                                                   'document', s.document)
                         FROM deployments d JOIN strategies s ON s.tenant_id = d.tenant_id AND s.id = d.strategy_id
                         WHERE d.tenant_id = p_tenants[n] AND d.id = p_deployments[n]))
        INTO book FROM ledger_cash(p_accounts[n]) c;
        RETURN NEXT;
    END LOOP;
END $$;

-- The bar is decided on: a repeat is a no-op.
CREATE OR REPLACE FUNCTION strategies_advance(p_tenant uuid, p_deployment uuid, p_bar timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    UPDATE deployments SET last_bar = p_bar, failures = 0, updated_at = clock_timestamp()
    WHERE tenant_id = p_tenant AND id = p_deployment AND last_bar < p_bar;
    RETURN FOUND;
END $$;

-- A failed bar: the third in a row pauses the deployment and says why. Answers how many there are; none of one that was
-- paused or stopped meanwhile.
CREATE OR REPLACE FUNCTION strategies_fail(p_tenant uuid, p_deployment uuid, p_reason text) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE d deployments;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    UPDATE deployments SET failures = failures + 1, updated_at = clock_timestamp(),
        status = CASE WHEN failures >= 2 THEN 'paused' ELSE status END,
        status_reason = CASE WHEN failures >= 2 THEN left(p_reason, 300) ELSE status_reason END
    WHERE tenant_id = p_tenant AND id = p_deployment AND status = 'running' RETURNING * INTO d;
    IF d.status = 'paused' AND d.failures = 3 THEN
        PERFORM events_append('deployment.paused', d.id, d.account_id, jsonb_build_object('reason', d.status_reason),
                              NULL, NULL, NULL);
    END IF;
    RETURN coalesce(d.failures, 0);
END $$;
