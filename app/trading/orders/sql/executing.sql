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
    PERFORM accounts_lock(o.account_id);
    SELECT * INTO a FROM accounts_for_order(o.account_id);
    SELECT * INTO i FROM instrument_for_order(o.instrument_id, market_clock(a.feed));
    SELECT * INTO o FROM orders WHERE tenant_id = p_tenant AND id = p_order FOR NO KEY UPDATE;
    PERFORM risk_pass_gate();
    IF o.status = 'accepted' AND (a.status = 'closed'
            OR (o.side = 'buy' AND (a.status <> 'active' OR tenancy_status() <> 'active'
                OR risk_halted(o.account_id, o.deployment_id, o.algo_id, o.mode) IS NOT NULL))) THEN
        UPDATE orders SET status = 'cancelled', status_reason = 'halted', updated_at = clock_timestamp()
        WHERE tenant_id = p_tenant AND id = p_order RETURNING * INTO o;
        PERFORM ledger_void(o.id);
        PERFORM events_append('order.cancelled', o.id, o.account_id, '{"reason": "halted"}', NULL, NULL, NULL);
    ELSIF o.status = 'accepted' AND o.broker <> 'paper' AND orders_session_over(p_tenant, p_order) THEN
        UPDATE orders SET status = 'expired', status_reason = 'its session ended before it was sent',
            updated_at = clock_timestamp()
        WHERE tenant_id = p_tenant AND id = p_order RETURNING * INTO o;
        PERFORM ledger_void(o.id);
        PERFORM events_append('order.expired', o.id, o.account_id, jsonb_build_object('reason', o.status_reason), NULL,
                              NULL, NULL);
    ELSIF o.status = 'accepted' THEN
        UPDATE orders SET status = 'submitting', fence = p_fence, updated_at = clock_timestamp()
        WHERE tenant_id = p_tenant AND id = p_order;
        RETURN jsonb_build_object('order', to_jsonb(o), 'account', to_jsonb(a), 'instrument', to_jsonb(i),
                                  'begun', true);
    END IF;
    RETURN jsonb_build_object('order', to_jsonb(o), 'account', to_jsonb(a), 'instrument', to_jsonb(i), 'begun', false);
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
DECLARE v_account uuid; v_hold bigint; v_told text;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    SELECT o.account_id, o.hold_minor INTO v_account, v_hold FROM orders o WHERE o.tenant_id = p_tenant AND o.id = p_order;
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
    IF v_hold > 0 AND p_to IN ('cancelled', 'rejected', 'expired', 'lost') THEN
        PERFORM ledger_void(p_order);
    ELSIF p_to = 'unknown' THEN
        PERFORM work_append('execution', 'order.resolve', p_order, jsonb_build_object('order_id', p_order), 1);
    END IF;
    v_told := CASE p_to WHEN 'accepted' THEN 'deferred' WHEN 'partially_filled' THEN 'open' ELSE p_to END;
    PERFORM events_append('order.' || v_told, p_order, v_account, p_event, NULL, NULL, NULL);
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
    FROM orders o CROSS JOIN LATERAL instrument_for_order(o.instrument_id, NULL) i
    WHERE o.tenant_id = p_tenant AND o.account_id = p_account
      AND o.status IN ('submitting', 'unknown', 'open', 'partially_filled');
    IF cardinality(p_tags) > 0 THEN
        RETURN QUERY
        SELECT o.id, o.broker_tag, o.venue_order_id, o.status, o.filled_quantity, i.qty_exp, o.updated_at
        FROM orders o CROSS JOIN LATERAL instrument_for_order(o.instrument_id, NULL) i
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

-- What the reducer and the charges need of an order that is being filled.
CREATE OR REPLACE FUNCTION orders_fill_context(p_tenant uuid, p_order uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE o orders; a record; i record; p record;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    SELECT * INTO o FROM orders WHERE tenant_id = p_tenant AND id = p_order;
    IF o.id IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT * INTO a FROM accounts_for_order(o.account_id);
    SELECT * INTO i FROM instrument_for_order(o.instrument_id, NULL);
    SELECT q.quantity, q.cost_minor, q.realised_minor, q.version INTO p FROM portfolio_position(
        o.account_id, coalesce(o.deployment_id, o.account_id), o.instrument_id) q;
    RETURN jsonb_build_object('order', to_jsonb(o), 'account', to_jsonb(a), 'instrument', to_jsonb(i), 'quantity',
        p.quantity, 'cost', p.cost_minor, 'realised', p.realised_minor, 'version', p.version);
END $$;

-- Records one fill: the fill, the order, the position and the ledger together. The account's row is locked first.
-- 'recorded'; 'replayed': it was before; 'conflict': order or position are not what was read; 'gone': the paper venue
-- had already let the order go.
CREATE OR REPLACE FUNCTION orders_record_fill(p_tenant uuid, p_fill jsonb, p_filled_before bigint, p_position jsonb,
                                              p_currency text, p_cash bigint, p_release bigint, p_event jsonb)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    f fills := jsonb_populate_record(NULL::fills, p_fill);
    o orders;
    v_status text;
    v_book uuid;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    PERFORM accounts_advance(f.account_id, NULL);
    IF EXISTS (SELECT 1 FROM fills x WHERE x.tenant_id = p_tenant AND x.order_id = f.order_id
               AND x.venue_fill_id = f.venue_fill_id) THEN
        RETURN 'replayed';
    END IF;
    SELECT * INTO o FROM orders WHERE tenant_id = p_tenant AND id = f.order_id FOR NO KEY UPDATE;
    IF o.filled_quantity <> p_filled_before THEN
        RETURN 'conflict';
    END IF;
    v_status := CASE WHEN o.filled_quantity + f.quantity = o.quantity THEN 'filled' ELSE 'partially_filled' END;
    IF o.broker = 'paper' AND paper_unseen(o.id, f.venue_fill_id) THEN
        RETURN 'gone';
    END IF;
    IF o.broker = 'paper' AND v_status = 'filled' AND NOT paper_end(o.id, 'filled', jsonb_build_object(
            'id', f.venue_fill_id, 'quantity', f.quantity, 'price', f.price, 'at', f.occurred_at)) THEN
        RETURN 'gone';
    END IF;
    f.tenant_id := p_tenant;
    f.recorded_at := clock_timestamp();
    INSERT INTO fills SELECT f.*;
    UPDATE orders SET filled_quantity = filled_quantity + f.quantity, status = v_status,
        filled_notional = filled_notional + f.notional_minor, updated_at = f.recorded_at
    WHERE tenant_id = p_tenant AND id = o.id;
    v_book := coalesce(o.deployment_id, o.account_id);
    IF NOT portfolio_write(o.account_id, v_book, o.instrument_id, (p_position->>'version')::bigint,
                           (p_position->>'quantity')::bigint, (p_position->>'cost')::bigint,
                           (p_position->>'realised')::bigint) THEN
        RAISE EXCEPTION 'the position changed' USING ERRCODE = 'serialization_failure';
    END IF;
    PERFORM portfolio_owe(o.account_id, o.instrument_id, p_cash, f.charges_minor,
                          CASE f.side WHEN 'buy' THEN f.quantity ELSE -f.quantity END, f.occurred_at);
    PERFORM ledger_settle_fill(f.id, o.account_id, p_currency, p_cash, f.heads,
                               CASE WHEN o.hold_minor > 0 THEN o.id END, p_release, f.occurred_at,
                               jsonb_build_object('order_id', o.id, 'instrument_id', o.instrument_id, 'side', f.side,
                                   'quantity', f.quantity, 'price', f.price, 'charges', f.charges_minor));
    PERFORM events_append('order.' || v_status, o.id, o.account_id, p_event, NULL, NULL, NULL);
    RETURN 'recorded';
END $$;
