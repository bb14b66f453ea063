-- The only writer of the ledger. Amounts are signed minor units, positive is a credit (see ../domain.py); the tenant
-- comes from the setting `app.tenant_id`, never from an argument. Locks: holds, then ledger accounts in id order.
-- Errors: MD001 insufficient funds, MD002 unbalanced, MD003 id or key reused, MD004 currency, MD005 no such account,
-- MD006 malformed posting, MD007 no tenant.

CREATE OR REPLACE FUNCTION ledger_tenant() RETURNS uuid LANGUAGE plpgsql STABLE AS $$
DECLARE v_tenant uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;
BEGIN
    IF v_tenant IS NULL THEN
        RAISE EXCEPTION 'no tenant is set' USING ERRCODE = 'MD007';
    END IF;
    RETURN v_tenant;
END
$$;

-- Which of the tenant's 8 clearing and charges accounts serves a trading account: one row each would be a queue.
CREATE OR REPLACE FUNCTION ledger_shard(p_account uuid) RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
    SELECT (get_byte(uuid_send(p_account), 15) % 8)::smallint
$$;

-- Notes a transaction. False: the same one was noted before.
CREATE OR REPLACE FUNCTION ledger_enter(p_tenant uuid, p_transaction uuid, p_kind text, p_key text, p_fingerprint text,
                                        p_effective_at timestamptz, p_details jsonb)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE v_fingerprint text;
BEGIN
    INSERT INTO ledger_transactions (tenant_id, id, kind, idempotency_key, fingerprint, effective_at, details)
    VALUES (p_tenant, p_transaction, p_kind, p_key, p_fingerprint, p_effective_at, coalesce(p_details, '{}'))
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        RETURN true;
    END IF;
    SELECT t.fingerprint INTO v_fingerprint FROM ledger_transactions t
    WHERE t.tenant_id = p_tenant AND t.idempotency_key = p_key;
    IF v_fingerprint IS DISTINCT FROM p_fingerprint THEN
        RAISE EXCEPTION 'the idempotency key % belongs to another ledger transaction', p_key USING ERRCODE = 'MD003';
    END IF;
    RETURN false;
END
$$;

-- Moves balances and releases holds, and writes the legs. p_forced: a fact from outside, it may overdraw.
CREATE OR REPLACE FUNCTION ledger_move(p_tenant uuid, p_transaction uuid, p_accounts uuid[], p_amounts bigint[],
                                       p_releases bigint[], p_forced boolean)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_found bigint;
    v_unbalanced text;
    v_short uuid;
BEGIN
    WITH touched AS MATERIALIZED (
        SELECT a.id, a.currency, a.book, a.floor_minor, m.amount, m.amount + m.release AS change,
               a.posted - a.pending_out + m.amount + m.release AS available
        FROM ledger_accounts a JOIN unnest(p_accounts, p_amounts, p_releases) AS m (id, amount, release) ON a.id = m.id
        WHERE a.tenant_id = p_tenant AND a.id = ANY (p_accounts)
        ORDER BY a.id FOR NO KEY UPDATE OF a
    )
    SELECT count(*), (array_agg(t.id) FILTER (WHERE t.change < 0 AND t.available < t.floor_minor))[1],
           (SELECT g.currency FROM touched g GROUP BY g.currency, g.book HAVING sum(g.amount) <> 0 LIMIT 1)
    INTO v_found, v_short, v_unbalanced FROM touched t;
    IF v_found <> cardinality(p_accounts) THEN
        RAISE EXCEPTION 'a ledger account of this transaction does not exist' USING ERRCODE = 'MD005';
    ELSIF v_unbalanced IS NOT NULL THEN
        RAISE EXCEPTION 'the legs in % do not sum to zero, or move money between the clients and the firm', v_unbalanced
            USING ERRCODE = 'MD002';
    ELSIF v_short IS NOT NULL AND NOT p_forced THEN
        RAISE EXCEPTION 'insufficient funds in the ledger account %', v_short USING ERRCODE = 'MD001';
    END IF;
    WITH moved AS (
        UPDATE ledger_accounts a
        SET posted = a.posted + m.amount, pending_out = a.pending_out - m.release,
            overdrawn = greatest(0, a.floor_minor - (a.posted + m.amount - a.pending_out + m.release)),
            version = a.version + (m.amount <> 0)::int
        FROM unnest(p_accounts, p_amounts, p_releases) AS m (id, amount, release)
        WHERE a.tenant_id = p_tenant AND a.id = m.id AND a.id = ANY (p_accounts)
        RETURNING a.id, a.version, a.posted, m.amount
    )
    INSERT INTO ledger_entries (tenant_id, ledger_account_id, account_version, transaction_id, amount, balance_after)
    SELECT p_tenant, m.id, m.version, p_transaction, m.amount, m.posted FROM moved m WHERE m.amount <> 0;
END
$$;

-- What the account can still spend or reserve: posted - pending_out of its cash. Null when it has none.
CREATE OR REPLACE FUNCTION ledger_available(p_account uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT a.posted - a.pending_out FROM ledger_accounts a
    WHERE a.tenant_id = ledger_tenant() AND a.account_id = p_account AND a.kind = 'client_cash'
$$;

SET LOCAL ROLE mandi_ledger;

-- Opens an account of the chart, or finds it. p_account owns client_cash; the other kinds are the tenant's, by shard.
CREATE OR REPLACE FUNCTION ledger_open_account(p_kind text, p_account uuid, p_currency text, p_shard smallint,
                                               p_floor bigint)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_tenant uuid := ledger_tenant();
    v_id uuid;
    v_currency text;
BEGIN
    INSERT INTO ledger_accounts (tenant_id, id, account_id, kind, book, currency, shard, posted, pending_out, overdrawn,
                                 floor_minor, version)
    VALUES (v_tenant, uuidv7(), p_account, p_kind, CASE WHEN p_kind LIKE 'firm\_%' THEN 'firm' ELSE 'client' END,
            p_currency, p_shard, 0, 0, 0, p_floor, 0)
    ON CONFLICT DO NOTHING RETURNING id INTO v_id;
    IF v_id IS NULL THEN
        SELECT a.id, a.currency INTO v_id, v_currency FROM ledger_accounts a
        WHERE a.tenant_id = v_tenant AND a.kind = p_kind AND a.account_id IS NOT DISTINCT FROM p_account
          AND (p_account IS NOT NULL OR (a.currency = p_currency AND a.shard = p_shard));
        IF v_currency <> p_currency THEN
            RAISE EXCEPTION 'the account keeps its books in %, not %', v_currency, p_currency USING ERRCODE = 'MD004';
        END IF;
    END IF;
    RETURN v_id;
END
$$;

-- Opens the books of a trading account: its cash, and the tenant's pool accounts in its currency. Returns the cash.
CREATE OR REPLACE FUNCTION ledger_open_books(p_account uuid, p_currency text)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM ledger_open_account(kind, NULL, p_currency, 0::smallint, NULL)
    FROM unnest(ARRAY['omnibus_bank', 'suspense']) AS kind ORDER BY kind;
    PERFORM ledger_open_account(kind, NULL, p_currency, shard::smallint, NULL)
    FROM unnest(ARRAY['charges', 'clearing']) AS kind, generate_series(0, 7) AS shard ORDER BY kind, shard;
    RETURN ledger_open_account('client_cash', p_account, p_currency, 0::smallint, 0);
END
$$;

-- Posts one journal entry and returns its id, which is the first one's id when the same was posted before. Kinds that
-- record what happened outside (dividend, split_cash, charge, settlement) may overdraw a client; the others may not.
CREATE OR REPLACE FUNCTION ledger_post(p_transaction uuid, p_kind text, p_idempotency_key text, p_fingerprint text,
                                       p_effective_at timestamptz, p_accounts uuid[], p_amounts bigint[],
                                       p_details jsonb)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_tenant uuid := ledger_tenant();
    v_legs int := coalesce(cardinality(p_accounts), 0);
BEGIN
    IF v_legs < 2 OR v_legs <> coalesce(cardinality(p_amounts), 0)
       OR (SELECT count(DISTINCT id) FROM unnest(p_accounts) AS id) <> v_legs
       OR EXISTS (SELECT 1 FROM unnest(p_amounts) AS x WHERE x IS NULL OR x = 0 OR abs(x) > 1000000000000000) THEN
        RAISE EXCEPTION 'a ledger transaction takes two or more legs, each account once, amounts of 1 to 10^15'
            USING ERRCODE = 'MD006';
    END IF;
    IF NOT ledger_enter(v_tenant, p_transaction, p_kind, p_idempotency_key, p_fingerprint, p_effective_at, p_details)
    THEN
        RETURN (SELECT t.id FROM ledger_transactions t
                WHERE t.tenant_id = v_tenant AND t.idempotency_key = p_idempotency_key);
    END IF;
    PERFORM ledger_move(v_tenant, p_transaction, p_accounts, p_amounts, array_fill(0::bigint, ARRAY[v_legs]),
                        p_kind IN ('dividend', 'split_cash', 'charge', 'settlement'));
    RETURN p_transaction;
END
$$;

-- Reserves p_amount of the account's cash for the order p_hold; returns what is then available. The same hold again
-- changes nothing.
CREATE OR REPLACE FUNCTION ledger_hold(p_hold uuid, p_account uuid, p_amount bigint)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_tenant uuid := ledger_tenant();
    v_cash uuid;
    v_available bigint;
    v_known record;
BEGIN
    IF p_amount IS NULL OR p_amount NOT BETWEEN 1 AND 1000000000000000 THEN
        RAISE EXCEPTION 'a hold takes an amount of 1 to 10^15' USING ERRCODE = 'MD006';
    END IF;
    -- The account first, whatever its balance: a repeated hold must not be told that its own money is missing.
    SELECT a.id, a.posted - a.pending_out - coalesce(a.floor_minor, 0) INTO v_cash, v_available FROM ledger_accounts a
    WHERE a.tenant_id = v_tenant AND a.account_id = p_account AND a.kind = 'client_cash' FOR NO KEY UPDATE;
    IF v_cash IS NULL THEN
        RAISE EXCEPTION 'the account % has no books', p_account USING ERRCODE = 'MD005';
    END IF;
    INSERT INTO ledger_holds (tenant_id, id, ledger_account_id, amount, remaining, state)
    VALUES (v_tenant, p_hold, v_cash, p_amount, p_amount, 'pending') ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT h.ledger_account_id, h.amount INTO v_known FROM ledger_holds h
        WHERE h.tenant_id = v_tenant AND h.id = p_hold;
        IF v_known.ledger_account_id <> v_cash OR v_known.amount <> p_amount THEN
            RAISE EXCEPTION 'the hold % was made for another account or amount', p_hold USING ERRCODE = 'MD003';
        END IF;
        RETURN v_available;
    ELSIF v_available < p_amount THEN
        RAISE EXCEPTION 'insufficient funds in the ledger account %: % needed, % available', v_cash, p_amount,
            v_available USING ERRCODE = 'MD001';
    END IF;
    UPDATE ledger_accounts SET pending_out = pending_out + p_amount WHERE tenant_id = v_tenant AND id = v_cash;
    RETURN v_available - p_amount;
END
$$;

-- Releases what is left of a hold; returns how much: 0 when nothing was (filled, voided or never made).
CREATE OR REPLACE FUNCTION ledger_void(p_hold uuid)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_tenant uuid := ledger_tenant();
    v_cash uuid;
    v_released bigint;
BEGIN
    UPDATE ledger_holds SET remaining = 0, state = 'voided', closed_at = clock_timestamp()
    WHERE tenant_id = v_tenant AND id = p_hold AND state = 'pending'
    RETURNING ledger_account_id, old.remaining INTO v_cash, v_released;
    IF v_cash IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM ledger_move(v_tenant, NULL, ARRAY[v_cash], ARRAY[0::bigint], ARRAY[v_released], true);
    RETURN v_released;
END
$$;

-- Locks the ledger rows that fills of these trading accounts touch, in id order: call it first when one transaction
-- settles fills of several accounts.
CREATE OR REPLACE FUNCTION ledger_lock(p_accounts uuid[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE v_tenant uuid := ledger_tenant();
BEGIN
    PERFORM a.id FROM ledger_accounts a
    WHERE a.tenant_id = v_tenant
      AND (a.account_id = ANY (p_accounts)
           OR (a.kind IN ('clearing', 'charges')
               AND (a.currency, a.shard) IN (
                   SELECT c.currency, ledger_shard(c.account_id) FROM ledger_accounts c
                   WHERE c.tenant_id = v_tenant AND c.account_id = ANY (p_accounts) AND c.kind = 'client_cash')))
    ORDER BY a.id FOR NO KEY UPDATE OF a;
END
$$;

-- Posts one fill. p_cash: what the trade brings the client before charges (negative for a buy); p_charges: what it
-- costs besides; p_hold: the order's id, null without one; p_release: how much of the hold this fill uses up, null for
-- all that is left. A fill is a fact: it may overdraw. The same p_fill again changes nothing and says `replayed`.
CREATE OR REPLACE FUNCTION ledger_settle_fill(p_fill uuid, p_account uuid, p_currency text, p_cash bigint,
                                              p_charges bigint, p_hold uuid, p_release bigint,
                                              p_effective_at timestamptz, p_details jsonb)
RETURNS TABLE (posted bigint, available bigint, released bigint, replayed boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_tenant uuid := ledger_tenant();
    v_cash uuid;
    v_clearing uuid;
    v_charges uuid;
    v_currency text;
    v_accounts uuid[];
    v_amounts bigint[];
    v_releases bigint[];
BEGIN
    SELECT c.id, c.currency INTO v_cash, v_currency FROM ledger_accounts c
    WHERE c.tenant_id = v_tenant AND c.account_id = p_account AND c.kind = 'client_cash';
    IF v_cash IS NULL THEN
        RAISE EXCEPTION 'the account % has no books', p_account USING ERRCODE = 'MD005';
    ELSIF v_currency IS DISTINCT FROM p_currency THEN
        RAISE EXCEPTION 'the account keeps its books in %, not %', v_currency, p_currency USING ERRCODE = 'MD004';
    ELSIF p_cash IS NULL OR p_charges IS NULL OR p_release < 0
          OR abs(p_cash) > 1000000000000000 OR abs(p_charges) > 1000000000000000 THEN
        RAISE EXCEPTION 'a fill takes cash and charges of at most 10^15 and a release that is not negative'
            USING ERRCODE = 'MD006';
    END IF;
    released := 0;
    replayed := NOT ledger_enter(v_tenant, p_fill, 'fill', 'fill:' || p_fill,
        encode(sha256(convert_to(concat_ws('|', p_account, p_currency, p_cash, p_charges, p_hold), 'UTF8')), 'hex'),
        p_effective_at, p_details);
    IF NOT replayed THEN
        UPDATE ledger_holds h SET remaining = h.remaining - least(h.remaining, coalesce(p_release, h.remaining)),
            state = CASE WHEN h.remaining > p_release THEN 'pending' ELSE 'posted' END,
            closed_at = CASE WHEN h.remaining > p_release THEN NULL ELSE clock_timestamp() END
        WHERE h.tenant_id = v_tenant AND h.id = p_hold AND h.ledger_account_id = v_cash AND h.state = 'pending'
        RETURNING old.remaining - new.remaining INTO released;
        released := coalesce(released, 0);
        v_accounts := ARRAY[v_cash];
        v_amounts := ARRAY[p_cash - p_charges];
        v_releases := ARRAY[released];
        IF p_cash <> 0 THEN
            SELECT a.id INTO v_clearing FROM ledger_accounts a
            WHERE a.tenant_id = v_tenant AND a.kind = 'clearing' AND a.currency = v_currency
              AND a.shard = ledger_shard(p_account) AND a.account_id IS NULL;
            v_accounts := v_accounts || v_clearing;
            v_amounts := v_amounts || -p_cash;
            v_releases := v_releases || 0::bigint;
        END IF;
        IF p_charges <> 0 THEN
            SELECT a.id INTO v_charges FROM ledger_accounts a
            WHERE a.tenant_id = v_tenant AND a.kind = 'charges' AND a.currency = v_currency
              AND a.shard = ledger_shard(p_account) AND a.account_id IS NULL;
            v_accounts := v_accounts || v_charges;
            v_amounts := v_amounts || p_charges;
            v_releases := v_releases || 0::bigint;
        END IF;
        PERFORM ledger_move(v_tenant, p_fill, v_accounts, v_amounts, v_releases, true);
    END IF;
    SELECT c.posted, c.posted - c.pending_out INTO posted, available FROM ledger_accounts c
    WHERE c.tenant_id = v_tenant AND c.id = v_cash;
    RETURN NEXT;
END
$$;

REVOKE ALL ON FUNCTION ledger_open_account(text, uuid, text, smallint, bigint), ledger_open_books(uuid, text),
    ledger_post(uuid, text, text, text, timestamptz, uuid[], bigint[], jsonb), ledger_hold(uuid, uuid, bigint),
    ledger_void(uuid), ledger_lock(uuid[]),
    ledger_settle_fill(uuid, uuid, text, bigint, bigint, uuid, bigint, timestamptz, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_open_account(text, uuid, text, smallint, bigint), ledger_open_books(uuid, text),
    ledger_post(uuid, text, text, text, timestamptz, uuid[], bigint[], jsonb), ledger_hold(uuid, uuid, bigint),
    ledger_void(uuid), ledger_lock(uuid[]),
    ledger_settle_fill(uuid, uuid, text, bigint, bigint, uuid, bigint, timestamptz, jsonb) TO mandi_app;
RESET ROLE;
