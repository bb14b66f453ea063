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

-- Asks for every position of the account's books to be closed, or those in the instrument that is named. The caller has
-- set the tenant.
CREATE OR REPLACE FUNCTION orders_exit_all(p_account uuid, p_instrument uuid, p_request text)
RETURNS TABLE (book_id uuid, instrument_id uuid) LANGUAGE sql AS $$
    WITH held AS (
        SELECT h.book_id, h.instrument_id, h.product FROM portfolio_held(p_account) h
        WHERE p_instrument IS NULL OR h.instrument_id = p_instrument
    ), written AS (
        SELECT h.book_id, h.instrument_id, work_append('execution', 'position.exit', p_account, jsonb_build_object(
            'account_id', p_account, 'book_id', h.book_id, 'instrument_id', h.instrument_id, 'product', h.product,
            'request', p_request), 0)
        FROM held h
    )
    SELECT w.book_id, w.instrument_id FROM written w
$$;

-- What an exit of one position needs: what its book holds for p_product, what is being traded of it already, and whether an
-- order of it may still be taken back before (one whose fate is unknown may not: an exit does not wait for it).
DROP FUNCTION IF EXISTS orders_exit_context(uuid, uuid, uuid);
CREATE OR REPLACE FUNCTION orders_exit_context(p_account uuid, p_book uuid, p_instrument uuid, p_product text)
RETURNS TABLE (quantity bigint, selling bigint, buying bigint, waiting boolean) LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT b.quantity FROM portfolio_book(p_account, p_book) b
                     WHERE b.instrument_id = p_instrument AND b.product = p_product), 0),
           coalesce(sum(o.quantity - o.filled_quantity) FILTER (WHERE o.side = 'sell'), 0)::bigint,
           coalesce(sum(o.quantity - o.filled_quantity) FILTER (WHERE o.side = 'buy'), 0)::bigint,
           coalesce(bool_or(o.status <> 'unknown'), false)
    FROM orders o
    WHERE o.tenant_id = current_setting('app.tenant_id')::uuid AND o.account_id = p_account
      AND coalesce(o.deployment_id, o.account_id) = p_book AND o.instrument_id = p_instrument AND o.counted
      AND o.product = p_product AND o.status IN ('accepted', 'submitting', 'unknown', 'open', 'partially_filled')
$$;
