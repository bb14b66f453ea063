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

-- The trigger of an order that trails the market is at p_trigger, after the entry p_seen_to.
CREATE OR REPLACE FUNCTION orders_trail(p_tenant uuid, p_order uuid, p_trigger bigint, p_seen_to text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    UPDATE orders SET trigger_price = p_trigger, updated_at = clock_timestamp()
    WHERE tenant_id = p_tenant AND id = p_order AND status = 'accepted';
    IF FOUND THEN
        UPDATE waiting_orders SET trigger_price = p_trigger, seen_to = p_seen_to
        WHERE tenant_id = p_tenant AND id = p_order;
    END IF;
END $$;
