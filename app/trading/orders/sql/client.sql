-- What limits of a client count: over all of its accounts of the mode and currency. `version` is read first: an order or
-- a fill of any of them that commits later makes orders_write refuse. An account that has not decided on p_day began it
-- with what it is worth now.
CREATE OR REPLACE FUNCTION orders_client(p_client uuid, p_mode text, p_currency text, p_instrument uuid, p_day date)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE v_version bigint; v_accounts uuid[]; w record; e record;
BEGIN
    SELECT sum(c.version), array_agg(c.id) INTO v_version, v_accounts
    FROM accounts_of_client(p_client, p_mode, p_currency) c;
    SELECT count(*) AS orders,
           coalesce(sum(o.quantity - o.filled_quantity) FILTER (WHERE o.instrument_id = p_instrument AND o.side = 'buy'), 0) AS buy,
           coalesce(sum(o.quantity - o.filled_quantity) FILTER (WHERE o.instrument_id = p_instrument AND o.side = 'sell'), 0) AS sell
    INTO w FROM orders o
    WHERE o.tenant_id = current_setting('app.tenant_id')::uuid AND o.account_id = ANY (v_accounts)
      AND o.counted AND o.status IN ('accepted', 'submitting', 'unknown', 'open', 'partially_filled');
    SELECT sum(portfolio_quantity(x.id, p_instrument)) AS position, sum(v.equity) AS equity,
           sum(coalesce(d.opening, v.equity)) AS opening
    INTO e FROM unnest(v_accounts) AS x (id)
    CROSS JOIN LATERAL portfolio_valued(x.id) v CROSS JOIN LATERAL risk_day(x.id, p_day, v.equity, v.flows) d;
    RETURN jsonb_build_object(
        'id', p_client, 'mode', p_mode, 'currency', p_currency, 'day', p_day, 'version', v_version,
        'position_quantity', e.position, 'open_buy', w.buy, 'open_sell', w.sell, 'open_orders', w.orders,
        'equity', e.equity, 'opening_equity', e.opening);
END $$;

-- Takes the turn of all of a client's accounts for a decision that counted them together. False: one of them changed since.
-- What the day began with is noted of those that have not decided on it yet.
CREATE OR REPLACE FUNCTION orders_take_client(p_client jsonb, p_account uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE v_client uuid := (p_client->>'id')::uuid; v_day date := (p_client->>'day')::date;
BEGIN
    IF accounts_lock_client(v_client, p_client->>'mode', p_client->>'currency')
       IS DISTINCT FROM (p_client->>'version')::bigint THEN
        RETURN false;
    END IF;
    PERFORM risk_note_equity(s.id, v_day, v.equity, d.peak, v.flows)
    FROM accounts_of_client(v_client, p_client->>'mode', p_client->>'currency') s
    CROSS JOIN LATERAL portfolio_valued(s.id) v CROSS JOIN LATERAL risk_day(s.id, v_day, v.equity, v.flows) d
    WHERE s.id <> p_account AND v_day IS NOT NULL AND d.opening IS NULL;
    RETURN true;
END $$;
