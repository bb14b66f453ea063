-- Jobs of the calendar: rows of `calendar_jobs`, kept as the role `mandi_dispatch`. What a job does is rows of work, so a
-- job that is done again finds them there, or finds that there is nothing left to do.

-- Makes the jobs of p_feed from p_from to p_to what p_jobs says: those that are pending move with their sessions, or go
-- with them. What is done stays.
CREATE OR REPLACE FUNCTION orders_keep_jobs(p_feed text, p_from date, p_to date, p_jobs jsonb) RETURNS void
LANGUAGE sql AS $$
    WITH planned AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(p_jobs) AS j (venue text, segment text, kind text, day date, turn int,
                                                       due_at timestamptz, until_at timestamptz)
    ), gone AS (
        DELETE FROM calendar_jobs c
        WHERE c.feed = p_feed AND c.state = 'pending' AND c.day BETWEEN p_from AND p_to AND NOT EXISTS (
            SELECT 1 FROM planned p
            WHERE (p.venue, p.segment, p.kind, p.day, p.turn) = (c.venue, c.segment, c.kind, c.day, c.turn))
    )
    INSERT INTO calendar_jobs AS c (feed, venue, segment, kind, day, turn, due_at, until_at, state, attempts)
    SELECT p_feed, p.venue, p.segment, p.kind, p.day, p.turn, p.due_at, p.until_at, 'pending', 0 FROM planned p
    ON CONFLICT (feed, venue, segment, kind, day, turn) DO UPDATE
        SET due_at = excluded.due_at, until_at = excluded.until_at
        WHERE c.state = 'pending' AND (c.due_at, c.until_at) <> (excluded.due_at, excluded.until_at)
$$;

-- Takes the feed's next job that is due at p_clock, for p_lease: each scope's in order, unless one has failed thrice and
-- holds up the others. The attempt is counted before it is made.
CREATE OR REPLACE FUNCTION orders_claim_job(p_feed text, p_clock timestamptz, p_lease interval)
RETURNS SETOF calendar_jobs LANGUAGE sql AS $$
    UPDATE calendar_jobs c SET attempts = c.attempts + 1, claimed_until = clock_timestamp() + p_lease
    FROM (
        SELECT d.* FROM calendar_jobs d
        WHERE d.feed = p_feed AND d.state = 'pending' AND d.due_at <= p_clock
          AND coalesce(d.claimed_until, '-infinity') <= clock_timestamp() AND NOT EXISTS (
            SELECT 1 FROM calendar_jobs e
            WHERE e.feed = d.feed AND e.venue = d.venue AND e.segment = d.segment AND e.state = 'pending'
              AND e.attempts < 3 AND (e.due_at, e.kind, e.turn) < (d.due_at, d.kind, d.turn))
        ORDER BY d.due_at, d.kind, d.venue, d.segment, d.turn LIMIT 1 FOR UPDATE SKIP LOCKED
    ) due
    WHERE (c.feed, c.venue, c.segment, c.kind, c.day, c.turn)
          = (due.feed, due.venue, due.segment, due.kind, due.day, due.turn)
    RETURNING c.*
$$;

-- The job that was claimed is done, or (p_error) has failed and is tried again after p_again.
CREATE OR REPLACE FUNCTION orders_finish_job(p_feed text, p_venue text, p_segment text, p_kind text, p_day date, p_turn int,
                                             p_error text, p_again interval) RETURNS void LANGUAGE sql AS $$
    UPDATE calendar_jobs SET state = CASE WHEN p_error IS NULL THEN 'done' ELSE state END,
        done_at = CASE WHEN p_error IS NULL THEN clock_timestamp() END,
        claimed_until = clock_timestamp() + p_again, last_error = p_error
    WHERE (feed, venue, segment, kind, day, turn) = (p_feed, p_venue, p_segment, p_kind, p_day, p_turn)
      AND state = 'pending'
$$;

-- An intraday order was accepted at p_at: from now on a replay waits for the cut-off of its session. Jobs are nobody's own:
-- that somebody has something to close is all that one says of tenants.
CREATE OR REPLACE FUNCTION orders_await_cut_off(p_feed text, p_instrument uuid, p_at timestamptz) RETURNS void
LANGUAGE sql AS $$
    UPDATE calendar_jobs c SET wanted = true FROM market_session_at(p_instrument, p_at) s
    WHERE c.feed = p_feed AND c.kind = 'square_off' AND c.state = 'pending' AND NOT c.wanted
      AND (c.venue, c.segment, c.day) = (s.venue, s.segment, s.day)
$$;

-- Whether the session that an order was placed for is over: those that are good till cancelled or triggered have none.
-- False past the calendar's end.
CREATE OR REPLACE FUNCTION orders_session_over(p_tenant uuid, p_order uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    RETURN coalesce((
        SELECT o.validity IN ('day', 'ioc', 'ttl') AND market_clock(o.feed) >= s.day_closes_at
        FROM orders o CROSS JOIN LATERAL market_session_at(o.instrument_id, o.market_at) s
        WHERE o.tenant_id = p_tenant AND o.id = p_order), false);
END $$;

-- The session of p_day ended at p_until: asks of each order that was for it, and of each that works in a contract whose
-- last day it was, whether it has ended, a row of work each. The paper venue's orders for the day end with their tape.
CREATE OR REPLACE FUNCTION orders_expire_session(p_tenant uuid, p_feed text, p_venue text, p_segment text, p_day date,
                                                 p_until timestamptz)
RETURNS int LANGUAGE plpgsql AS $$
DECLARE v_count int;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    WITH ended AS (
        SELECT o.id FROM orders o
        WHERE o.tenant_id = p_tenant AND o.feed = p_feed
          AND o.status IN ('accepted', 'submitting', 'unknown', 'open', 'partially_filled')
          AND (o.validity IN ('day', 'ioc', 'ttl') AND o.broker <> 'paper' AND o.market_at < p_until
               OR instrument_last_day(o.instrument_id) <= p_day)
          AND instrument_in_session(o.instrument_id, p_venue, p_segment, p_until)
          AND NOT EXISTS (SELECT 1 FROM work_items w
                          WHERE w.tenant_id = p_tenant AND w.queue = 'execution' AND w.lane = o.id AND w.state = 'ready'
                            AND w.kind = 'order.expire')
    )
    SELECT count(work_append('execution', 'order.expire', e.id, jsonb_build_object('order_id', e.id), 1)) INTO v_count
    FROM ended e;
    RETURN v_count;
END $$;

-- What each book of the feed's accounts held of each instrument for intraday at p_until, as far as it is there still: later
-- fills may have closed it. Of a month: what is older was not closed by a hundred jobs.
CREATE OR REPLACE FUNCTION orders_intraday(p_feed text, p_account uuid, p_until timestamptz)
RETURNS TABLE (account_id uuid, book_id uuid, instrument_id uuid, quantity bigint) LANGUAGE sql STABLE AS $$
    SELECT n.account_id, n.book_id, n.instrument_id,
           CASE WHEN n.net_then > 0 THEN greatest(0, least(n.net_then, p.quantity))
                ELSE least(0, greatest(n.net_then, p.quantity)) END
    FROM (
        SELECT o.account_id, coalesce(o.deployment_id, o.account_id) AS book_id, o.instrument_id,
               sum(CASE f.side WHEN 'buy' THEN f.quantity ELSE -f.quantity END)::bigint AS net_then
        FROM orders o JOIN fills f ON f.tenant_id = o.tenant_id AND f.order_id = o.id
        WHERE o.tenant_id = current_setting('app.tenant_id')::uuid AND o.product = 'intraday'
          AND (p_account IS NULL OR o.account_id = p_account) AND o.feed = p_feed AND f.occurred_at <= p_until
          AND o.market_at > p_until - interval '1 month'
        GROUP BY 1, 2, 3
    ) n CROSS JOIN LATERAL portfolio_position(n.account_id, n.book_id, n.instrument_id, 'intraday') p
    WHERE n.net_then <> 0 AND p.quantity <> 0
$$;

-- The cut-off of a session: takes back intraday orders that work, but for those that close, and asks for each intraday
-- position to be closed, and for what such an order may still open before it is taken back. p_job names the job: what
-- it asked for before is not asked for again.
CREATE OR REPLACE FUNCTION orders_square_off(p_tenant uuid, p_feed text, p_venue text, p_segment text,
                                             p_until timestamptz, p_job text)
RETURNS int LANGUAGE plpgsql AS $$
DECLARE v_working uuid[]; v_orders int; v_positions int;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    SELECT array_agg(o.id) INTO v_working FROM orders o
    WHERE o.tenant_id = p_tenant AND o.feed = p_feed AND o.product = 'intraday' AND o.market_at < p_until
      AND o.status IN ('accepted', 'submitting', 'unknown', 'open', 'partially_filled')
      AND o.intent_reason IS DISTINCT FROM 'square_off'
      AND instrument_in_session(o.instrument_id, p_venue, p_segment, p_until);
    SELECT count(work_append('execution', 'order.cancel', o.account_id, jsonb_build_object('order_id', o.id), 0))
    INTO v_orders FROM orders o
    WHERE o.tenant_id = p_tenant AND o.id = ANY (v_working)
      AND NOT EXISTS (SELECT 1 FROM work_items w
                      WHERE w.tenant_id = p_tenant AND w.queue = 'execution' AND w.lane = o.account_id
                        AND w.state = 'ready' AND w.kind = 'order.cancel' AND w.payload->>'order_id' = o.id::text);
    WITH meant AS (
        SELECT h.account_id, h.book_id, h.instrument_id FROM orders_intraday(p_feed, NULL, p_until) h
        WHERE h.quantity <> 0 AND instrument_in_session(h.instrument_id, p_venue, p_segment, p_until)
        UNION
        SELECT o.account_id, coalesce(o.deployment_id, o.account_id), o.instrument_id FROM orders o
        WHERE o.tenant_id = p_tenant AND o.id = ANY (v_working)
    ), asked AS (
        SELECT m.*, md5(p_job || m.book_id) AS request FROM meant m
    )
    SELECT count(work_append('execution', 'position.exit', a.account_id, jsonb_build_object('account_id', a.account_id,
        'book_id', a.book_id, 'instrument_id', a.instrument_id, 'request', a.request, 'feed', p_feed,
        'until', p_until), 0))
    INTO v_positions FROM asked a
    WHERE NOT EXISTS (SELECT 1 FROM work_items w
                      WHERE w.tenant_id = p_tenant AND w.queue = 'execution' AND w.lane = a.account_id
                        AND w.kind = 'position.exit' AND w.payload->>'request' = a.request
                        AND w.payload->>'instrument_id' = a.instrument_id::text);
    RETURN v_orders + v_positions;
END $$;

-- As `orders_exit_context`, of an intraday position alone: what the book holds besides is not closed.
DROP FUNCTION IF EXISTS orders_square_off_context(uuid, uuid, uuid, text, timestamptz);
CREATE OR REPLACE FUNCTION orders_square_off_context(p_account uuid, p_book uuid, p_instrument uuid, p_feed text,
                                                     p_until timestamptz, p_item uuid)
RETURNS TABLE (quantity bigint, selling bigint, buying bigint, waiting boolean, closing bigint, leaving boolean,
               unasked boolean) LANGUAGE sql STABLE AS $$
    SELECT h.quantity, b.selling, b.buying, b.waiting,
           CASE WHEN h.quantity > 0 THEN b.stays_selling ELSE b.stays_buying END, b.leaving, b.unasked
    FROM orders_beside_exit(p_account, p_book, p_instrument, 'intraday', p_item) b
    CROSS JOIN LATERAL (
        SELECT coalesce((SELECT k.quantity FROM orders_intraday(p_feed, p_account, p_until) k
                         WHERE k.book_id = p_book AND k.instrument_id = p_instrument), 0) AS quantity) h
$$;

-- A session opens: sends the orders that wait for it. One that was sent waits no more.
CREATE OR REPLACE FUNCTION orders_open_session(p_tenant uuid, p_feed text, p_venue text, p_segment text,
                                               p_until timestamptz)
RETURNS int LANGUAGE plpgsql AS $$
DECLARE v_count int;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    SELECT count(*) FILTER (WHERE orders_release(p_tenant, w.id)) INTO v_count FROM (
        SELECT o.id FROM waiting_orders k JOIN orders o ON o.tenant_id = k.tenant_id AND o.id = k.id
        WHERE k.tenant_id = p_tenant AND k.feed = p_feed AND k.waits_for = 'open'
          AND o.market_at < p_until  -- of a later session, should this one be opened late
          AND instrument_in_session(o.instrument_id, p_venue, p_segment, p_until)
        ORDER BY o.id) w;
    RETURN v_count;
END $$;
