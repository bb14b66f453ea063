-- Notes that fills settle with their day's others; of each: `account`, `instrument`, its `cash` before `charges`, its
-- `signed` quantity, and when (`at`). In the fills' own transaction; the caller has set the tenant and locked the accounts.
DROP FUNCTION IF EXISTS portfolio_owe(uuid, uuid, bigint, bigint, bigint, timestamptz);
CREATE OR REPLACE FUNCTION portfolio_owe(p_fills jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_tenant uuid := current_setting('app.tenant_id')::uuid;
    f jsonb;
    v_account uuid;
    v_instrument uuid;
    v_at timestamptz;
    v_day date;
    v_net bigint;
BEGIN
    FOR n IN 0 .. jsonb_array_length(p_fills) - 1 LOOP
        f := p_fills->n;
        v_account := f->>'account';
        v_net := (f->>'cash')::bigint - (f->>'charges')::bigint;
        IF (v_instrument, v_at) IS DISTINCT FROM ((f->>'instrument')::uuid, (f->>'at')::timestamptz) THEN
            v_instrument := f->>'instrument';
            v_at := f->>'at';
            v_day := market_trade_day(v_instrument, v_at);
        END IF;
        UPDATE settlements s SET receivable_minor = s.receivable_minor + greatest(v_net, 0),
            payable_minor = s.payable_minor + greatest(-v_net, 0), cash_minor = s.cash_minor + (f->>'cash')::bigint,
            quantity = s.quantity + (f->>'signed')::bigint
        WHERE s.tenant_id = v_tenant AND s.account_id = v_account AND s.instrument_id = v_instrument
          AND s.trade_day = v_day AND s.state = 'pending';
        IF NOT FOUND THEN
            INSERT INTO settlements (tenant_id, id, account_id, instrument_id, feed, trade_day, due_at, receivable_minor,
                                     payable_minor, cash_minor, quantity, state)
            SELECT v_tenant, uuidv7(), a.id, v_instrument, a.feed, v_day,
                   coalesce(market_settles_at(v_instrument, v_day), v_at + interval '1 day'), greatest(v_net, 0),
                   greatest(-v_net, 0), (f->>'cash')::bigint, (f->>'signed')::bigint, 'pending'
            FROM accounts_for_order(v_account) a;
        END IF;
    END LOOP;
END $$;

-- Accounts of all tenants with something due on their feed's clock (dispatch).
CREATE OR REPLACE FUNCTION portfolio_due_settlements(p_limit int)
RETURNS TABLE (tenant_id uuid, account_id uuid, market_at timestamptz) LANGUAGE sql STABLE AS $$
    SELECT s.tenant_id, s.account_id, f.clock
    FROM (SELECT w.feed, market_clock(w.feed) AS clock
          FROM (SELECT DISTINCT p.feed FROM settlements p WHERE p.state = 'pending') w) f
    JOIN settlements s ON s.state = 'pending' AND s.feed = f.feed AND s.due_at <= f.clock
    GROUP BY s.tenant_id, s.account_id, f.clock ORDER BY min(s.due_at) LIMIT p_limit
$$;

-- Settles what of an account is due at p_at, receipts first, and answers how many rows were looked at. The calendar is
-- read again: a holiday that was declared meanwhile moves the day; where the calendar ends, the row waits for more of it.
CREATE OR REPLACE FUNCTION portfolio_settle(p_tenant uuid, p_account uuid, p_at timestamptz) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE s settlements; v_due timestamptz; v_seen int := 0;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    PERFORM accounts_lock(p_account);
    FOR s IN SELECT * FROM settlements x
             WHERE x.tenant_id = p_tenant AND x.account_id = p_account AND x.state = 'pending' AND x.due_at <= p_at
             ORDER BY x.due_at, x.receivable_minor - x.payable_minor DESC, x.id FOR NO KEY UPDATE LOOP
        v_seen := v_seen + 1;
        v_due := coalesce(market_settles_at(s.instrument_id, s.trade_day), p_at + interval '1 day');
        IF v_due > p_at THEN
            UPDATE settlements SET due_at = v_due WHERE tenant_id = p_tenant AND id = s.id;
            CONTINUE;
        END IF;
        IF s.receivable_minor > 0 OR s.payable_minor > 0 OR s.cash_minor <> 0 OR s.quantity <> 0 THEN
            PERFORM ledger_settle_trades(s.id, p_account, s.receivable_minor, s.payable_minor, s.cash_minor,
                s.instrument_id, s.quantity, v_due, jsonb_build_object('trade_day', s.trade_day));
        END IF;
        UPDATE settlements SET state = 'settled', due_at = v_due, settled_at = clock_timestamp()
        WHERE tenant_id = p_tenant AND id = s.id;
    END LOOP;
    RETURN v_seen;
END $$;

-- After a split: what waits for settlement is restated, each day's towards zero; the settled securities become the rest
-- of what the account holds. Before the positions are restated, `accounts_lock` was taken.
CREATE OR REPLACE FUNCTION portfolio_restate(p_action uuid, p_account uuid, p_instrument uuid, p_numerator bigint,
                                             p_denominator bigint, p_at timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE v_tenant uuid := current_setting('app.tenant_id')::uuid; v_waiting bigint;
BEGIN
    UPDATE settlements SET quantity = trunc(quantity::numeric * p_numerator / p_denominator)::bigint
    WHERE tenant_id = v_tenant AND account_id = p_account AND instrument_id = p_instrument AND state = 'pending';
    SELECT coalesce(sum(s.quantity), 0) INTO v_waiting FROM settlements s
    WHERE s.tenant_id = v_tenant AND s.account_id = p_account AND s.instrument_id = p_instrument
      AND s.state = 'pending';
    PERFORM ledger_restate_securities('split:' || p_action || ':' || p_account || ':securities', p_account, p_instrument,
        portfolio_quantity(p_account, p_instrument) - v_waiting, p_at, jsonb_build_object('action_id', p_action));
END $$;

-- Units by instrument that were traded before p_to and had not settled by then, with the statement of the same snapshot.
CREATE OR REPLACE FUNCTION portfolio_statement(p_account uuid, p_from timestamptz, p_to timestamptz, p_last_day date,
                                               p_limit int)
RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT ledger_statement_between(p_account, p_from, p_to, p_limit) || jsonb_build_object('waiting', (
        SELECT coalesce(jsonb_object_agg(w.instrument_id, w.quantity), '{}')
        FROM (SELECT s.instrument_id, sum(s.quantity)::bigint AS quantity FROM settlements s
              WHERE s.tenant_id = current_setting('app.tenant_id')::uuid AND s.account_id = p_account
                AND s.trade_day <= p_last_day AND (s.state = 'pending' OR s.due_at >= p_to)
              GROUP BY s.instrument_id HAVING sum(s.quantity) <> 0) w))
$$;
