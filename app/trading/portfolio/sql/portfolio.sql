-- What a book of an account holds. The caller has set the tenant, here and below.
CREATE OR REPLACE FUNCTION portfolio_book(p_account uuid, p_book uuid)
RETURNS TABLE (instrument_id uuid, quantity bigint, cost_minor bigint, realised_minor bigint) LANGUAGE sql STABLE AS $$
    SELECT p.instrument_id, p.quantity, p.cost_minor, p.realised_minor FROM positions p
    WHERE p.tenant_id = current_setting('app.tenant_id')::uuid AND p.account_id = p_account AND p.book_id = p_book
$$;

-- What the books of an account hold that is not flat.
CREATE OR REPLACE FUNCTION portfolio_held(p_account uuid) RETURNS TABLE (book_id uuid, instrument_id uuid, quantity bigint)
LANGUAGE sql STABLE AS $$
    SELECT p.book_id, p.instrument_id, p.quantity FROM positions p
    WHERE p.tenant_id = current_setting('app.tenant_id')::uuid AND p.account_id = p_account AND p.quantity <> 0
$$;

-- What a book, and its whole account, hold of one instrument.
CREATE OR REPLACE FUNCTION portfolio_held_of(p_account uuid, p_book uuid, p_instrument uuid)
RETURNS TABLE (in_book bigint, in_account bigint) LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(p.quantity) FILTER (WHERE p.book_id = p_book), 0)::bigint, coalesce(sum(p.quantity), 0)::bigint
    FROM positions p
    WHERE p.tenant_id = current_setting('app.tenant_id')::uuid AND p.account_id = p_account
      AND p.instrument_id = p_instrument
$$;

-- What the whole account holds of one instrument.
CREATE OR REPLACE FUNCTION portfolio_quantity(p_account uuid, p_instrument uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(p.quantity), 0)::bigint FROM positions p
    WHERE p.tenant_id = current_setting('app.tenant_id')::uuid AND p.account_id = p_account
      AND p.instrument_id = p_instrument
$$;

-- The account's cash and what of it is held, the sizes of its positions at their last prices on its feed, and its equity,
-- which is cash plus positions; in minor units, each position rounded once, half away from zero. One whose instrument shows
-- no price yet counts at cost.
DROP FUNCTION IF EXISTS portfolio_equity(uuid);
DROP FUNCTION IF EXISTS portfolio_valued(uuid);
CREATE OR REPLACE FUNCTION portfolio_valued(p_account uuid)
RETURNS TABLE (cash bigint, held bigint, gross bigint, equity bigint) LANGUAGE sql STABLE AS $$
    SELECT c.posted, c.held, coalesce(v.gross, 0)::bigint, c.posted + coalesce(v.net, 0)::bigint
    FROM (SELECT 1) always
    LEFT JOIN LATERAL (SELECT * FROM ledger_cash(p_account)) c ON true
    CROSS JOIN LATERAL (
        SELECT sum(one.value) AS net, sum(abs(one.value)) AS gross
        FROM accounts_for_order(p_account) a
        JOIN positions p ON p.tenant_id = current_setting('app.tenant_id')::uuid AND p.account_id = a.id
                        AND p.quantity <> 0
        LEFT JOIN LATERAL instrument_for_order(p.instrument_id, NULL) i ON true
        LEFT JOIN LATERAL market_last_price(a.feed, p.instrument_id) l ON true
        CROSS JOIN LATERAL (
            SELECT coalesce(round(p.quantity::numeric * l.price / 10::numeric ^ (i.price_exp + i.qty_exp - 2)),
                            p.cost_minor) AS value
        ) one
    ) v
$$;

-- The equity alone.
CREATE OR REPLACE FUNCTION portfolio_equity(p_account uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT v.equity FROM portfolio_valued(p_account) v
$$;

-- Writes what the reducer made of fills, each book's position once: `account`, `book`, `instrument`, the `version` that was
-- read (null: there was none), `quantity`, `cost` and `realised`. False when a position is not the one that was read.
DROP FUNCTION IF EXISTS portfolio_write(uuid, uuid, uuid, bigint, bigint, bigint, bigint);
CREATE OR REPLACE FUNCTION portfolio_write(p_positions jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE v_tenant uuid := current_setting('app.tenant_id')::uuid; w jsonb;
BEGIN
    FOR n IN 0 .. jsonb_array_length(p_positions) - 1 LOOP
        w := p_positions->n;
        IF w->>'version' IS NULL THEN
            INSERT INTO positions (tenant_id, id, account_id, book_id, instrument_id, quantity, cost_minor, realised_minor,
                                   version)
            VALUES (v_tenant, uuidv7(), (w->>'account')::uuid, (w->>'book')::uuid, (w->>'instrument')::uuid,
                    (w->>'quantity')::bigint, (w->>'cost')::bigint, (w->>'realised')::bigint, 1)
            ON CONFLICT DO NOTHING;
        ELSE
            UPDATE positions p SET quantity = (w->>'quantity')::bigint, cost_minor = (w->>'cost')::bigint,
                realised_minor = (w->>'realised')::bigint, version = p.version + 1, updated_at = now()
            WHERE p.tenant_id = v_tenant AND p.account_id = (w->>'account')::uuid AND p.book_id = (w->>'book')::uuid
              AND p.instrument_id = (w->>'instrument')::uuid AND p.version = (w->>'version')::bigint;
        END IF;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END $$;

-- One position with its version, for the reducer.
CREATE OR REPLACE FUNCTION portfolio_position(p_account uuid, p_book uuid, p_instrument uuid)
RETURNS TABLE (quantity bigint, cost_minor bigint, realised_minor bigint, version bigint) LANGUAGE sql STABLE AS $$
    SELECT p.quantity, p.cost_minor, p.realised_minor, p.version FROM positions p
    WHERE p.tenant_id = current_setting('app.tenant_id')::uuid AND p.account_id = p_account AND p.book_id = p_book
      AND p.instrument_id = p_instrument
$$;
