-- What the reducer and the charges need of orders that are being filled.
DROP FUNCTION IF EXISTS orders_fill_context(uuid, uuid);
CREATE OR REPLACE FUNCTION orders_fill_contexts(p_tenant uuid, p_orders uuid[]) RETURNS SETOF jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    RETURN QUERY
    SELECT jsonb_build_object(
        'id', o.id, 'account', o.account_id, 'book', b.id, 'deployment_id', o.deployment_id, 'instrument', o.instrument_id,
        'product', o.product, 'total', o.quantity, 'filled', o.filled_quantity, 'hold', o.hold_minor,
        'holds', o.hold_minor > 0 OR o.pending_change IS NOT NULL,
        'currency', a.currency, 'charge_schedule', a.charge_schedule, 'price_exp', i.price_exp, 'qty_exp', i.qty_exp,
        'venue', i.venue, 'quantity', p.quantity, 'cost', p.cost_minor, 'realised', p.realised_minor,
        'margin', p.margin_minor, 'version', p.version)
    FROM orders o
    CROSS JOIN LATERAL (SELECT coalesce(o.deployment_id, o.account_id) AS id) b
    CROSS JOIN LATERAL accounts_for_order(o.account_id) a
    CROSS JOIN LATERAL instrument_scale(o.instrument_id) i
    LEFT JOIN LATERAL portfolio_position(o.account_id, b.id, o.instrument_id, o.product) p ON true
    WHERE o.tenant_id = p_tenant AND o.id = ANY (p_orders);
END $$;

-- The same of many tenants, each after the other.
CREATE OR REPLACE FUNCTION orders_fill_contexts_each(p_tenants uuid[], p_orders uuid[]) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
DECLARE v_tenant uuid; v_orders uuid[];
BEGIN
    FOR v_tenant, v_orders IN
            SELECT t.tenant, array_agg(t.id) FROM unnest(p_tenants, p_orders) AS t (tenant, id)
            GROUP BY t.tenant ORDER BY t.tenant LOOP
        RETURN QUERY SELECT * FROM orders_fill_contexts(v_tenant, v_orders);
    END LOOP;
END $$;

-- Records fills of one tenant in the order given, with their orders, positions and the ledger: all of them or none. Of each
-- fill: `row`, what is stored of it; `filled_before` and `status`, its order before and after it; `event`; `set_off`, the
-- price that set off a stop with it; and what `portfolio_owe` and `ledger_settle_fills` say. p_positions: what
-- `portfolio_write` says. Accounts are locked first.
-- Answers of each: 'recorded'; 'replayed': it was before; 'conflict': the order is not what was read; 'gone': the paper
-- venue had already let the order go. Of several, all are recorded, or all are called conflicts, as when one belongs to a
-- group: what its fill does to the others comes before their fills.
DROP FUNCTION IF EXISTS orders_record_fill(uuid, jsonb, bigint, jsonb, text, bigint, bigint, jsonb);
CREATE OR REPLACE FUNCTION orders_record_fills(p_tenant uuid, p_fills jsonb, p_positions jsonb) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    v_last int := jsonb_array_length(p_fills) - 1;
    v_at timestamptz;
    e jsonb;
    f fills;
    o record;
    v_account uuid;
    v_turns uuid[] := '{}';
    v_said text[] := '{}';
    v_ends boolean[] := '{}';
    v_grouped boolean := false;
    v_types text[] := '{}';
    v_orders uuid[] := '{}';
    v_accounts uuid[] := '{}';
    v_told jsonb[] := '{}';
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    FOR n IN 0 .. v_last LOOP
        v_account := p_fills->n->>'account';
        IF v_account <> ALL (v_turns) THEN
            v_turns := v_turns || v_account;
        END IF;
    END LOOP;
    PERFORM accounts_advance_these(v_turns);
    FOR n IN 0 .. v_last LOOP
        e := p_fills->n;
        SELECT x.id, x.filled_quantity, x.order_class <> 'single' AS grouped, x.broker = 'paper' AS on_paper
        INTO o FROM orders x WHERE x.tenant_id = p_tenant AND x.id = (e->'row'->>'order_id')::uuid;
        IF o.filled_quantity > 0 AND orders_knows_fill(p_tenant, o.id, e->'row'->>'venue_fill_id') THEN
            v_said := v_said || 'replayed'::text;
        ELSIF o.filled_quantity IS DISTINCT FROM (e->>'filled_before')::bigint AND (o.id = ANY (v_orders)) IS NOT TRUE THEN
            v_said := v_said || 'conflict'::text;
        ELSIF o.on_paper AND NOT coalesce(paper_meets(o.id, e->'row'->>'venue_fill_id'), e->>'status' <> 'filled') THEN
            v_said := v_said || 'gone'::text;
        ELSE
            v_said := v_said || 'recorded'::text;
        END IF;
        v_orders := v_orders || o.id;
        v_ends := v_ends || (o.on_paper AND e->>'status' = 'filled');
        v_grouped := v_grouped OR o.grouped;
    END LOOP;
    IF 'recorded' <> ANY (v_said) OR (v_grouped AND v_last > 0) THEN
        RETURN CASE v_last WHEN 0 THEN v_said ELSE array_fill('conflict'::text, ARRAY[v_last + 1]) END;
    END IF;
    v_at := clock_timestamp();
    FOR n IN 0 .. v_last LOOP
        e := p_fills->n;
        f := jsonb_populate_record(NULL::fills, e->'row');
        f.tenant_id := p_tenant;
        f.recorded_at := v_at;
        IF v_ends[n + 1] AND NOT paper_fill(f.order_id, jsonb_build_object(
                'id', f.venue_fill_id, 'quantity', f.quantity, 'price', f.price, 'at', f.occurred_at)) THEN
            RAISE EXCEPTION 'the venue had let one of these orders go' USING ERRCODE = 'serialization_failure';
        END IF;
        INSERT INTO fills SELECT f.*;
        UPDATE orders x SET filled_quantity = x.filled_quantity + f.quantity, updated_at = v_at,
            filled_notional = x.filled_notional + f.notional_minor,
            status = CASE WHEN x.filled_quantity + f.quantity = x.quantity THEN 'filled' ELSE 'partially_filled' END
        WHERE x.tenant_id = p_tenant AND x.id = f.order_id
        RETURNING x.account_id, x.parent_id INTO o;
        IF e->>'set_off' IS NOT NULL THEN
            PERFORM orders_tell_triggered(f.order_id, (e->>'set_off')::bigint, e->'event'->>'market_at');
        END IF;
        v_types := v_types || ('order.' || (e->>'status'));
        v_accounts := v_accounts || o.account_id;
        v_told := v_told || orders_told(e->'event', o.parent_id);
    END LOOP;
    IF NOT portfolio_write(p_positions) THEN
        RAISE EXCEPTION 'a position changed' USING ERRCODE = 'serialization_failure';
    END IF;
    PERFORM portfolio_owe(p_fills);
    PERFORM ledger_settle_fills(p_fills);
    PERFORM events_append_all(v_types, v_orders, v_accounts, v_told);
    IF v_grouped THEN
        PERFORM orders_children_of_fill(f.order_id, f.quantity, e->'event');
    END IF;
    RETURN v_said;
END $$;

-- Whether an execution was recorded before.
CREATE OR REPLACE FUNCTION orders_knows_fill(p_tenant uuid, p_order uuid, p_venue_fill_id text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM fills f WHERE f.tenant_id = p_tenant AND f.order_id = p_order
                   AND f.venue_fill_id = p_venue_fill_id);
END $$;

-- The same of many tenants, each after the other: of all of them or, when it raises, of none.
CREATE OR REPLACE FUNCTION orders_record_fills_each(p_tenants uuid[], p_fills jsonb[], p_positions jsonb[])
RETURNS TABLE (tenant_id uuid, said text[]) LANGUAGE plpgsql AS $$
DECLARE v_fills jsonb; v_positions jsonb;
BEGIN
    FOR tenant_id, v_fills, v_positions IN
            SELECT t.* FROM unnest(p_tenants, p_fills, p_positions) AS t (tenant, fills, positions) ORDER BY t.tenant LOOP
        said := orders_record_fills(tenant_id, v_fills, v_positions);
        RETURN NEXT;
    END LOOP;
END $$;
