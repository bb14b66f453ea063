-- What a book of an account holds. The caller has set the tenant, here and below.
DROP FUNCTION IF EXISTS portfolio_book(uuid, uuid);
CREATE OR REPLACE FUNCTION portfolio_book(p_account uuid, p_book uuid)
RETURNS TABLE (instrument_id uuid, product text, quantity bigint) LANGUAGE sql STABLE AS $$
    SELECT p.instrument_id, p.product, p.quantity FROM positions p
    WHERE p.tenant_id = current_setting('app.tenant_id')::uuid AND p.account_id = p_account AND p.book_id = p_book
$$;

-- What the books of an account hold that is not flat.
DROP FUNCTION IF EXISTS portfolio_held(uuid);
CREATE OR REPLACE FUNCTION portfolio_held(p_account uuid)
RETURNS TABLE (book_id uuid, instrument_id uuid, product text, quantity bigint) LANGUAGE sql STABLE AS $$
    SELECT p.book_id, p.instrument_id, p.product, p.quantity FROM positions p
    WHERE p.tenant_id = current_setting('app.tenant_id')::uuid AND p.account_id = p_account AND p.quantity <> 0
$$;

-- What a book holds of one instrument for p_product, and its whole account for all.
DROP FUNCTION IF EXISTS portfolio_held_of(uuid, uuid, uuid);
CREATE OR REPLACE FUNCTION portfolio_held_of(p_account uuid, p_book uuid, p_instrument uuid, p_product text)
RETURNS TABLE (in_book bigint, in_account bigint) LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(p.quantity) FILTER (WHERE p.book_id = p_book AND p.product = p_product), 0)::bigint,
           coalesce(sum(p.quantity), 0)::bigint
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

-- The account's cash, what of it is held and reserved (see `ledger_cash`), the sizes of its positions at their last prices
-- on its feed, its equity, which is cash plus positions, what its intraday positions stand to lose, and what came in from
-- outside and stayed; in minor units, each position rounded once, half away from zero. One whose instrument shows no price
-- yet counts at cost.
DROP FUNCTION IF EXISTS portfolio_equity(uuid);
DROP FUNCTION IF EXISTS portfolio_valued(uuid);
CREATE OR REPLACE FUNCTION portfolio_valued(p_account uuid)
RETURNS TABLE (cash bigint, held bigint, reserved bigint, gross bigint, equity bigint, at_loss bigint, flows bigint)
LANGUAGE sql STABLE AS $$
    SELECT c.posted, c.held, c.reserved, coalesce(v.gross, 0)::bigint, c.posted + coalesce(v.net, 0)::bigint,
           coalesce(v.at_loss, 0)::bigint, c.flows
    FROM (SELECT 1) always
    LEFT JOIN LATERAL (SELECT * FROM ledger_cash(p_account)) c ON true
    CROSS JOIN LATERAL (
        SELECT sum(one.value) AS net, sum(abs(one.value)) AS gross,
               sum(greatest(p.cost_minor - one.value, 0)) FILTER (WHERE p.product = 'intraday') AS at_loss
        FROM accounts_for_order(p_account) a
        JOIN positions p ON p.tenant_id = current_setting('app.tenant_id')::uuid AND p.account_id = a.id
                        AND p.quantity <> 0
        LEFT JOIN LATERAL instrument_scale(p.instrument_id) i ON true
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

-- Writes what the reducer made of fills, each book's position once: `account`, `book`, `instrument`, `product`, the `version`
-- that was read (null: there was none), `quantity`, `cost`, `realised` and `margin`. False when a position is not the one that
-- was read.
DROP FUNCTION IF EXISTS portfolio_write(uuid, uuid, uuid, bigint, bigint, bigint, bigint);
CREATE OR REPLACE FUNCTION portfolio_write(p_positions jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE v_tenant uuid := current_setting('app.tenant_id')::uuid; w jsonb;
BEGIN
    FOR n IN 0 .. jsonb_array_length(p_positions) - 1 LOOP
        w := p_positions->n;
        IF w->>'version' IS NULL THEN
            INSERT INTO positions (tenant_id, id, account_id, book_id, instrument_id, product, quantity, cost_minor,
                                   realised_minor, margin_minor, version)
            VALUES (v_tenant, uuidv7(), (w->>'account')::uuid, (w->>'book')::uuid, (w->>'instrument')::uuid,
                    w->>'product', (w->>'quantity')::bigint, (w->>'cost')::bigint, (w->>'realised')::bigint,
                    (w->>'margin')::bigint, 1)
            ON CONFLICT DO NOTHING;
        ELSE
            UPDATE positions p SET quantity = (w->>'quantity')::bigint, cost_minor = (w->>'cost')::bigint,
                realised_minor = (w->>'realised')::bigint, margin_minor = (w->>'margin')::bigint,
                version = p.version + 1, updated_at = now()
            WHERE p.tenant_id = v_tenant AND p.account_id = (w->>'account')::uuid AND p.book_id = (w->>'book')::uuid
              AND p.instrument_id = (w->>'instrument')::uuid AND p.product = w->>'product'
              AND p.version = (w->>'version')::bigint;
        END IF;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END $$;

-- One position with its version, for the reducer.
DROP FUNCTION IF EXISTS portfolio_position(uuid, uuid, uuid);
CREATE OR REPLACE FUNCTION portfolio_position(p_account uuid, p_book uuid, p_instrument uuid, p_product text)
RETURNS TABLE (quantity bigint, cost_minor bigint, realised_minor bigint, margin_minor bigint, version bigint)
LANGUAGE sql STABLE AS $$
    SELECT p.quantity, p.cost_minor, p.realised_minor, p.margin_minor, p.version FROM positions p
    WHERE p.tenant_id = current_setting('app.tenant_id')::uuid AND p.account_id = p_account AND p.book_id = p_book
      AND p.instrument_id = p_instrument AND p.product = p_product
$$;
