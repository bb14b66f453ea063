-- Everything the decision on an order needs, in one round trip. The account's version is read first: any order or fill
-- that commits later makes orders_write refuse. p_claim: the id of the request's Idempotency-Key, if it sent one. What
-- only a rule of a limit needs that few set is read when one is set.
DROP FUNCTION IF EXISTS orders_context(uuid, uuid, uuid, uuid, text, uuid, text);
CREATE OR REPLACE FUNCTION orders_context(p_tenant uuid, p_account uuid, p_book uuid, p_instrument uuid, p_product text,
                                          p_client_order_id text, p_claim uuid, p_algo text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    a record; i record; l record; s record; w record; b record; v record; d record; z record;
    v_known jsonb;
    v_at timestamptz;
    v_limits jsonb;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    IF p_claim IS NOT NULL THEN
        v_known := idempotency_known(p_claim);
        IF v_known IS NOT NULL THEN
            RETURN jsonb_build_object('claimed', v_known);
        END IF;
    END IF;
    SELECT * INTO a FROM accounts_for_order(p_account);
    IF a.id IS NULL THEN
        RETURN '{"account": null}';
    END IF;
    SELECT jsonb_build_object('id', o.id, 'fingerprint', o.fingerprint, 'status', o.status, 'reason', o.status_reason)
    INTO v_known FROM orders o
    WHERE o.tenant_id = p_tenant AND o.account_id = p_account AND o.client_order_id = p_client_order_id;
    IF v_known IS NOT NULL THEN
        RETURN jsonb_build_object('account', to_jsonb(a), 'known', v_known);
    END IF;
    v_at := market_clock(a.feed);
    SELECT * INTO i FROM instrument_for_order(p_instrument, v_at);
    IF i.symbol IS NULL THEN
        RETURN jsonb_build_object('account', to_jsonb(a), 'instrument', NULL);
    END IF;
    SELECT * INTO l FROM market_last_price(a.feed, p_instrument);
    IF p_product = 'intraday' THEN
        SELECT t.day, t.is_open, i.session_segment AS segment, t.day_closes_at INTO s
        FROM market_session_of(i.venue, i.session_segment, v_at) t;
    ELSE  -- nobody asks when its day ends, which is the dearest part of it
        SELECT t.day, t.is_open, NULL::text AS segment, NULL::timestamptz AS day_closes_at INTO s
        FROM market_session_of(i.venue, i.session_segment, v_at) t;
    END IF;
    SELECT * INTO z FROM instrument_band_at(p_instrument, v_at);
    SELECT count(*) AS orders,
           coalesce(sum(o.quantity - o.filled_quantity) FILTER (WHERE o.instrument_id = p_instrument AND o.side = 'buy'), 0) AS buy,
           coalesce(sum(o.quantity - o.filled_quantity) FILTER (WHERE o.instrument_id = p_instrument AND o.side = 'sell'), 0) AS sell,
           coalesce(sum(o.quantity - o.filled_quantity) FILTER (WHERE o.instrument_id = p_instrument AND o.side = 'buy'
                        AND o.product = p_product AND coalesce(o.deployment_id, o.account_id) = p_book), 0) AS book_buy,
           coalesce(sum(o.quantity - o.filled_quantity) FILTER (WHERE o.instrument_id = p_instrument AND o.side = 'sell'
                        AND o.product = p_product AND coalesce(o.deployment_id, o.account_id) = p_book), 0) AS book_sell,
           max(coalesce(o.limit_price, 9223372036854775807)) FILTER (WHERE o.instrument_id = p_instrument AND o.side = 'buy') AS highest_buy,
           min(coalesce(o.limit_price, 0)) FILTER (WHERE o.instrument_id = p_instrument AND o.side = 'sell') AS lowest_sell
    INTO w FROM orders o
    WHERE o.tenant_id = p_tenant AND o.account_id = p_account AND o.counted AND o.status IN
          ('accepted', 'submitting', 'unknown', 'open', 'partially_filled');
    SELECT * INTO b FROM portfolio_held_of(p_account, p_book, p_instrument, p_product);
    SELECT * INTO v FROM portfolio_valued(p_account);
    SELECT * INTO d FROM risk_day(p_account, s.day, v.equity, v.flows);
    v_limits := risk_limits_for(a.client_id, p_account, p_book);
    RETURN jsonb_build_object(
        'account', to_jsonb(a), 'instrument', to_jsonb(i), 'tenant_status', tenancy_status(), 'market_at', v_at,
        'halted', risk_halted(p_account, p_book, p_algo, a.mode),
        'last_price', l.price, 'price_age_s', extract(epoch FROM v_at - l.market_at)::bigint,
        'session_day', s.day, 'session_open', s.is_open, 'session_segment', s.segment, 'session_closes_at', s.day_closes_at,
        'band_lower', z.lower, 'band_upper', z.upper, 'venue_halted', coalesce(z.halted, false),
        'open_orders', w.orders, 'open_buy', w.buy, 'open_sell', w.sell,
        'book_open_buy', w.book_buy, 'book_open_sell', w.book_sell,
        'highest_buy', w.highest_buy, 'lowest_sell', w.lowest_sell,
        'book_quantity', b.in_book, 'position_quantity', b.in_account,
        'available', v.cash - v.held - v.at_loss, 'gross', v.gross, 'equity', v.equity,
        'pending', v.reserved + CASE WHEN v_limits ? 'max_leverage' THEN orders_on_margin(p_account) ELSE 0 END,
        'opening_equity', d.opening, 'high_equity', d.high, 'peak_equity', d.peak, 'flows', v.flows,
        'restated', coalesce(d.restated, false), 'limits', v_limits::text,
        'segment', CASE WHEN p_product = 'intraday' OR v_limits ? 'permissions' THEN instrument_segment(p_instrument) END,
        'rates', CASE WHEN v_limits ?| ARRAY['order_rate', 'order_to_trade'] THEN orders_rates(p_account) END,
        'recent', CASE WHEN v_limits ? 'duplicate_order' THEN orders_recent(p_account, p_instrument) END,
        'client', CASE WHEN a.client_id IS NOT NULL AND v_limits @? 'strict $.*[*] ? (@[0] == "client")'
                       THEN orders_client(a.client_id, a.mode, a.currency, p_instrument, s.day) END);
END $$;

-- By how much the intraday orders of an account that work could add more to its positions than they hold, in minor units:
-- at their limit or trigger, else at the last price of their instrument.
CREATE OR REPLACE FUNCTION orders_on_margin(p_account uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(greatest(0, round((o.quantity - o.filled_quantity)::numeric
                                    * coalesce(o.limit_price, o.trigger_price, l.price, 0)
                                    / 10::numeric ^ (i.price_exp + i.qty_exp - 2))
                                 - orders_hold_left(o.hold_minor, o.quantity, o.filled_quantity))), 0)::bigint
    FROM orders o CROSS JOIN LATERAL instrument_scale(o.instrument_id) i
    LEFT JOIN LATERAL market_last_price(o.feed, o.instrument_id) l ON true
    WHERE o.tenant_id = current_setting('app.tenant_id')::uuid AND o.account_id = p_account AND o.counted
      AND o.product = 'intraday' AND o.hold_minor > 0
      AND o.status IN ('accepted', 'submitting', 'unknown', 'open', 'partially_filled')
$$;

-- The first id that can have been made at p_at: ids of version 7 sort by when they were made.
CREATE OR REPLACE FUNCTION orders_first_id(p_at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM p_at) * 1000)::bigint), 12, '0') || '70008000000000000000')::uuid
$$;

-- How many orders of an account passed the rules in the last second and, with its fills, since 00:00 UTC: no market that
-- we trade is open then.
CREATE OR REPLACE FUNCTION orders_rates(p_account uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'orders_this_second', count(*) FILTER (WHERE o.id >= orders_first_id(clock_timestamp() - interval '1 second')),
        'orders_today', count(*),
        'fills_today', (SELECT count(*) FROM fills f
                        WHERE f.tenant_id = current_setting('app.tenant_id')::uuid AND f.account_id = p_account
                          AND f.id >= orders_first_id(date_trunc('day', clock_timestamp(), 'UTC'))))
    FROM orders o
    WHERE o.tenant_id = current_setting('app.tenant_id')::uuid AND o.account_id = p_account AND o.status <> 'denied'
      AND o.leg IS DISTINCT FROM 'whole'
      AND o.id >= orders_first_id(date_trunc('day', clock_timestamp(), 'UTC'))
$$;

-- What an account's orders of the last five minutes asked for in an instrument: side, quantity, limit price, age in
-- seconds. Only those that passed the rules.
CREATE OR REPLACE FUNCTION orders_recent(p_account uuid, p_instrument uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_array(o.side, o.quantity, o.limit_price,
                              ceil(extract(epoch FROM clock_timestamp() - o.created_at))::bigint)), '[]')
    FROM orders o
    WHERE o.tenant_id = current_setting('app.tenant_id')::uuid AND o.account_id = p_account AND o.status <> 'denied'
      AND o.instrument_id = p_instrument AND o.id >= orders_first_id(clock_timestamp() - interval '5 minutes')
$$;

-- Writes a decided order with its risk decision; an accepted one with its hold and its row of work, or with what it
-- waits for: p_order->'waiting', a row of waiting_orders without what the order itself says. p_session_day is
-- the trading day to open, if that was not done before, or whose equity is higher than ever or was restated. Answers when
-- it was written. Null: the account changed since
-- p_version was read. p_claim: what `idempotency_record` remembers, if the request sent a key.
DROP FUNCTION IF EXISTS orders_write(uuid, bigint, jsonb, jsonb, date, bigint, bigint, jsonb, uuid, text, text, uuid, uuid,
                                     uuid, jsonb);
CREATE OR REPLACE FUNCTION orders_write(p_tenant uuid, p_version bigint, p_order jsonb, p_findings jsonb,
                                        p_session_day date, p_equity bigint, p_peak bigint, p_flows bigint, p_event jsonb,
                                        p_key uuid, p_source_ip text, p_request_id text, p_user uuid, p_home uuid, p_grant uuid,
                                        p_claim jsonb)
RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE o orders := jsonb_populate_record(NULL::orders, p_order);
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    IF jsonb_typeof(p_order->'client') = 'object' AND NOT orders_take_client(p_order->'client', o.account_id) THEN
        RETURN NULL;
    ELSIF accounts_advance(o.account_id, p_version) IS NULL THEN
        RETURN NULL;
    END IF;
    o.tenant_id := p_tenant;
    o.created_at := clock_timestamp();
    o.updated_at := o.created_at;
    INSERT INTO orders SELECT o.*;
    IF p_claim IS NOT NULL THEN
        PERFORM idempotency_record(p_claim, 201, o.id);
    END IF;
    PERFORM risk_record(o.id, o.account_id, CASE o.status WHEN 'denied' THEN 'denied' ELSE 'approved' END, p_findings);
    IF p_session_day IS NOT NULL THEN
        PERFORM risk_note_equity(o.account_id, p_session_day, p_equity, p_peak, p_flows);
    END IF;
    IF o.status = 'accepted' AND o.product = 'intraday' THEN
        PERFORM orders_await_cut_off(o.feed, o.instrument_id, o.market_at);
    END IF;
    IF o.status = 'accepted' AND o.leg IS DISTINCT FROM 'whole' THEN
        IF o.hold_minor > 0 THEN
            PERFORM ledger_hold(o.id, o.account_id, o.hold_minor);
        END IF;
        IF jsonb_typeof(p_order->'waiting') = 'object' THEN
            PERFORM orders_wait(o, p_order->'waiting');
        ELSE
            PERFORM work_append('execution', 'order.submit', o.account_id,
                                jsonb_build_object('order_id', o.id, 'feed', o.feed), 1);
        END IF;
    END IF;
    PERFORM events_append('order.' || o.status, o.id, o.account_id, p_event, p_key, p_source_ip, p_request_id,
                          p_user, p_home, p_grant);
    RETURN o.created_at;
END $$;

-- What works of a book's orders that were decided before p_before, with what they hold, and whether the fate of one is
-- unknown. A decision that is repeated for its bar must see the book as it was the first time.
CREATE OR REPLACE FUNCTION orders_working(p_account uuid, p_book uuid, p_before timestamptz)
RETURNS TABLE (instrument_id uuid, side text, remaining bigint, unknown boolean) LANGUAGE sql STABLE AS $$
    SELECT o.instrument_id, o.side, sum(CASE WHEN o.counted THEN o.quantity - o.filled_quantity ELSE 0 END)::bigint,
           bool_or(o.status = 'unknown')
    FROM orders o
    WHERE o.tenant_id = current_setting('app.tenant_id')::uuid AND o.account_id = p_account
      AND coalesce(o.deployment_id, o.account_id) = p_book AND (o.market_at IS NULL OR o.market_at < p_before)
      AND o.status IN ('accepted', 'submitting', 'unknown', 'open', 'partially_filled')
    GROUP BY o.instrument_id, o.side
$$;

-- What a book's working orders decided at p_at or later hold.
CREATE OR REPLACE FUNCTION orders_held_since(p_account uuid, p_book uuid, p_at timestamptz) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(o.hold_minor), 0)::bigint FROM orders o
    WHERE o.tenant_id = current_setting('app.tenant_id')::uuid AND o.account_id = p_account AND o.counted
      AND coalesce(o.deployment_id, o.account_id) = p_book AND o.market_at >= p_at
      AND o.status IN ('accepted', 'submitting', 'unknown', 'open', 'partially_filled')
$$;

-- An order's life begins decided, and the rules' approval is what lets it be sent: no role can go round them. Taking an
-- order back that was never sent needs none. When that is asked is said here and not in the trigger: it would be read and
-- planned anew with every statement.
CREATE OR REPLACE FUNCTION orders_require_decision() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_asked boolean;
BEGIN
    IF TG_OP = 'INSERT' THEN
        v_asked := NEW.status NOT IN ('accepted', 'denied');
    ELSE
        v_asked := (OLD.status = 'accepted' AND NEW.status NOT IN ('accepted', 'cancelled'))
            OR (OLD.status = 'denied' AND NEW.status <> 'denied')
            OR (OLD.status IN ('cancelled', 'rejected', 'expired') AND NEW.status <> OLD.status);
    END IF;
    IF v_asked AND NOT risk_approved(NEW.tenant_id, NEW.id, NEW.account_id) THEN
        RAISE EXCEPTION 'order % has no approval of the risk rules and cannot become %', NEW.id, NEW.status
            USING ERRCODE = 'MR001';
    END IF;
    RETURN NEW;
END $$;

DROP TRIGGER IF EXISTS orders_begin_decided ON orders;
CREATE OR REPLACE TRIGGER orders_decided BEFORE INSERT OR UPDATE OF status ON orders FOR EACH ROW
    EXECUTE FUNCTION orders_require_decision();
