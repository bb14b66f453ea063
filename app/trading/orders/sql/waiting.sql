-- What a feed's stream has shown by now: its ids begin with their milliseconds. An entry of this very millisecond counts
-- as one that is still to come.
CREATE OR REPLACE FUNCTION orders_present_entry() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint - 1 || '-18446744073709551615'
$$;

-- Keeps an accepted order with us until it may be sent. Prices shown before this moment are none of its business. The
-- caller has set the tenant.
CREATE OR REPLACE FUNCTION orders_wait(o orders, p_waiting jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE w waiting_orders := jsonb_populate_record(NULL::waiting_orders, p_waiting);
BEGIN
    w.tenant_id := o.tenant_id;
    w.id := o.id;
    w.account_id := o.account_id;
    w.feed := o.feed;
    w.instrument_id := o.instrument_id;
    w.side := o.side;
    w.validity := o.validity;
    w.seen_to := orders_present_entry();
    INSERT INTO waiting_orders SELECT w.*;
END $$;

-- Sends an order that waits: its row of work, once. False when it waits no more: it was sent, or it has ended.
CREATE OR REPLACE FUNCTION orders_release(p_tenant uuid, p_order uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE v_account uuid; v_feed text;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    DELETE FROM waiting_orders WHERE tenant_id = p_tenant AND id = p_order RETURNING account_id, feed
    INTO v_account, v_feed;
    IF v_account IS NULL OR NOT EXISTS (SELECT 1 FROM orders WHERE tenant_id = p_tenant AND id = p_order
                                        AND status = 'accepted') THEN
        RETURN false;
    END IF;
    PERFORM work_append('execution', 'order.submit', v_account, jsonb_build_object('order_id', p_order, 'feed', v_feed), 1);
    RETURN true;
END $$;

-- Whether an order waits for the price that it was judged by: it was read as shown the tape to p_seen_to, with its
-- trigger at p_trigger. Nobody changes it until the transaction ends. The caller has set the tenant.
CREATE OR REPLACE FUNCTION orders_waits_still(p_order uuid, p_seen_to text, p_trigger bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM accounts_lock(w.account_id) FROM waiting_orders w
    WHERE w.tenant_id = current_setting('app.tenant_id')::uuid AND w.id = p_order;
    PERFORM 1 FROM waiting_orders w
    WHERE w.tenant_id = current_setting('app.tenant_id')::uuid AND w.id = p_order AND w.seen_to = p_seen_to
      AND w.trigger_price = p_trigger FOR NO KEY UPDATE;
    RETURN FOUND;
END $$;

-- A price as the API writes it: two decimals, or more where there are more.
CREATE OR REPLACE FUNCTION orders_price_text(p_price bigint, p_exp int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT round(n.price, greatest(scale(trim_scale(n.price)), least(p_exp, 2)))::text
    FROM (SELECT round(p_price / 10::numeric ^ p_exp, p_exp) AS price) n
$$;

-- The market touched an order's trigger at p_price (null: a broker told, who does not say at which): that is told once, in
-- the transaction that acts on it. p_at: when, as events write times. The caller has set the tenant.
CREATE OR REPLACE FUNCTION orders_tell_triggered(p_order uuid, p_price bigint, p_at text) RETURNS void
LANGUAGE sql AS $$
    WITH o AS (
        UPDATE orders x SET triggered_at = p_at::timestamptz
        WHERE x.tenant_id = current_setting('app.tenant_id')::uuid AND x.id = p_order AND x.triggered_at IS NULL
        RETURNING x.id, x.account_id, x.instrument_id, x.parent_id
    )
    SELECT events_append('order.triggered', o.id, o.account_id, orders_told(jsonb_build_object(
        'price', orders_price_text(p_price, i.price_exp),
        'market_at', p_at), o.parent_id), NULL, NULL, NULL)
    FROM o CROSS JOIN LATERAL instrument_scale(o.instrument_id) i
$$;

-- A broker tells that a stop which rests there was set off.
CREATE OR REPLACE FUNCTION orders_triggered_there(p_tenant uuid, p_order uuid, p_at text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    PERFORM orders_tell_triggered(p_order, NULL, p_at);
END $$;

-- A price touched the trigger of an order that waits for it: the order is sent, once. False when it waits no more, or for
-- another price.
CREATE OR REPLACE FUNCTION orders_set_off(p_tenant uuid, p_order uuid, p_seen_to text, p_trigger bigint, p_price bigint,
                                          p_at text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    IF NOT orders_waits_still(p_order, p_seen_to, p_trigger) OR NOT orders_release(p_tenant, p_order) THEN
        RETURN false;
    END IF;
    PERFORM orders_tell_triggered(p_order, p_price, p_at);
    RETURN true;
END $$;

-- The session ended for which an order waited, unless it may wait for longer by now.
CREATE OR REPLACE FUNCTION orders_wait_over(p_tenant uuid, p_order uuid, p_seen_to text, p_trigger bigint,
                                            p_reason text, p_event jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    IF orders_waits_still(p_order, p_seen_to, p_trigger) AND EXISTS (
            SELECT 1 FROM waiting_orders w WHERE w.tenant_id = p_tenant AND w.id = p_order AND w.validity = 'day') THEN
        PERFORM orders_transition(p_tenant, p_order, '{accepted}', 'expired', NULL, p_reason, p_event);
    END IF;
END $$;

-- The trigger of an order that trails the market is at p_moved, after the entry p_shown.
DROP FUNCTION IF EXISTS orders_trail(uuid, uuid, bigint, text);
CREATE OR REPLACE FUNCTION orders_trail(p_tenant uuid, p_order uuid, p_seen_to text, p_trigger bigint, p_moved bigint,
                                        p_shown text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    IF orders_waits_still(p_order, p_seen_to, p_trigger) THEN
        UPDATE orders SET trigger_price = p_moved, updated_at = clock_timestamp()
        WHERE tenant_id = p_tenant AND id = p_order AND status = 'accepted';
        UPDATE waiting_orders SET trigger_price = p_moved, seen_to = p_shown WHERE tenant_id = p_tenant AND id = p_order;
    END IF;
END $$;

-- A stop that rests at the paper venue was set off by the entry p_entry, and rests on by its limit.
CREATE OR REPLACE FUNCTION orders_set_off_at_paper(p_tenant uuid, p_order uuid, p_entry text, p_price bigint,
                                                   p_at text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF paper_trigger(p_tenant, p_order, p_entry) THEN
        PERFORM orders_tell_triggered(p_order, p_price, p_at);
    END IF;
END $$;

-- The paper venue lets an order go without a fill, by the entry p_entry (null: by none, its session is over or its price
-- means something else after a split): it ends there and here, unless it was changed after that. p_set_off: the price that
-- set it off before.
CREATE OR REPLACE FUNCTION orders_let_go(p_tenant uuid, p_order uuid, p_entry text, p_status text, p_reason text,
                                         p_event jsonb, p_set_off bigint, p_at text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    PERFORM accounts_lock(o.account_id) FROM orders o WHERE o.tenant_id = p_tenant AND o.id = p_order;
    IF paper_unseen(p_order, p_entry) OR NOT paper_let_go(p_tenant, p_order, p_status) THEN
        RETURN;
    END IF;
    PERFORM orders_tell_triggered(p_order, p_set_off, p_at) WHERE p_set_off IS NOT NULL;
    PERFORM orders_transition(p_tenant, p_order, '{submitting,unknown,open,partially_filled}', p_status, NULL, p_reason,
                              p_event);
END $$;
