-- Orders that are sent in slices. The whole is never sent: what it says of itself is what its slices sum to, and how many
-- units it is asked for, too. Whoever calls has the account's turn and has set the tenant.

-- Why a slice was taken back that the order needs no more: then only what was filled of it counts.
CREATE OR REPLACE FUNCTION orders_made_smaller() RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'the order was made smaller'
$$;

-- Makes a whole say what its slices sum to, and tells when its status changes.
CREATE OR REPLACE FUNCTION orders_sum_up(p_whole uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_tenant uuid := current_setting('app.tenant_id')::uuid;
    w orders;
    s record;
    v_quantity bigint;
    v_status text;
BEGIN
    SELECT * INTO w FROM orders WHERE tenant_id = v_tenant AND id = p_whole FOR NO KEY UPDATE;
    SELECT sum(o.filled_quantity)::bigint AS filled, sum(o.filled_notional)::bigint AS notional,
           (sum(CASE WHEN o.status = 'cancelled' AND o.status_reason = orders_made_smaller() THEN o.filled_quantity
                     ELSE o.quantity END) FILTER (WHERE o.leg IN ('slice', 'entry')))::bigint AS quantity,
           bool_or(NOT orders_is_over(o.status)) AS works, bool_or(o.status IN ('open', 'partially_filled')) AS open,
           (array_agg(o.status ORDER BY o.venue_order_id IS NULL, o.updated_at DESC) FILTER (WHERE o.status <> 'filled'))[1] AS ending,
           (array_agg(o.status_reason ORDER BY o.venue_order_id IS NULL, o.updated_at DESC)
                FILTER (WHERE o.status <> 'filled'))[1] AS reason
    INTO s FROM orders o WHERE o.tenant_id = v_tenant AND o.parent_id = p_whole;
    v_quantity := coalesce(s.quantity, w.quantity);
    s.filled := least(s.filled, v_quantity);  -- both exits of a pair may have traded
    -- An order that came down to what was filled of it before has ended by that, not by a fill.
    v_status := CASE WHEN s.filled = v_quantity AND (s.filled > w.filled_quantity OR w.status = 'filled') THEN 'filled'
                     WHEN NOT s.works THEN s.ending
                     WHEN s.filled > 0 THEN 'partially_filled' WHEN s.open OR w.status = 'open' THEN 'open'
                     ELSE 'accepted' END;
    UPDATE orders SET quantity = v_quantity, filled_quantity = s.filled, filled_notional = s.notional, status = v_status,
        status_reason = CASE WHEN s.works OR v_status = 'filled' THEN status_reason ELSE s.reason END,
        updated_at = clock_timestamp()
    WHERE tenant_id = v_tenant AND id = p_whole;
    IF v_quantity <> w.quantity THEN
        PERFORM events_append('order.modified', w.id, w.account_id, jsonb_build_object(
            'quantity', round(v_quantity / 10::numeric ^ i.qty_exp, i.qty_exp)::text,
            'limit_price', orders_price_text(w.limit_price, i.price_exp),
            'trigger_price', orders_price_text(w.trigger_price, i.price_exp)), NULL, NULL, NULL)
        FROM instrument_scale(w.instrument_id) i;
    END IF;
    IF v_status <> w.status AND v_status IN ('open', 'cancelled', 'rejected', 'expired', 'lost') THEN
        PERFORM events_append('order.' || v_status, w.id, w.account_id, CASE v_status WHEN 'open' THEN '{}'::jsonb
            ELSE jsonb_build_object('reason', coalesce(s.reason, 'its slices ended')) END, NULL, NULL, NULL);
    END IF;
END $$;

-- The same of the whole that an order is a part of, if it is.
CREATE OR REPLACE FUNCTION orders_sum_up_over(o orders) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM orders w
    WHERE w.tenant_id = current_setting('app.tenant_id')::uuid AND w.id = o.parent_id AND w.leg = 'whole';
    IF FOUND THEN
        PERFORM orders_sum_up(o.parent_id);
        RETURN true;
    END IF;
    RETURN false;
END $$;

-- An iceberg shows one slice at a time: the next goes when the one before is filled, and none after one that ended.
CREATE OR REPLACE FUNCTION orders_show_next(p_whole uuid, p_status text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE v_tenant uuid := current_setting('app.tenant_id')::uuid; v_next record;
BEGIN
    FOR v_next IN SELECT o.id, o.account_id FROM orders o
                  WHERE o.tenant_id = v_tenant AND o.parent_id = p_whole AND o.status = 'accepted' ORDER BY o.id LOOP
        IF p_status = 'filled' THEN
            PERFORM work_append('execution', 'order.submit', v_next.account_id,
                                jsonb_build_object('order_id', v_next.id), 1);
            RETURN;
        END IF;
        PERFORM orders_end_unsent(v_next.id, 'the slice before it ended unfilled');
    END LOOP;
END $$;

-- Takes back what of a working slice the order needs no more: all of it. At a broker it is asked for.
CREATE OR REPLACE FUNCTION orders_take_off(p_slice uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE o orders;
BEGIN
    SELECT * INTO o FROM orders WHERE tenant_id = current_setting('app.tenant_id')::uuid AND id = p_slice;
    IF o.status IN ('waiting', 'accepted') THEN
        PERFORM orders_end_unsent(o.id, orders_made_smaller());
        IF o.leg = 'entry' THEN
            PERFORM orders_children_of_move(o.id, 'cancelled');
        END IF;
    ELSE
        PERFORM work_append('execution', 'order.cancel', o.account_id,
                            jsonb_build_object('order_id', o.id, 'reason', orders_made_smaller()), 0);
    END IF;
END $$;

-- More slices of an order, of these quantities and holds, with the terms that the whole has by now. They wait for what
-- its slices wait for; those of an iceberg for the slice that is shown.
CREATE OR REPLACE FUNCTION orders_add_slices(p_whole uuid, p_quantities bigint[], p_holds bigint[], p_reduces boolean)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_tenant uuid := current_setting('app.tenant_id')::uuid;
    v_known int := (SELECT count(*) FROM orders o WHERE o.tenant_id = v_tenant AND o.parent_id = p_whole);
    w orders;
    c orders;
    t waiting_orders;
BEGIN
    SELECT * INTO w FROM orders o WHERE o.tenant_id = v_tenant AND o.id = p_whole;
    SELECT x.* INTO t FROM orders o JOIN waiting_orders x ON x.tenant_id = o.tenant_id AND x.id = o.id
    WHERE o.tenant_id = v_tenant AND o.parent_id = p_whole ORDER BY o.id LIMIT 1;
    FOR n IN 1 .. cardinality(p_quantities) LOOP
        c := orders_anew(w);
        c.parent_id := w.id;
        c.leg := 'slice';
        c.client_order_id := orders_public_id(w.id) || '.slice.' || v_known + n;
        c.quantity := p_quantities[n];
        c.hold_minor := p_holds[n];
        c.disclosed_quantity := NULL;
        c.counted := true;
        c.reduces := p_reduces;
        c.market_at := market_clock(w.feed);
        PERFORM orders_add_child(c, t.id IS NULL AND c.order_class <> 'iceberg', NULL, 'order.submit', 1);
        IF t.id IS NOT NULL AND c.order_class <> 'iceberg' THEN
            t.id := c.id;
            INSERT INTO waiting_orders SELECT t.*;
        END IF;
    END LOOP;
END $$;
