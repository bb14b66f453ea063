-- What the hold of a whole order comes to for the part of it that is not filled yet.
CREATE OR REPLACE FUNCTION orders_hold_left(p_hold bigint, p_quantity bigint, p_filled bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT ceil(p_hold::numeric * (p_quantity - p_filled) / p_quantity)::bigint
$$;

-- Keeps a change that was decided, reserves what it costs more, and asks for it ahead of what waits in the lane. False:
-- the order is not what was decided on. The caller has set the tenant and holds the account's turn.
CREATE OR REPLACE FUNCTION orders_ask_change(p_order uuid, p_filled bigint, p_change jsonb) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE o orders; c orders := jsonb_populate_record(NULL::orders, p_change);
BEGIN
    UPDATE orders SET pending_change = p_change, updated_at = clock_timestamp()
    WHERE tenant_id = current_setting('app.tenant_id')::uuid AND id = p_order AND filled_quantity = p_filled
      AND status IN ('open', 'partially_filled') AND pending_change IS NULL
    RETURNING * INTO o;
    IF o.id IS NULL THEN
        RETURN false;
    END IF;
    IF c.hold_minor > 0 THEN
        PERFORM ledger_resize_hold(o.id, o.account_id, orders_hold_left(c.hold_minor, c.quantity, p_filled), true);
    END IF;
    PERFORM work_append('execution', 'order.modify', o.account_id, jsonb_build_object('order_id', o.id), 0);
    RETURN true;
END $$;

-- What follows the quantity of an entry: the exits that wait for its fills.
CREATE OR REPLACE FUNCTION orders_exits_follow(p_entry uuid, p_quantity bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE orders SET quantity = p_quantity, pair_quantity = p_quantity, updated_at = clock_timestamp()
    WHERE tenant_id = current_setting('app.tenant_id')::uuid AND parent_id = p_entry AND status = 'waiting'
$$;

-- Changes an order that no broker has seen: p_change, its columns as they shall be, and what it holds. p_waits: what it
-- waits for from now on; then prices shown before this moment are none of its business. False: it has moved on. The
-- caller has set the tenant and holds the account's turn, and the row of what it waits for.
CREATE OR REPLACE FUNCTION orders_change_unsent(p_order uuid, p_change jsonb, p_waits jsonb) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE o orders; c orders := jsonb_populate_record(NULL::orders, p_change); w waiting_orders;
BEGIN
    UPDATE orders SET quantity = c.quantity, limit_price = c.limit_price, trigger_price = c.trigger_price,
        protected_price = c.protected_price, validity = c.validity, parameters = c.parameters,
        hold_minor = c.hold_minor, reduces = coalesce(c.reduces, reduces), updated_at = clock_timestamp()
    WHERE tenant_id = current_setting('app.tenant_id')::uuid AND id = p_order AND status IN ('waiting', 'accepted')
    RETURNING * INTO o;
    IF o.id IS NULL THEN
        RETURN false;
    END IF;
    IF jsonb_typeof(p_waits) = 'object' THEN
        w := jsonb_populate_record(NULL::waiting_orders, p_waits);
        UPDATE waiting_orders SET trigger_price = w.trigger_price, trail_by = w.trail_by, trail_bps = w.trail_bps,
            seen_to = orders_present_entry()
        WHERE tenant_id = o.tenant_id AND id = o.id;
    END IF;
    UPDATE waiting_orders SET validity = o.validity WHERE tenant_id = o.tenant_id AND id = o.id;
    IF o.hold_minor > 0 THEN
        PERFORM ledger_resize_hold(o.id, o.account_id, o.hold_minor, true);
        PERFORM ledger_resize_hold(o.id, o.account_id, o.hold_minor, false);
    ELSE
        PERFORM ledger_void(o.id);
    END IF;
    PERFORM orders_exits_follow(o.id, o.quantity) WHERE o.leg = 'entry';
    RETURN true;
END $$;

-- The broker has changed the order: it is so here from now on, and what it costs less is given back. An order of which
-- no more is wanted than was filled meanwhile has ended. p_sent: the change that the broker was asked for. False: it is
-- not the one that is pending; another, asked for meanwhile, is none that this answer is about.
DROP FUNCTION IF EXISTS orders_change_done(uuid, uuid, jsonb);
CREATE OR REPLACE FUNCTION orders_change_done(p_tenant uuid, p_order uuid, p_sent jsonb, p_event jsonb) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE o orders; c orders;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    PERFORM accounts_advance((SELECT x.account_id FROM orders x WHERE x.tenant_id = p_tenant AND x.id = p_order), NULL);
    SELECT * INTO o FROM orders WHERE tenant_id = p_tenant AND id = p_order FOR NO KEY UPDATE;
    IF o.pending_change IS NULL OR o.pending_change IS DISTINCT FROM p_sent
       OR o.status NOT IN ('open', 'partially_filled', 'unknown') THEN
        RETURN false;
    END IF;
    c := jsonb_populate_record(NULL::orders, o.pending_change);
    IF c.quantity <= o.filled_quantity THEN
        UPDATE orders SET pending_change = NULL, status = 'cancelled', updated_at = clock_timestamp(),
            status_reason = 'changed to what was filled' WHERE tenant_id = p_tenant AND id = p_order;
        PERFORM ledger_void(o.id);
        PERFORM events_append('order.cancelled', o.id, o.account_id,
                              '{"reason": "changed to what was filled"}', NULL, NULL, NULL);
        IF o.leg IN ('slice', 'entry') THEN
            PERFORM orders_children_of_move(o.id, 'cancelled');
        END IF;
        RETURN true;
    END IF;
    UPDATE orders SET pending_change = NULL, quantity = c.quantity, limit_price = c.limit_price,
        trigger_price = c.trigger_price, protected_price = c.protected_price, hold_minor = c.hold_minor,
        validity = coalesce(c.validity, validity), reduces = coalesce(c.reduces, reduces),
        updated_at = clock_timestamp()
    WHERE tenant_id = p_tenant AND id = p_order;
    PERFORM orders_exits_follow(o.id, c.quantity) WHERE o.leg = 'entry';
    IF c.hold_minor > 0 THEN
        PERFORM ledger_resize_hold(o.id, o.account_id, orders_hold_left(c.hold_minor, c.quantity, o.filled_quantity),
                                   false);
    ELSE
        PERFORM ledger_void(o.id);
    END IF;
    PERFORM events_append('order.modified', o.id, o.account_id, p_event, NULL, NULL, NULL);
    IF o.leg IN ('slice', 'entry') THEN
        PERFORM orders_sum_up_over(o);
    END IF;
    RETURN true;
END $$;

-- The order stays as it was, and what had been reserved for the change p_sent is given back. False: it is not pending.
DROP FUNCTION IF EXISTS orders_change_refused(uuid, uuid, jsonb);
CREATE OR REPLACE FUNCTION orders_change_refused(p_tenant uuid, p_order uuid, p_sent jsonb, p_event jsonb)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE o orders;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    PERFORM accounts_advance((SELECT x.account_id FROM orders x WHERE x.tenant_id = p_tenant AND x.id = p_order), NULL);
    UPDATE orders SET pending_change = NULL, updated_at = clock_timestamp()
    WHERE tenant_id = p_tenant AND id = p_order AND pending_change = p_sent RETURNING * INTO o;
    IF o.id IS NULL THEN
        RETURN false;
    END IF;
    IF o.hold_minor > 0 AND o.filled_quantity < o.quantity THEN
        PERFORM ledger_resize_hold(o.id, o.account_id, orders_hold_left(o.hold_minor, o.quantity, o.filled_quantity),
                                   false);
    ELSE
        PERFORM ledger_void(o.id);
    END IF;
    PERFORM events_append('order.modify_rejected', o.id, o.account_id, p_event, NULL, NULL, NULL);
    RETURN true;
END $$;

-- The paper venue's book and ours change in one transaction: no fill comes between.
CREATE OR REPLACE FUNCTION orders_change_in_book(p_tenant uuid, p_order uuid, p_event jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE o orders; c orders; v_refused text;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    PERFORM accounts_advance((SELECT x.account_id FROM orders x WHERE x.tenant_id = p_tenant AND x.id = p_order), NULL);
    SELECT * INTO o FROM orders WHERE tenant_id = p_tenant AND id = p_order FOR NO KEY UPDATE;
    IF o.pending_change IS NULL THEN
        RETURN;
    END IF;
    c := jsonb_populate_record(NULL::orders, o.pending_change);
    v_refused := paper_modify(p_tenant, p_order, c.quantity, c.limit_price,
                              CASE WHEN c.trigger_price <> o.trigger_price THEN c.trigger_price END, c.protected_price,
                              c.validity, orders_present_entry());
    IF v_refused IS NULL THEN
        PERFORM orders_change_done(p_tenant, p_order, o.pending_change, p_event);
    ELSE
        PERFORM orders_change_refused(p_tenant, p_order, o.pending_change, jsonb_build_object('reason', v_refused));
    END IF;
END $$;
