-- Everything the decision on an order needs, in one round trip. The account's version is read first: any order or fill
-- that commits later makes orders_write refuse. p_claim: the id of the request's Idempotency-Key, if it sent one.
CREATE OR REPLACE FUNCTION orders_context(p_tenant uuid, p_account uuid, p_book uuid, p_instrument uuid,
                                          p_client_order_id text, p_claim uuid)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    a record; i record; l record; s record; w record; b record;
    v_known jsonb;
    v_at timestamptz;
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
    SELECT * INTO s FROM market_session_at(p_instrument, v_at);
    SELECT count(*) AS orders,
           coalesce(sum(o.quantity - o.filled_quantity) FILTER (WHERE o.instrument_id = p_instrument AND o.side = 'buy'), 0) AS buy,
           coalesce(sum(o.quantity - o.filled_quantity) FILTER (WHERE o.instrument_id = p_instrument AND o.side = 'sell'), 0) AS sell,
           coalesce(sum(o.quantity - o.filled_quantity) FILTER (WHERE o.instrument_id = p_instrument AND o.side = 'sell'
                        AND coalesce(o.deployment_id, o.account_id) = p_book), 0) AS book_sell
    INTO w FROM orders o
    WHERE o.tenant_id = p_tenant AND o.account_id = p_account AND o.status IN
          ('accepted', 'submitting', 'unknown', 'open', 'partially_filled');
    SELECT * INTO b FROM portfolio_book(p_account, p_book) p WHERE p.instrument_id = p_instrument;
    RETURN jsonb_build_object(
        'account', to_jsonb(a), 'instrument', to_jsonb(i), 'tenant_status', tenancy_status(), 'market_at', v_at,
        'last_price', l.price, 'session_day', s.day,
        'open_orders', w.orders, 'open_buy', w.buy, 'open_sell', w.sell, 'book_open_sell', w.book_sell,
        'book_quantity', coalesce(b.quantity, 0), 'position_quantity', portfolio_quantity(p_account, p_instrument),
        'available', ledger_available(p_account), 'equity', portfolio_equity(p_account),
        'opening_equity', risk_opening_equity(p_account, s.day), 'limits', risk_limits_for(p_account));
END $$;

-- Writes a decided order with its risk decision; an accepted one with its hold and its row of work. p_session_day is
-- the trading day to open, if that was not done before. Answers when it was written. Null: the account changed since
-- p_version was read. p_claim: what `idempotency_record` remembers, if the request sent a key.
CREATE OR REPLACE FUNCTION orders_write(p_tenant uuid, p_version bigint, p_order jsonb, p_findings jsonb,
                                        p_session_day date, p_equity bigint, p_event jsonb, p_key uuid,
                                        p_source_ip text, p_request_id text, p_user uuid, p_home uuid, p_grant uuid,
                                        p_claim jsonb)
RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE o orders := jsonb_populate_record(NULL::orders, p_order);
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    IF accounts_advance(o.account_id, p_version) IS NULL THEN
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
        PERFORM risk_open_day(o.account_id, p_session_day, p_equity);
    END IF;
    IF o.status = 'accepted' THEN
        IF o.hold_minor > 0 THEN
            PERFORM ledger_hold(o.id, o.account_id, o.hold_minor);
        END IF;
        PERFORM work_append('execution', 'order.submit', o.account_id, jsonb_build_object('order_id', o.id), 1);
    END IF;
    PERFORM events_append('order.' || o.status, o.id, o.account_id, p_event, p_key, p_source_ip, p_request_id,
                          p_user, p_home, p_grant);
    RETURN o.created_at;
END $$;

-- What works of a book's orders that were decided before p_before, with what they hold, and whether the fate of one is
-- unknown. A decision that is repeated for its bar must see the book as it was the first time.
CREATE OR REPLACE FUNCTION orders_working(p_account uuid, p_book uuid, p_before timestamptz)
RETURNS TABLE (instrument_id uuid, side text, remaining bigint, unknown boolean) LANGUAGE sql STABLE AS $$
    SELECT o.instrument_id, o.side, sum(o.quantity - o.filled_quantity)::bigint, bool_or(o.status = 'unknown')
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
    WHERE o.tenant_id = current_setting('app.tenant_id')::uuid AND o.account_id = p_account
      AND coalesce(o.deployment_id, o.account_id) = p_book AND o.market_at >= p_at
      AND o.status IN ('accepted', 'submitting', 'unknown', 'open', 'partially_filled')
$$;
