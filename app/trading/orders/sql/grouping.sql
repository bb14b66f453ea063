-- Orders that belong together. The order that was asked for is the parent. A `whole` is never sent: its slices are, and
-- what it says of itself is what they sum to; slices that are entries have exits of their own, and of a pair that is cut
-- both orders of each part are its children. An entry's exits wait until the transaction that records a fill of it; the
-- exits of one pair never trade more than `pair_quantity` together. Whoever calls has the account's turn and has set the
-- tenant, except where a function takes it.

-- The lowest p_digits digits of a number to the base 32, the lowest first, as `app.kernel.ids` writes them.
CREATE OR REPLACE FUNCTION orders_base32(p_number bytea, p_digits int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT string_agg(substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + d.digit, 1), '' ORDER BY d.place) FROM (
        SELECT place, sum(get_bit(p_number, (length(p_number) - 1 - k / 8) * 8 + k % 8) << (k - 5 * place))::int AS digit
        FROM generate_series(0, p_digits - 1) place
        CROSS JOIN LATERAL generate_series(5 * place, least(5 * place + 4, 8 * length(p_number) - 1)) k
        GROUP BY place) d
$$;
CREATE OR REPLACE FUNCTION orders_broker_tag(p_order uuid) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT orders_base32(substr(sha256(uuid_send(p_order)), 1, 13), 20)
$$;
CREATE OR REPLACE FUNCTION orders_public_id(p_order uuid) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'ord_' || reverse(orders_base32(uuid_send(p_order), 26))
$$;

-- What an event says of an order that has a parent.
CREATE OR REPLACE FUNCTION orders_told(p_event jsonb, p_parent uuid) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_parent IS NULL THEN p_event
                ELSE p_event || jsonb_build_object('parent_id', orders_public_id(p_parent)) END
$$;

CREATE OR REPLACE FUNCTION orders_is_over(p_status text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT p_status IN ('denied', 'filled', 'cancelled', 'rejected', 'expired', 'lost')
$$;

-- Writes a child. Its risk decision is its parent's: the group was decided as a whole. p_sent: it goes at once, or waits
-- for what p_waiting says.
CREATE OR REPLACE FUNCTION orders_add_child(c orders, p_sent boolean, p_waiting jsonb, p_kind text, p_priority int)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM risk_record(c.id, c.account_id, 'approved', jsonb_build_array(jsonb_build_object(
        'rule', 'group', 'verdict', 'pass', 'limit', 'decided with its parent',
        'value', orders_public_id(c.parent_id), 'message', '')));
    INSERT INTO orders SELECT c.*;
    IF c.hold_minor > 0 THEN
        PERFORM ledger_hold(c.id, c.account_id, c.hold_minor);
    END IF;
    IF p_sent AND jsonb_typeof(p_waiting) = 'object' THEN
        PERFORM orders_wait(c, p_waiting);
    ELSIF p_sent THEN
        PERFORM work_append('execution', p_kind, c.account_id, jsonb_build_object('order_id', c.id), p_priority);
    END IF;
    PERFORM events_append('order.' || c.status, c.id, c.account_id, orders_told(
        jsonb_build_object('client_order_id', c.client_order_id, 'reasons', '[]'::jsonb), c.parent_id), NULL, NULL, NULL);
END $$;

-- As orders_write, with the children of the order, in the order of their ids. A denied order has none.
DROP FUNCTION IF EXISTS orders_write_group(uuid, bigint, jsonb, jsonb, date, bigint, bigint, jsonb, uuid, text, text, uuid,
                                           uuid, uuid, jsonb, jsonb);
CREATE OR REPLACE FUNCTION orders_write_group(p_tenant uuid, p_version bigint, p_order jsonb, p_findings jsonb,
                                              p_session_day date, p_equity bigint, p_peak bigint, p_flows bigint, p_event jsonb,
                                              p_key uuid, p_source_ip text, p_request_id text, p_user uuid, p_home uuid,
                                              p_grant uuid, p_claim jsonb, p_children jsonb)
RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE v_at timestamptz; c orders; v_first boolean := true;
BEGIN
    v_at := orders_write(p_tenant, p_version, p_order, p_findings, p_session_day, p_equity, p_peak, p_flows, p_event, p_key,
                         p_source_ip, p_request_id, p_user, p_home, p_grant, p_claim);
    IF v_at IS NULL OR p_order->>'status' <> 'accepted' THEN
        RETURN v_at;
    END IF;
    FOR c IN SELECT * FROM jsonb_populate_recordset(NULL::orders, p_children) x ORDER BY x.id LOOP
        c.tenant_id := p_tenant;
        c.created_at := v_at;
        c.updated_at := v_at;
        PERFORM orders_add_child(c, c.status = 'accepted' AND (v_first OR c.order_class <> 'iceberg'),
                                 p_order->'waiting', 'order.submit', 1);
        v_first := false;
    END LOOP;
    RETURN v_at;
END $$;

-- Ends an order that no broker has seen.
CREATE OR REPLACE FUNCTION orders_end_unsent(p_order uuid, p_reason text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE o orders;
BEGIN
    UPDATE orders SET status = 'cancelled', status_reason = p_reason, updated_at = clock_timestamp()
    WHERE tenant_id = current_setting('app.tenant_id')::uuid AND id = p_order AND status IN ('waiting', 'accepted')
    RETURNING * INTO o;
    IF o.id IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM waiting_orders WHERE tenant_id = o.tenant_id AND id = o.id;
    IF o.hold_minor > 0 THEN
        PERFORM ledger_void(o.id);
    END IF;
    PERFORM events_append('order.cancelled', o.id, o.account_id,
                          orders_told(jsonb_build_object('reason', p_reason), o.parent_id), NULL, NULL, NULL);
END $$;

-- What of a pair may still be traded.
CREATE OR REPLACE FUNCTION orders_pair_left(p_pair uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT (max(o.pair_quantity) - sum(o.filled_quantity))::bigint FROM orders o
    WHERE o.tenant_id = current_setting('app.tenant_id')::uuid AND o.pair_id = p_pair
$$;

-- Of a pair's working exits one is counted: what the other would sell is the same.
CREATE OR REPLACE FUNCTION orders_pair_count(p_pair uuid) RETURNS void LANGUAGE sql AS $$
    WITH ranked AS (
        SELECT o.tenant_id, o.id, row_number() OVER (ORDER BY o.quantity - o.filled_quantity DESC, o.id) = 1 AS first
        FROM orders o
        WHERE o.tenant_id = current_setting('app.tenant_id')::uuid AND o.pair_id = p_pair AND NOT orders_is_over(o.status)
    )
    UPDATE orders o SET counted = r.first FROM ranked r
    WHERE o.tenant_id = r.tenant_id AND o.id = r.id AND o.counted <> r.first
$$;

-- An order as o was asked for, of which nothing has happened yet.
CREATE OR REPLACE FUNCTION orders_anew(o orders) RETURNS orders LANGUAGE plpgsql AS $$
BEGIN
    o.id := uuidv7();
    o.broker_tag := orders_broker_tag(o.id);
    o.filled_quantity := 0;
    o.filled_notional := 0;
    o.status := 'accepted';
    o.status_reason := NULL;
    o.venue_order_id := NULL;
    o.fence := NULL;
    o.unknown_since := NULL;
    o.triggered_at := NULL;
    o.pending_change := NULL;
    o.created_at := clock_timestamp();
    o.updated_at := o.created_at;
    RETURN o;
END $$;

-- An exit of a pair: as many units as were filled of the entry and are not covered by it yet.
CREATE OR REPLACE FUNCTION orders_copy_exit(p_like orders, p_pair uuid, p_quantity bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE c orders := orders_anew(p_like);
BEGIN
    c.client_order_id := orders_public_id(p_like.parent_id) || '.' || p_like.leg || '.' || (
        SELECT count(*) + 1 FROM orders o WHERE o.tenant_id = p_like.tenant_id AND o.parent_id = p_like.parent_id
                                            AND o.leg = p_like.leg);
    c.pair_id := p_pair;
    c.pair_quantity := coalesce((SELECT o.pair_quantity FROM orders o WHERE o.tenant_id = p_like.tenant_id
                                 AND o.pair_id = p_pair LIMIT 1), p_quantity);
    c.quantity := p_quantity;
    PERFORM orders_add_child(c, true, NULL, 'order.protect', 0);
END $$;

-- p_quantity more of the entry o was filled: its exits cover that much more, from this transaction on. Exits that wait
-- begin to work, exits that no broker has seen yet grow, and beside exits that are under way new ones begin. One that
-- was taken back on request is not made again.
CREATE OR REPLACE FUNCTION orders_cover(o orders, p_quantity bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    c orders;
    v_pair uuid;
    v_waiting boolean;
    v_unseen boolean;
BEGIN
    SELECT x.pair_id INTO v_pair FROM orders x WHERE x.tenant_id = o.tenant_id AND x.parent_id = o.id
    ORDER BY x.created_at DESC LIMIT 1;
    SELECT bool_or(x.status = 'waiting'),
           bool_and(x.status IN ('waiting', 'accepted') AND x.filled_quantity = 0)
               FILTER (WHERE x.status <> 'cancelled' OR x.status_reason IS DISTINCT FROM 'requested')
    INTO v_waiting, v_unseen FROM orders x WHERE x.tenant_id = o.tenant_id AND x.pair_id = v_pair;
    IF v_unseen THEN
        UPDATE orders x SET pair_quantity = CASE WHEN v_waiting THEN p_quantity ELSE x.pair_quantity + p_quantity END
        WHERE x.tenant_id = o.tenant_id AND x.pair_id = v_pair;
        FOR c IN UPDATE orders x SET status = 'accepted', updated_at = clock_timestamp(), quantity = x.pair_quantity
                 WHERE x.tenant_id = o.tenant_id AND x.pair_id = v_pair AND x.status IN ('waiting', 'accepted')
                 RETURNING x.* LOOP
            IF v_waiting THEN
                PERFORM work_append('execution', 'order.protect', c.account_id, jsonb_build_object('order_id', c.id), 0);
                PERFORM events_append('order.accepted', c.id, c.account_id, orders_told(jsonb_build_object(
                    'client_order_id', c.client_order_id, 'reasons', '[]'::jsonb), o.id), NULL, NULL, NULL);
            END IF;
        END LOOP;
    ELSE
        v_pair := uuidv7();
        FOR c IN SELECT DISTINCT ON (x.leg) x.* FROM orders x
                 WHERE x.tenant_id = o.tenant_id AND x.parent_id = o.id ORDER BY x.leg, x.created_at DESC LOOP
            IF c.status <> 'cancelled' OR c.status_reason IS DISTINCT FROM 'requested' THEN
                PERFORM orders_copy_exit(c, v_pair, p_quantity);
            END IF;
        END LOOP;
    END IF;
    PERFORM orders_pair_count(v_pair);
END $$;

-- Brings the working exits of a pair down to what may still be traded: in our books at once, at a broker that is not
-- ours by a row of work ahead of everything else.
CREATE OR REPLACE FUNCTION orders_pair_settle(p_pair uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_tenant uuid := current_setting('app.tenant_id')::uuid;
    v_left bigint := greatest(orders_pair_left(p_pair), 0);
    t orders;
BEGIN
    FOR t IN SELECT * FROM orders o WHERE o.tenant_id = v_tenant AND o.pair_id = p_pair
             AND (NOT orders_is_over(o.status) OR o.status = 'lost')
             AND o.quantity - o.filled_quantity > v_left ORDER BY o.id LOOP
        IF v_left = 0 AND t.status IN ('waiting', 'accepted') THEN
            PERFORM orders_end_unsent(t.id, 'the other exit was filled');
        ELSIF v_left = 0 AND t.broker = 'paper' AND t.status <> 'lost' THEN
            PERFORM paper_cancel(v_tenant, jsonb_build_object('id', t.id, 'account_id', t.account_id,
                'instrument_id', t.instrument_id, 'side', t.side, 'quantity', t.quantity));
            UPDATE orders SET status = 'cancelled', status_reason = 'the other exit was filled',
                updated_at = clock_timestamp() WHERE tenant_id = v_tenant AND id = t.id;
            PERFORM events_append('order.cancelled', t.id, t.account_id,
                orders_told('{"reason": "the other exit was filled"}', t.parent_id), NULL, NULL, NULL);
        ELSIF t.status IN ('waiting', 'accepted') OR (t.broker = 'paper' AND paper_reduce(t.id, v_left)) THEN
            UPDATE orders SET quantity = filled_quantity + v_left, updated_at = clock_timestamp(),
                pending_change = pending_change || jsonb_build_object('quantity', filled_quantity + v_left)
            WHERE tenant_id = v_tenant AND id = t.id;
        ELSE
            PERFORM work_append('execution', CASE v_left WHEN 0 THEN 'order.cancel' ELSE 'order.reduce' END,
                                t.account_id, jsonb_build_object('order_id', t.id, 'reason', 'the other exit was filled'), 0);
        END IF;
    END LOOP;
    PERFORM orders_pair_count(p_pair);
END $$;

-- A fill of an order that belongs to others was recorded.
CREATE OR REPLACE FUNCTION orders_children_of_fill(p_order uuid, p_quantity bigint, p_event jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_tenant uuid := current_setting('app.tenant_id')::uuid;
    o orders;
    v_told text;
    v_left bigint;
BEGIN
    SELECT * INTO o FROM orders WHERE tenant_id = v_tenant AND id = p_order;
    IF o.leg = 'slice' AND o.order_class = 'iceberg' AND o.status = 'filled' THEN
        PERFORM orders_show_next(o.parent_id, o.status);
    ELSIF o.leg = 'entry' THEN
        PERFORM orders_cover(o, p_quantity);
    ELSIF o.pair_id IS NOT NULL THEN
        v_left := orders_pair_left(o.pair_id);
        IF v_left < 0 THEN
            PERFORM events_append('order.group_overfilled', coalesce(o.parent_id, o.id), o.account_id, jsonb_build_object(
                'exit_id', orders_public_id(o.id), 'quantity', (SELECT round(-v_left / 10::numeric ^ i.qty_exp, i.qty_exp)
                FROM instrument_scale(o.instrument_id) i)::text), NULL, NULL, NULL);
        END IF;
        PERFORM orders_pair_settle(o.pair_id);
    END IF;
    IF orders_sum_up_over(o) THEN
        SELECT w.status INTO v_told FROM orders w WHERE w.tenant_id = v_tenant AND w.id = o.parent_id;
        PERFORM events_append('order.' || CASE v_told WHEN 'filled' THEN v_told ELSE 'partially_filled' END, o.parent_id,
            o.account_id, p_event || jsonb_build_object('slice_id', orders_public_id(o.id)), NULL, NULL, NULL);
    END IF;
END $$;

-- An order that belongs to others became p_to.
CREATE OR REPLACE FUNCTION orders_children_of_move(p_order uuid, p_to text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_tenant uuid := current_setting('app.tenant_id')::uuid;
    o orders;
    v_child uuid;
BEGIN
    SELECT * INTO o FROM orders WHERE tenant_id = v_tenant AND id = p_order;
    IF o.leg = 'slice' AND o.order_class = 'iceberg' AND orders_is_over(p_to) THEN
        PERFORM orders_show_next(o.parent_id, p_to);
    ELSIF o.leg = 'entry' AND orders_is_over(p_to) THEN
        FOR v_child IN SELECT c.id FROM orders c WHERE c.tenant_id = v_tenant AND c.parent_id = o.id
                       AND c.status = 'waiting' ORDER BY c.id LOOP
            PERFORM orders_end_unsent(v_child, 'the entry ended');
        END LOOP;
    ELSIF o.pair_id IS NOT NULL AND p_to IN ('open', 'partially_filled') THEN
        PERFORM orders_pair_settle(o.pair_id);
    ELSIF o.pair_id IS NOT NULL THEN
        PERFORM orders_pair_count(o.pair_id);
    END IF;
    PERFORM orders_sum_up_over(o);
END $$;

-- Asks for what a parent stands for to be taken back: the slices of a whole, the other order of a pair. The exits of an
-- entry stay: they cover what was filled.
CREATE OR REPLACE FUNCTION orders_cancel_family(p_tenant uuid, p_order uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    PERFORM work_append('execution', 'order.cancel', c.account_id, jsonb_build_object('order_id', c.id), 0)
    FROM orders p JOIN orders c ON c.tenant_id = p.tenant_id AND c.parent_id = p.id
    WHERE p.tenant_id = p_tenant AND p.id = p_order AND p.leg IN ('whole', 'target') AND NOT orders_is_over(c.status)
    ORDER BY c.id;
END $$;

-- What an exit may still ask for, `rest`: 0 when the other one has traded all of the pair; and how many units it then asks
-- for, those that it filled included. No row: it is not over the mark.
DROP FUNCTION IF EXISTS orders_excess(uuid, uuid);
CREATE OR REPLACE FUNCTION orders_excess(p_tenant uuid, p_order uuid) RETURNS TABLE (rest bigint, quantity bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    RETURN QUERY
    SELECT p.rest, o.filled_quantity + p.rest
    FROM orders o CROSS JOIN LATERAL (SELECT greatest(orders_pair_left(o.pair_id), 0) AS rest) p
    WHERE o.tenant_id = p_tenant AND o.id = p_order AND NOT orders_is_over(o.status)
      AND o.quantity - o.filled_quantity > p.rest;
END $$;

-- The broker has brought an exit down to p_quantity units, those that it filled included.
CREATE OR REPLACE FUNCTION orders_reduced(p_tenant uuid, p_order uuid, p_quantity bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE o orders;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    SELECT * INTO o FROM orders WHERE tenant_id = p_tenant AND id = p_order;
    PERFORM accounts_advance(o.account_id, NULL);
    UPDATE orders SET quantity = p_quantity, updated_at = clock_timestamp(),
        pending_change = pending_change || jsonb_build_object('quantity', p_quantity)
    WHERE tenant_id = p_tenant AND id = p_order AND p_quantity > filled_quantity AND p_quantity < quantity;
    PERFORM orders_pair_settle(o.pair_id);
END $$;

-- The pair of an exit is brought down to what may still be traded.
CREATE OR REPLACE FUNCTION orders_settle_pair(p_tenant uuid, p_order uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE o orders;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    SELECT * INTO o FROM orders WHERE tenant_id = p_tenant AND id = p_order;
    PERFORM accounts_advance(o.account_id, NULL);
    PERFORM orders_pair_settle(o.pair_id);
END $$;

-- An exit that could not be reduced was taken back for p_reason: another covers what is left of the pair. Once for each.
CREATE OR REPLACE FUNCTION orders_replace_exit(p_tenant uuid, p_order uuid, p_reason text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE o orders; v_left bigint;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    SELECT * INTO o FROM orders WHERE tenant_id = p_tenant AND id = p_order;
    PERFORM accounts_advance(o.account_id, NULL);
    SELECT * INTO o FROM orders WHERE tenant_id = p_tenant AND id = p_order;
    v_left := orders_pair_left(o.pair_id);
    IF o.status = 'cancelled' AND o.status_reason = p_reason AND v_left > 0 AND NOT EXISTS (
            SELECT 1 FROM orders x WHERE x.tenant_id = p_tenant AND x.pair_id = o.pair_id AND x.leg = o.leg
            AND x.created_at > o.created_at) THEN
        IF o.parent_id IS NULL THEN
            o.parent_id := o.id;  -- the target of a pair that has no entry
        END IF;
        PERFORM orders_copy_exit(o, o.pair_id, v_left);
        PERFORM orders_pair_count(o.pair_id);
    END IF;
END $$;

-- Asks for the working exits of one position to be taken back. The caller has set the tenant.
DROP FUNCTION IF EXISTS orders_cancel_exits(uuid, uuid, uuid);
CREATE OR REPLACE FUNCTION orders_cancel_exits(p_account uuid, p_book uuid, p_instrument uuid, p_product text) RETURNS void
LANGUAGE sql AS $$
    SELECT work_append('execution', 'order.cancel', o.account_id, jsonb_build_object('order_id', o.id), 0)
    FROM orders o
    WHERE o.tenant_id = current_setting('app.tenant_id')::uuid AND o.account_id = p_account
      AND coalesce(o.deployment_id, o.account_id) = p_book AND o.instrument_id = p_instrument AND o.product = p_product
      AND o.leg IN ('target', 'stop') AND o.status IN ('accepted', 'submitting', 'unknown', 'open', 'partially_filled')
$$;
