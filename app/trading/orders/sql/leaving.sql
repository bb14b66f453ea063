-- Asks for every working order to be taken back that is of the mode p_mode and (where one is named) of the account,
-- instrument and side: a row of work each, ahead of everything else in its account's lane. One that is
-- asked for already is not asked for again. Answers which. The caller has set the tenant.
CREATE OR REPLACE FUNCTION orders_cancel_all(p_mode text, p_account uuid, p_instrument uuid, p_side text)
RETURNS TABLE (order_id uuid) LANGUAGE sql AS $$
    WITH asked AS (
        SELECT o.id, o.account_id FROM orders o
        WHERE o.tenant_id = current_setting('app.tenant_id')::uuid
          AND o.status IN ('accepted', 'submitting', 'unknown', 'open', 'partially_filled')
          AND (p_mode IS NULL OR o.mode = p_mode) AND (p_account IS NULL OR o.account_id = p_account)
          AND (p_instrument IS NULL OR o.instrument_id = p_instrument)
          AND (p_side IS NULL OR o.side = p_side)
    ), written AS (
        SELECT a.id, work_append('execution', 'order.cancel', a.account_id,
                                 jsonb_build_object('order_id', a.id), 0) FROM asked a
    )
    SELECT w.id FROM written w
$$;

-- Asks for every position of the account's books to be closed, or those in the instrument that is named, and for what
-- an order that works may still open there before it is taken back. Answers what is held now. The caller has set the
-- tenant.
CREATE OR REPLACE FUNCTION orders_exit_all(p_account uuid, p_instrument uuid, p_request text)
RETURNS TABLE (book_id uuid, instrument_id uuid) LANGUAGE sql AS $$
    WITH held AS (
        SELECT h.book_id, h.instrument_id, h.product FROM portfolio_held(p_account) h
        WHERE p_instrument IS NULL OR h.instrument_id = p_instrument
    ), meant AS (
        SELECT h.book_id, h.instrument_id, h.product FROM held h
        UNION
        SELECT coalesce(o.deployment_id, o.account_id), o.instrument_id, o.product FROM orders o
        WHERE o.tenant_id = current_setting('app.tenant_id')::uuid AND o.account_id = p_account
          AND (p_instrument IS NULL OR o.instrument_id = p_instrument)
          AND o.status IN ('accepted', 'submitting', 'unknown', 'open', 'partially_filled')
    ), written AS (
        SELECT m.*, work_append('execution', 'position.exit', p_account, jsonb_build_object(
            'account_id', p_account, 'book_id', m.book_id, 'instrument_id', m.instrument_id, 'product', m.product,
            'request', p_request), 0)
        FROM meant m
    )
    SELECT w.book_id, w.instrument_id FROM written w
    WHERE (w.book_id, w.instrument_id, w.product) IN (SELECT h.book_id, h.instrument_id, h.product FROM held h)
$$;

-- The orders of an account whose cancel was asked for and is not yet done. The caller has set the tenant.
CREATE OR REPLACE FUNCTION orders_taken_back(p_account uuid) RETURNS TABLE (order_id uuid) LANGUAGE sql STABLE AS $$
    SELECT (w.payload->>'order_id')::uuid FROM work_items w
    WHERE w.tenant_id = current_setting('app.tenant_id')::uuid AND w.queue = 'execution' AND w.lane = p_account
      AND w.state = 'ready' AND w.kind = 'order.cancel'
$$;

-- What works beside an exit of one position: what is being traded, and of that what stays, by exits of ours or by orders
-- that came after p_item, the exit's row of work, was asked for: they are somebody's own; whether an order may still be
-- taken back before (one whose fate is unknown may not: an exit does not wait for it); whether one is being taken back;
-- and whether exits of an entry are not, since it was filled before its cancel. The caller has set the tenant.
DROP FUNCTION IF EXISTS orders_beside_exit(uuid, uuid, uuid, text);
CREATE OR REPLACE FUNCTION orders_beside_exit(p_account uuid, p_book uuid, p_instrument uuid, p_product text, p_item uuid)
RETURNS TABLE (selling bigint, buying bigint, stays_selling bigint, stays_buying bigint, waiting boolean,
               leaving boolean, unasked boolean) LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(w.rest) FILTER (WHERE w.counted AND w.side = 'sell'), 0)::bigint,
           coalesce(sum(w.rest) FILTER (WHERE w.counted AND w.side = 'buy'), 0)::bigint,
           coalesce(sum(w.rest) FILTER (WHERE w.counted AND w.side = 'sell' AND (w.ours OR w.later) AND NOT w.goes), 0)::bigint,
           coalesce(sum(w.rest) FILTER (WHERE w.counted AND w.side = 'buy' AND (w.ours OR w.later) AND NOT w.goes), 0)::bigint,
           coalesce(bool_or(w.counted AND w.status <> 'unknown' AND NOT w.later AND (w.goes OR NOT w.ours)), false),
           coalesce(bool_or(w.counted AND w.goes AND NOT w.later), false),
           coalesce(bool_or(w.leg IN ('target', 'stop') AND NOT w.goes AND NOT w.later), false)
    FROM (
        SELECT o.side, o.status, o.leg, o.counted, o.quantity - o.filled_quantity AS rest, x.ours,
               NOT x.ours AND coalesce(coalesce(e.created_at, o.created_at)
                                       > uuid_extract_timestamp(p_item) + interval '1 millisecond', false) AS later,
               o.id IN (SELECT t.order_id FROM orders_taken_back(p_account) t) AS goes
        FROM orders o
        CROSS JOIN LATERAL (SELECT coalesce(o.intent_reason IN ('exit_all', 'square_off'), false) AS ours) x
        LEFT JOIN orders e ON e.tenant_id = o.tenant_id AND e.id = o.parent_id
        WHERE o.tenant_id = current_setting('app.tenant_id')::uuid AND o.account_id = p_account
          AND coalesce(o.deployment_id, o.account_id) = p_book AND o.instrument_id = p_instrument
          AND o.product = p_product AND o.status IN ('accepted', 'submitting', 'unknown', 'open', 'partially_filled')
    ) w
$$;

-- What an exit of one position needs: what its book holds for p_product, and what works beside it. `closing`: what of it
-- is being given up already, by orders that stay.
DROP FUNCTION IF EXISTS orders_exit_context(uuid, uuid, uuid);
DROP FUNCTION IF EXISTS orders_exit_context(uuid, uuid, uuid, text);
CREATE OR REPLACE FUNCTION orders_exit_context(p_account uuid, p_book uuid, p_instrument uuid, p_product text, p_item uuid)
RETURNS TABLE (quantity bigint, selling bigint, buying bigint, waiting boolean, closing bigint, leaving boolean,
               unasked boolean) LANGUAGE sql STABLE AS $$
    SELECT h.quantity, b.selling, b.buying, b.waiting,
           CASE WHEN h.quantity > 0 THEN b.stays_selling ELSE b.stays_buying END, b.leaving, b.unasked
    FROM orders_beside_exit(p_account, p_book, p_instrument, p_product, p_item) b
    CROSS JOIN LATERAL (
        SELECT coalesce((SELECT k.quantity FROM portfolio_book(p_account, p_book) k
                         WHERE k.instrument_id = p_instrument AND k.product = p_product), 0) AS quantity) h
$$;
