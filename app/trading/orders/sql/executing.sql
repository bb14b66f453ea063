-- An accepted order's turn to be sent: what holds now is read again, and the order becomes `submitting` under the
-- lane's fence. Answers the order as it is then, with what the broker needs.
CREATE OR REPLACE FUNCTION orders_begin(p_tenant uuid, p_order uuid, p_fence bigint) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE o orders; a record; i record;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    SELECT * INTO o FROM orders WHERE tenant_id = p_tenant AND id = p_order;
    IF o.id IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM risk_pass_gate();
    PERFORM accounts_lock(o.account_id);
    SELECT * INTO a FROM accounts_for_order(o.account_id);
    SELECT * INTO i FROM instrument_for_order(o.instrument_id, market_clock(a.feed));
    SELECT * INTO o FROM orders WHERE tenant_id = p_tenant AND id = p_order FOR NO KEY UPDATE;
    IF o.status = 'accepted' AND (a.status = 'closed'
            OR (NOT o.reduces AND (a.status <> 'active' OR tenancy_status() <> 'active'
                OR risk_halted(o.account_id, o.deployment_id, o.algo_id, o.mode) IS NOT NULL))) THEN
        UPDATE orders SET status = 'cancelled', status_reason = 'halted', updated_at = clock_timestamp()
        WHERE tenant_id = p_tenant AND id = p_order RETURNING * INTO o;
        PERFORM ledger_void(o.id);
        PERFORM events_append('order.cancelled', o.id, o.account_id, orders_told('{"reason": "halted"}', o.parent_id), NULL, NULL, NULL);
        IF o.order_class <> 'single' THEN
            PERFORM orders_children_of_move(o.id, o.status);
        END IF;
    ELSIF o.status = 'accepted' AND o.broker <> 'paper' AND orders_session_over(p_tenant, p_order) THEN
        UPDATE orders SET status = 'expired', status_reason = 'its session ended before it was sent',
            updated_at = clock_timestamp()
        WHERE tenant_id = p_tenant AND id = p_order RETURNING * INTO o;
        PERFORM ledger_void(o.id);
        PERFORM events_append('order.expired', o.id, o.account_id,
                              orders_told(jsonb_build_object('reason', o.status_reason), o.parent_id), NULL, NULL, NULL);
        IF o.order_class <> 'single' THEN
            PERFORM orders_children_of_move(o.id, o.status);
        END IF;
    ELSIF o.status = 'accepted' THEN
        UPDATE orders SET status = 'submitting', fence = p_fence, updated_at = clock_timestamp()
        WHERE tenant_id = p_tenant AND id = p_order;
        RETURN jsonb_build_object('order', to_jsonb(o), 'account', to_jsonb(a), 'instrument', to_jsonb(i),
                                  'begun', true);
    END IF;
    RETURN jsonb_build_object('order', to_jsonb(o), 'account', to_jsonb(a), 'instrument', to_jsonb(i), 'begun', false);
END $$;

-- Orders whose broker is the paper venue, where nothing stands in the way of any: its book is in this database, so their
-- turn, their coming to rest behind p_after (of each feed) and their being open are one transaction. Those of p_types rest
-- there as they were asked. Answers those that do; the others are for `orders_begin`, one by one.
DROP FUNCTION IF EXISTS orders_begin_all(uuid, uuid[], bigint[], text);
DROP FUNCTION IF EXISTS orders_opened_all(uuid, uuid[], text[], jsonb);
CREATE OR REPLACE FUNCTION orders_rest(p_tenant uuid, p_orders uuid[], p_fences bigint[], p_types text[], p_after jsonb,
                                       p_event jsonb) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE o orders; a record; v_tick bigint; v_venue text; v_orders uuid[] := '{}'; v_accounts uuid[] := '{}';
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    PERFORM risk_pass_gate();
    PERFORM accounts_lock_all(ARRAY(SELECT x.account_id FROM orders x WHERE x.tenant_id = p_tenant AND x.id = ANY (p_orders)));
    IF risk_any_halt() OR tenancy_status() <> 'active' THEN
        RETURN '{}';
    END IF;
    FOR n IN 1 .. cardinality(p_orders) LOOP
        SELECT c.* INTO a FROM orders x CROSS JOIN LATERAL accounts_for_order(x.account_id) c
        WHERE x.tenant_id = p_tenant AND x.id = p_orders[n];
        CONTINUE WHEN a.status IS DISTINCT FROM 'active';
        UPDATE orders x SET status = 'open', fence = p_fences[n], venue_order_id = x.broker_tag,
            updated_at = clock_timestamp()
        WHERE x.tenant_id = p_tenant AND x.id = p_orders[n] AND x.status = 'accepted' AND x.broker = 'paper'
          AND x.order_class = 'single' AND x.order_type = ANY (p_types) AND x.validity <> 'gtt' AND p_after ? x.feed
        RETURNING x.* INTO o;
        CONTINUE WHEN NOT FOUND;
        SELECT i.venue, i.tick INTO v_venue, v_tick FROM instrument_for_order(o.instrument_id, market_clock(o.feed)) i;
        PERFORM paper_accept(p_tenant, jsonb_build_object(
            'id', o.id, 'account_id', o.account_id, 'feed', o.feed,
            'instrument_id', o.instrument_id, 'venue', v_venue, 'side', o.side, 'order_type', o.order_type,
            'validity', o.validity, 'limit_price', o.limit_price, 'remaining', o.quantity, 'tick', v_tick,
            'slippage_bps', a.slippage_bps, 'trigger_price', o.trigger_price, 'protected_price', o.protected_price,
            'expires_at', o.expires_at, 'arrived_after', p_after->>o.feed));
        v_orders := v_orders || o.id;
        v_accounts := v_accounts || o.account_id;
    END LOOP;
    IF cardinality(v_orders) > 0 THEN
        PERFORM events_append_all(array_fill('order.open'::text, ARRAY[cardinality(v_orders)]), v_orders, v_accounts,
                                  array_fill(p_event, ARRAY[cardinality(v_orders)]));
    END IF;
    RETURN v_orders;
END $$;

-- The same of many tenants, each after the other.
CREATE OR REPLACE FUNCTION orders_rest_each(p_tenants uuid[], p_orders uuid[], p_fences bigint[], p_types text[],
                                            p_after jsonb, p_event jsonb) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
DECLARE v_tenant uuid; v_orders uuid[]; v_fences bigint[];
BEGIN
    PERFORM risk_pass_gate();
    FOR v_tenant, v_orders, v_fences IN
            SELECT t.tenant, array_agg(t.id), array_agg(t.fence)
            FROM unnest(p_tenants, p_orders, p_fences) AS t (tenant, id, fence) GROUP BY t.tenant ORDER BY t.tenant LOOP
        RETURN QUERY SELECT unnest(orders_rest(v_tenant, v_orders, v_fences, p_types, p_after, p_event));
    END LOOP;
END $$;

-- An order with what a broker needs to be asked about it. Null: there is none.
CREATE OR REPLACE FUNCTION orders_state(p_tenant uuid, p_order uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE o orders; a record; i record;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    SELECT * INTO o FROM orders WHERE tenant_id = p_tenant AND id = p_order;
    IF o.id IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT * INTO a FROM accounts_for_order(o.account_id);
    SELECT * INTO i FROM instrument_for_order(o.instrument_id, market_clock(a.feed));
    RETURN jsonb_build_object('order', to_jsonb(o), 'account', to_jsonb(a), 'instrument', to_jsonb(i));
END $$;

-- Moves an order to p_to if its status is one of p_from; a final status gives the rest of its hold back, an unknown fate
-- is asked about by a row of work in a lane of its own. The broker's name for the order is kept in any case. Null: it is
-- not in one of p_from (any more).
CREATE OR REPLACE FUNCTION orders_transition(p_tenant uuid, p_order uuid, p_from text[], p_to text,
                                             p_venue_order_id text, p_reason text, p_event jsonb)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE v_account uuid; v_holds boolean; v_class text; v_parent uuid; v_told text;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    SELECT o.account_id, o.hold_minor > 0 OR o.pending_change IS NOT NULL, o.order_class, o.parent_id
    INTO v_account, v_holds, v_class, v_parent FROM orders o WHERE o.tenant_id = p_tenant AND o.id = p_order;
    IF v_account IS NULL OR accounts_advance(v_account, NULL) IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE orders SET status = p_to, venue_order_id = coalesce(p_venue_order_id, venue_order_id),
        status_reason = coalesce(p_reason, status_reason), updated_at = clock_timestamp(),
        unknown_since = CASE p_to WHEN 'unknown' THEN (p_event->>'received_at')::timestamptz END
    WHERE tenant_id = p_tenant AND id = p_order AND status = ANY (p_from);
    IF NOT FOUND THEN
        UPDATE orders SET venue_order_id = p_venue_order_id
        WHERE tenant_id = p_tenant AND id = p_order AND venue_order_id IS NULL AND p_venue_order_id IS NOT NULL;
        RETURN NULL;
    END IF;
    IF p_from @> '{accepted}' THEN
        DELETE FROM waiting_orders WHERE tenant_id = p_tenant AND id = p_order;
    END IF;
    IF v_holds AND p_to IN ('cancelled', 'rejected', 'expired', 'lost') THEN
        PERFORM ledger_void(p_order);
    ELSIF p_to = 'unknown' THEN
        PERFORM work_append('execution', 'order.resolve', p_order, jsonb_build_object('order_id', p_order), 1);
    END IF;
    v_told := CASE p_to WHEN 'accepted' THEN 'deferred' WHEN 'partially_filled' THEN 'open' ELSE p_to END;
    PERFORM events_append('order.' || v_told, p_order, v_account, orders_told(p_event, v_parent), NULL, NULL, NULL);
    IF v_class <> 'single' THEN
        PERFORM orders_children_of_move(p_order, p_to);
    END IF;
    RETURN p_to;
END $$;

-- What the account has at its broker, as far as we know; p_tags: also these, whatever became of them.
CREATE OR REPLACE FUNCTION orders_at_broker(p_tenant uuid, p_account uuid, p_tags text[])
RETURNS TABLE (id uuid, tag text, venue_order_id text, status text, filled_quantity bigint, qty_exp int,
               updated_at timestamptz)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    RETURN QUERY
    SELECT o.id, o.broker_tag, o.venue_order_id, o.status, o.filled_quantity, i.qty_exp, o.updated_at
    FROM orders o CROSS JOIN LATERAL instrument_scale(o.instrument_id) i
    WHERE o.tenant_id = p_tenant AND o.account_id = p_account AND o.leg IS DISTINCT FROM 'whole'
      AND o.status IN ('submitting', 'unknown', 'open', 'partially_filled');
    IF cardinality(p_tags) > 0 THEN
        RETURN QUERY
        SELECT o.id, o.broker_tag, o.venue_order_id, o.status, o.filled_quantity, i.qty_exp, o.updated_at
        FROM orders o CROSS JOIN LATERAL instrument_scale(o.instrument_id) i
        WHERE o.tenant_id = p_tenant AND o.account_id = p_account AND o.broker_tag = ANY (p_tags)
          AND o.status NOT IN ('denied', 'accepted', 'submitting', 'unknown', 'open', 'partially_filled');
    END IF;
END $$;

-- Tells that the broker's word on an order differs from ours, before it is taken.
CREATE OR REPLACE FUNCTION orders_reconciled(p_tenant uuid, p_order uuid, p_account uuid, p_event jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    PERFORM events_append('order.reconciled', p_order, p_account, p_event, NULL, NULL, NULL);
END $$;

-- Keeps an order at the broker that is not ours, and tells of it when it is new or other than before.
CREATE OR REPLACE FUNCTION orders_note_foreign(p_tenant uuid, p_account uuid, p_foreign jsonb, p_seen_at timestamptz)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE f foreign_orders := jsonb_populate_record(NULL::foreign_orders, p_foreign);
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    INSERT INTO foreign_orders AS x (tenant_id, id, account_id, venue_order_id, tag, symbol, side, quantity, filled,
                                     status, venue_at, seen_at)
    VALUES (p_tenant, uuidv7(), p_account, f.venue_order_id, f.tag, f.symbol, f.side, f.quantity, f.filled, f.status,
            f.venue_at, p_seen_at)
    ON CONFLICT (tenant_id, account_id, venue_order_id) DO UPDATE
        SET filled = excluded.filled, status = excluded.status, venue_at = excluded.venue_at, seen_at = excluded.seen_at
        WHERE (x.filled, x.status) <> (excluded.filled, excluded.status);
    IF FOUND THEN
        PERFORM events_append('account.foreign_order_seen', p_account, p_account, p_foreign, NULL, NULL, NULL);
    END IF;
    RETURN FOUND;
END $$;

-- Why an exit that its broker could not bring down was taken back: another covers what is left of its pair.
CREATE OR REPLACE FUNCTION orders_replaced() RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'another exit takes its place'
$$;

-- The exit is about to be taken back for that. Whoever hears of its end may be told of it before we are.
CREATE OR REPLACE FUNCTION orders_to_be_replaced(p_tenant uuid, p_order uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    UPDATE orders SET status_reason = orders_replaced() WHERE tenant_id = p_tenant AND id = p_order
        AND NOT orders_is_over(status);
END $$;

-- Why an order is being taken back; null while nobody has asked for it. A cancel whose process died waits for its turn.
-- An exit is taken back for another, too, when it cannot be brought down; what was asked of it comes first.
CREATE OR REPLACE FUNCTION orders_cancel_asked(p_tenant uuid, p_order uuid) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    RETURN (SELECT CASE w.kind WHEN 'order.reduce' THEN orders_replaced()
                               ELSE coalesce(w.payload->>'reason', 'requested') END
            FROM orders o JOIN work_items w ON w.tenant_id = o.tenant_id AND w.queue = 'execution' AND w.lane = o.account_id
            WHERE o.tenant_id = p_tenant AND o.id = p_order AND w.state = 'ready'
              AND (w.kind = 'order.cancel' OR (w.kind = 'order.reduce' AND o.status_reason = orders_replaced()))
              AND w.payload->>'order_id' = p_order::text
            ORDER BY w.kind = 'order.reduce', w.sequence LIMIT 1);
END $$;
