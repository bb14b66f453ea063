-- The paper venue takes an order into its book, once: not again after it has left, nor after it was cancelled here.
DROP FUNCTION IF EXISTS paper_accept_all(uuid, jsonb);
CREATE OR REPLACE FUNCTION paper_accept(p_tenant uuid, p_order jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE o paper_orders := jsonb_populate_record(NULL::paper_orders, p_order);
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    PERFORM accounts_lock(o.account_id);
    IF NOT EXISTS (SELECT FROM paper_ended x WHERE x.tenant_id = p_tenant AND x.id = o.id) THEN
        o.tenant_id := p_tenant;
        o.arrived_at := clock_timestamp();
        INSERT INTO paper_orders SELECT o.* ON CONFLICT DO NOTHING;
    END IF;
END $$;

-- Takes an order out of the book and keeps what became of it: p_fill says with what execution, if any. False when it
-- does not rest there any more: whoever took it out decides its fate. The caller has set the tenant.
CREATE OR REPLACE FUNCTION paper_end(p_order uuid, p_status text, p_fill jsonb) RETURNS boolean LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM paper_orders WHERE tenant_id = current_setting('app.tenant_id')::uuid AND id = p_order
        RETURNING tenant_id, id, account_id, instrument_id, side, remaining
    ), kept AS (
        INSERT INTO paper_ended (tenant_id, id, account_id, instrument_id, side, quantity, status, fill)
        SELECT g.*, p_status, p_fill FROM gone g
        RETURNING 1
    )
    SELECT EXISTS (SELECT 1 FROM kept)
$$;

-- The same of an order that is filled whole, by p_fill.
DROP FUNCTION IF EXISTS paper_fill_all(uuid[], jsonb[]);
CREATE OR REPLACE FUNCTION paper_fill(p_order uuid, p_fill jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE g paper_orders;
BEGIN
    DELETE FROM paper_orders p WHERE p.tenant_id = current_setting('app.tenant_id')::uuid AND p.id = p_order
    RETURNING p.* INTO g;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO paper_ended (tenant_id, id, account_id, instrument_id, side, quantity, status, fill)
    VALUES (g.tenant_id, g.id, g.account_id, g.instrument_id, g.side, g.remaining, 'filled', p_fill);
    RETURN true;
END $$;

-- An order leaves the book without a fill, as p_status says: expired or cancelled.
CREATE OR REPLACE FUNCTION paper_let_go(p_tenant uuid, p_order uuid, p_status text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    RETURN paper_end(p_order, p_status, NULL);
END $$;

DROP FUNCTION IF EXISTS paper_withdraw(uuid, uuid);

-- A stop was set off by the entry p_entry and rests by its limit now; what was shown up to there is behind it.
-- False: it was before, or must not meet the entry.
DROP FUNCTION IF EXISTS paper_trigger(uuid, uuid, text);
CREATE OR REPLACE FUNCTION paper_trigger(p_tenant uuid, p_order uuid, p_entry text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    UPDATE paper_orders SET triggered_at = p_entry, arrived_after = p_entry
    WHERE tenant_id = p_tenant AND id = p_order AND triggered_at IS NULL AND NOT paper_unseen(p_order, p_entry);
    RETURN FOUND;
END $$;

-- Whether an order of the book may meet an entry of the stream; null where it does not rest. Not when it came, or was
-- changed, after it: a batch of the tape may have been read before. The caller has set the tenant.
CREATE OR REPLACE FUNCTION paper_meets(p_order uuid, p_entry text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE v_after text;
BEGIN
    SELECT o.arrived_after INTO v_after FROM paper_orders o
    WHERE o.tenant_id = current_setting('app.tenant_id')::uuid AND o.id = p_order;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN p_entry !~ '^[0-9]+-[0-9]+$' OR coalesce(
        (split_part(v_after, '-', 1)::numeric, split_part(v_after, '-', 2)::numeric)
            < (split_part(p_entry, '-', 1)::numeric, split_part(p_entry, '-', 2)::numeric), true);
END $$;

CREATE OR REPLACE FUNCTION paper_unseen(p_order uuid, p_entry text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT coalesce(paper_meets(p_order, p_entry), true)
$$;

-- Takes an order back, also before it has arrived: then it never will. p_order: its id, account_id, instrument_id, side
-- and quantity.
CREATE OR REPLACE FUNCTION paper_cancel(p_tenant uuid, p_order jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE o paper_ended := jsonb_populate_record(NULL::paper_ended, p_order);
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    PERFORM accounts_lock(o.account_id);
    IF paper_end(o.id, 'cancelled', NULL) THEN
        RETURN;
    END IF;
    INSERT INTO paper_ended (tenant_id, id, account_id, instrument_id, side, quantity, status)
    VALUES (p_tenant, o.id, o.account_id, o.instrument_id, o.side, o.quantity, 'cancelled') ON CONFLICT DO NOTHING;
END $$;

-- Changes a resting order, which then meets no price shown before; what is null stays. Null when it is done, else why
-- it is not. A quantity is the whole order's: it rests whole.
DROP FUNCTION IF EXISTS paper_modify(uuid, uuid, bigint, bigint, bigint, bigint, text);
CREATE OR REPLACE FUNCTION paper_modify(p_tenant uuid, p_order uuid, p_quantity bigint, p_limit_price bigint,
                                        p_trigger_price bigint, p_protected_price bigint, p_validity text,
                                        p_arrived_after text)
RETURNS text
LANGUAGE plpgsql AS $$
DECLARE v_triggered text;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    SELECT o.triggered_at INTO v_triggered FROM paper_orders o WHERE o.tenant_id = p_tenant AND o.id = p_order FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'the order does not rest';
    ELSIF v_triggered IS NOT NULL AND p_trigger_price IS NOT NULL THEN
        RETURN 'the order was triggered';
    END IF;
    UPDATE paper_orders SET remaining = coalesce(p_quantity, remaining), arrived_after = p_arrived_after,
        limit_price = CASE WHEN limit_price IS NOT NULL THEN coalesce(p_limit_price, limit_price) END,
        trigger_price = CASE WHEN trigger_price IS NOT NULL THEN coalesce(p_trigger_price, trigger_price) END,
        protected_price = coalesce(p_protected_price, protected_price), validity = coalesce(p_validity, validity)
    WHERE tenant_id = p_tenant AND id = p_order;
    RETURN NULL;
END $$;

-- What the venue holds of an account (p_order: of one order): what rests, and what ended in the last day.
DROP FUNCTION IF EXISTS paper_reports(uuid, uuid, uuid);
CREATE OR REPLACE FUNCTION paper_reports(p_tenant uuid, p_account uuid, p_order uuid)
RETURNS TABLE (id uuid, symbol text, price_exp int, qty_exp int, side text, quantity bigint, status text, fill jsonb,
               at timestamptz, limit_price bigint, trigger_price bigint, validity text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    RETURN QUERY
    SELECT h.id, i.symbol, i.price_exp, i.qty_exp, h.side, h.quantity, h.status, h.fill, h.at,
           h.limit_price, h.trigger_price, h.validity FROM (
        SELECT o.id, o.instrument_id, o.side, o.remaining AS quantity, 'open' AS status, NULL::jsonb AS fill,
               o.arrived_at AS at, o.limit_price, o.trigger_price, o.validity
        FROM paper_orders o
        WHERE o.tenant_id = p_tenant AND o.account_id = p_account AND (p_order IS NULL OR o.id = p_order)
        UNION ALL
        SELECT e.id, e.instrument_id, e.side, e.quantity, e.status, e.fill, e.ended_at, NULL, NULL, NULL
        FROM paper_ended e
        WHERE e.tenant_id = p_tenant AND e.account_id = p_account
          AND CASE WHEN p_order IS NULL THEN e.ended_at > clock_timestamp() - interval '1 day' ELSE e.id = p_order END
    ) h CROSS JOIN LATERAL instrument_scale(h.instrument_id) i
    ORDER BY h.id;
END $$;

-- The matcher's place in a feed's stream.
CREATE OR REPLACE FUNCTION paper_checkpoint(p_feed text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT c.stream_id FROM paper_checkpoints c WHERE c.feed = p_feed
$$;

-- A transaction by itself, and one that may be lost: what lies behind an older place is matched again, with no effect.
CREATE OR REPLACE FUNCTION paper_advance(p_feed text, p_stream_id text, p_market_at timestamptz) RETURNS void
LANGUAGE sql AS $$
    SELECT set_config('synchronous_commit', 'off', true);
    INSERT INTO paper_checkpoints (feed, stream_id, market_at) VALUES (p_feed, p_stream_id, p_market_at)
    ON CONFLICT (feed) DO UPDATE SET stream_id = excluded.stream_id, updated_at = clock_timestamp(),
        market_at = coalesce(excluded.market_at, paper_checkpoints.market_at)
$$;
