-- The paper venue takes an order into its book, once.
CREATE OR REPLACE FUNCTION paper_accept(p_tenant uuid, p_order jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE o paper_orders := jsonb_populate_record(NULL::paper_orders, p_order);
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    o.tenant_id := p_tenant;
    o.arrived_at := clock_timestamp();
    INSERT INTO paper_orders SELECT o.* ON CONFLICT DO NOTHING;
END $$;

-- Whether the order rests in the venue's book.
CREATE OR REPLACE FUNCTION paper_rests(p_tenant uuid, p_order uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    RETURN EXISTS (SELECT 1 FROM paper_orders WHERE tenant_id = p_tenant AND id = p_order);
END $$;

-- Takes an order out of the book. False when it does not rest there any more: whoever took it out decides its fate.
CREATE OR REPLACE FUNCTION paper_remove(p_order uuid) RETURNS boolean LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM paper_orders WHERE tenant_id = current_setting('app.tenant_id')::uuid AND id = p_order RETURNING 1
    )
    SELECT EXISTS (SELECT 1 FROM gone)
$$;

CREATE OR REPLACE FUNCTION paper_withdraw(p_tenant uuid, p_order uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    RETURN paper_remove(p_order);
END $$;

-- The matcher's place in a feed's stream.
CREATE OR REPLACE FUNCTION paper_checkpoint(p_feed text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT c.stream_id FROM paper_checkpoints c WHERE c.feed = p_feed
$$;

CREATE OR REPLACE FUNCTION paper_advance(p_feed text, p_stream_id text, p_market_at timestamptz) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO paper_checkpoints (feed, stream_id, market_at) VALUES (p_feed, p_stream_id, p_market_at)
    ON CONFLICT (feed) DO UPDATE SET stream_id = excluded.stream_id, updated_at = clock_timestamp(),
        market_at = coalesce(excluded.market_at, paper_checkpoints.market_at)
$$;
