-- The only writer of the ledger. Amounts are signed minor units, positive is a credit (see ../domain.py); the tenant
-- comes from the setting `app.tenant_id`, never from an argument. Locks: holds, then what is opened in the chart's
-- order, then ledger accounts in id order.
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

-- Moves balances and releases holds, and writes the legs. p_forced: a fact from outside, it may overdraw; what is not
-- one takes settled cash only. p_receivable and p_payable: what the legs change of these two of the one client's.
DROP FUNCTION IF EXISTS ledger_move(uuid, uuid, uuid[], bigint[], bigint[], boolean);
CREATE OR REPLACE FUNCTION ledger_move(p_tenant uuid, p_transaction uuid, p_accounts uuid[], p_amounts bigint[],
                                       p_releases bigint[], p_forced boolean, p_receivable bigint DEFAULT 0,
                                       p_payable bigint DEFAULT 0)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_found bigint;
    v_unbalanced text;
    v_short uuid;
BEGIN
    WITH touched AS MATERIALIZED (
        SELECT a.id, coalesce(a.instrument_id::text, a.currency) AS unit, a.book, a.floor_minor, m.amount,
               m.amount + m.release AS change,
               a.posted - a.payable - a.pending_out + m.amount + m.release AS withdrawable
        FROM ledger_accounts a JOIN unnest(p_accounts, p_amounts, p_releases) AS m (id, amount, release) ON a.id = m.id
        WHERE a.tenant_id = p_tenant AND a.id = ANY (p_accounts)
        ORDER BY a.id FOR NO KEY UPDATE OF a
    )
    SELECT count(*), (array_agg(t.id) FILTER (WHERE t.change < 0 AND t.withdrawable < t.floor_minor))[1],
           (SELECT g.unit FROM touched g GROUP BY g.unit, g.book HAVING sum(g.amount) <> 0 LIMIT 1)
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
            receivable = a.receivable + m.receivable, payable = a.payable + m.payable,
            overdrawn = greatest(0, a.floor_minor - (a.posted + m.amount + a.receivable + m.receivable - a.payable
                                                     - m.payable + a.financed - a.pending_out + m.release)),
            version = a.version + (m.amount <> 0)::int
        FROM (SELECT c.id, c.amount, c.release, CASE b.kind WHEN 'client_cash' THEN p_receivable ELSE 0 END AS receivable,
                     CASE b.kind WHEN 'client_cash' THEN p_payable ELSE 0 END AS payable
              FROM unnest(p_accounts, p_amounts, p_releases) AS c (id, amount, release)
              JOIN ledger_accounts b ON b.tenant_id = p_tenant AND b.id = c.id AND b.id = ANY (p_accounts)) m
        WHERE a.tenant_id = p_tenant AND a.id = m.id AND a.id = ANY (p_accounts)
        RETURNING a.id, a.version, a.posted, m.amount
    )
    INSERT INTO ledger_entries (tenant_id, ledger_account_id, account_version, transaction_id, amount, balance_after)
    SELECT p_tenant, m.id, m.version, p_transaction, m.amount, m.posted FROM moved m WHERE m.amount <> 0;
END
$$;

-- Reserves p_amount of an account's cash; p_settled: of what is settled and owed to nobody.
CREATE OR REPLACE FUNCTION ledger_reserve(p_tenant uuid, p_hold uuid, p_account uuid, p_amount bigint,
                                          p_settled boolean)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_cash uuid;
    v_available bigint;
    v_known record;
BEGIN
    IF p_amount IS NULL OR p_amount NOT BETWEEN 1 AND 1000000000000000 THEN
        RAISE EXCEPTION 'a hold takes an amount of 1 to 10^15' USING ERRCODE = 'MD006';
    END IF;
    -- The account first, whatever its balance: a repeated hold must not be told that its own money is missing.
    SELECT a.id, a.posted + CASE WHEN p_settled THEN 0 ELSE a.receivable + a.financed END - a.payable - a.pending_out
                 - coalesce(a.floor_minor, 0)
    INTO v_cash, v_available FROM ledger_accounts a
    WHERE a.tenant_id = p_tenant AND a.account_id = p_account AND a.kind = 'client_cash' FOR NO KEY UPDATE;
    IF v_cash IS NULL THEN
        RAISE EXCEPTION 'the account % has no books', p_account USING ERRCODE = 'MD005';
    END IF;
    INSERT INTO ledger_holds (tenant_id, id, ledger_account_id, amount, remaining, state)
    VALUES (p_tenant, p_hold, v_cash, p_amount, p_amount, 'pending') ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT h.ledger_account_id, h.amount INTO v_known FROM ledger_holds h
        WHERE h.tenant_id = p_tenant AND h.id = p_hold;
        IF v_known.ledger_account_id <> v_cash OR v_known.amount <> p_amount THEN
            RAISE EXCEPTION 'the hold % was made for another account or amount', p_hold USING ERRCODE = 'MD003';
        END IF;
        RETURN v_available;
    ELSIF v_available < p_amount THEN
        RAISE EXCEPTION 'insufficient funds in the ledger account %: % needed, % available', v_cash, p_amount,
            v_available USING ERRCODE = 'MD001';
    END IF;
    UPDATE ledger_accounts SET pending_out = pending_out + p_amount WHERE tenant_id = p_tenant AND id = v_cash;
    RETURN v_available - p_amount;
END
$$;

DROP FUNCTION IF EXISTS ledger_available(uuid);

-- Which kind of account collects a head of charges; `head_kind` in ../domain.py is the same.
CREATE OR REPLACE FUNCTION ledger_head_kind(p_head text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_head IN ('stt', 'ctt', 'stamp', 'gst') THEN 'taxes' ELSE 'charges' END
$$;

-- An account of the chart; null when it is not open. p_owner has a trading account's kinds; the others are the tenant's.
CREATE OR REPLACE FUNCTION ledger_found(p_tenant uuid, p_kind text, p_owner uuid, p_currency text, p_head text,
                                        p_shard smallint, p_instrument uuid)
RETURNS uuid LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p_owner IS NULL THEN
        RETURN (SELECT a.id FROM ledger_accounts a
                WHERE a.tenant_id = p_tenant AND a.account_id IS NULL AND a.kind = p_kind AND a.currency = p_currency
                  AND a.head = p_head AND a.shard = p_shard AND a.instrument_id IS NOT DISTINCT FROM p_instrument);
    END IF;
    RETURN (SELECT a.id FROM ledger_accounts a
            WHERE a.tenant_id = p_tenant AND a.account_id = p_owner AND a.kind = p_kind
              AND a.instrument_id IS NOT DISTINCT FROM p_instrument);
END
$$;

-- Finds an account of the chart, or opens it; whoever opens the same waits until this transaction has ended.
DROP FUNCTION IF EXISTS ledger_open_account(text, uuid, text, smallint, bigint);
CREATE OR REPLACE FUNCTION ledger_account(p_tenant uuid, p_kind text, p_owner uuid, p_currency text, p_head text,
                                          p_shard smallint, p_instrument uuid)
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE v_id uuid := ledger_found(p_tenant, p_kind, p_owner, p_currency, p_head, p_shard, p_instrument);
BEGIN
    IF v_id IS NULL THEN
        INSERT INTO ledger_accounts (tenant_id, id, account_id, instrument_id, kind, book, currency, head, shard, posted,
                                     pending_out, receivable, payable, margin, financed, flows, overdrawn, floor_minor,
                                     version)
        VALUES (p_tenant, uuidv7(), p_owner, p_instrument, p_kind,
                CASE WHEN starts_with(p_kind, 'firm_') THEN 'firm' ELSE 'client' END, p_currency, p_head, p_shard, 0,
                0, 0, 0, 0, 0, 0, 0, CASE p_kind WHEN 'client_cash' THEN 0 END, 0)
        ON CONFLICT DO NOTHING RETURNING id INTO v_id;
    END IF;
    RETURN coalesce(v_id, ledger_found(p_tenant, p_kind, p_owner, p_currency, p_head, p_shard, p_instrument));
END
$$;

-- Whether a transaction brings a client's money in from outside, or takes it there; what undoes one does, too.
CREATE OR REPLACE FUNCTION ledger_is_flow(p_tenant uuid, p_kind text, p_key text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT CASE p_kind
        WHEN 'reversal' THEN EXISTS (
            SELECT 1 FROM ledger_transactions t
            WHERE t.tenant_id = p_tenant
              AND t.id = CASE WHEN p_key ~ '^reversal:[0-9a-f-]{36}$' THEN substr(p_key, length('reversal:') + 1)::uuid END
              AND t.kind IN ('funding', 'deposit', 'withdrawal', 'transfer'))
        ELSE p_kind IN ('funding', 'deposit', 'withdrawal', 'transfer') END
$$;

SET LOCAL ROLE mandi_ledger;

-- Opens the books of a trading account, and the tenant's pool accounts in its currency. Returns its cash.
CREATE OR REPLACE FUNCTION ledger_open_books(p_account uuid, p_currency text)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_tenant uuid := ledger_tenant();
    v_cash uuid;
    v_currency text;
BEGIN
    PERFORM ledger_account(v_tenant, kind, NULL, p_currency, '', 0::smallint, NULL)
    FROM unnest(ARRAY['omnibus_bank', 'suspense']) AS kind ORDER BY kind;
    PERFORM ledger_account(v_tenant, 'clearing', NULL, p_currency, '', shard::smallint, NULL)
    FROM generate_series(0, 7) AS shard ORDER BY shard;
    v_cash := ledger_account(v_tenant, 'client_cash', p_account, p_currency, '', 0::smallint, NULL);
    SELECT a.currency INTO v_currency FROM ledger_accounts a WHERE a.tenant_id = v_tenant AND a.id = v_cash;
    IF v_currency <> p_currency THEN
        RAISE EXCEPTION 'the account keeps its books in %, not %', v_currency, p_currency USING ERRCODE = 'MD004';
    END IF;
    PERFORM ledger_account(v_tenant, kind, p_account, p_currency, '', 0::smallint, NULL)
    FROM unnest(ARRAY['client_payable', 'client_receivable']) AS kind ORDER BY kind;
    RETURN v_cash;
END
$$;

-- Opens one of the firm's own accounts, or finds it.
CREATE OR REPLACE FUNCTION ledger_open_firm(p_kind text, p_currency text)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF p_kind NOT IN ('firm_bank', 'firm_income') THEN
        RAISE EXCEPTION '% is not an account of the firm', p_kind USING ERRCODE = 'MD006';
    END IF;
    RETURN ledger_account(ledger_tenant(), p_kind, NULL, p_currency, '', 0::smallint, NULL);
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
    IF EXISTS (SELECT 1 FROM ledger_accounts a WHERE a.tenant_id = v_tenant AND a.id = ANY (p_accounts)
               AND a.kind IN ('client_receivable', 'client_payable', 'client_margin', 'client_securities', 'depository'))
    THEN
        RAISE EXCEPTION 'fills, settlements and splits alone move what is unsettled, margin and securities'
            USING ERRCODE = 'MD006';
    END IF;
    IF NOT ledger_enter(v_tenant, p_transaction, p_kind, p_idempotency_key, p_fingerprint, p_effective_at, p_details)
    THEN
        RETURN (SELECT t.id FROM ledger_transactions t
                WHERE t.tenant_id = v_tenant AND t.idempotency_key = p_idempotency_key);
    END IF;
    PERFORM ledger_move(v_tenant, p_transaction, p_accounts, p_amounts, array_fill(0::bigint, ARRAY[v_legs]),
                        p_kind IN ('dividend', 'split_cash', 'charge', 'settlement'));
    IF ledger_is_flow(v_tenant, p_kind, p_idempotency_key) THEN
        UPDATE ledger_accounts a SET flows = a.flows + m.amount FROM unnest(p_accounts, p_amounts) AS m (id, amount)
        WHERE a.tenant_id = v_tenant AND a.id = m.id AND a.kind = 'client_cash';
    END IF;
    RETURN p_transaction;
END
$$;

-- Reserves p_amount of the account's cash for the order p_hold; returns what is then available. The same hold again
-- changes nothing.
CREATE OR REPLACE FUNCTION ledger_hold(p_hold uuid, p_account uuid, p_amount bigint)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN ledger_reserve(ledger_tenant(), p_hold, p_account, p_amount, false);
END
$$;

-- The same for a withdrawal: it takes settled cash alone, none that trades have yet to bring or will still cost.
CREATE OR REPLACE FUNCTION ledger_hold_settled(p_hold uuid, p_account uuid, p_amount bigint)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN ledger_reserve(ledger_tenant(), p_hold, p_account, p_amount, true);
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

-- A withdrawal was paid: p_amount of what the hold p_hold reserved leaves, the rest is available again. It happened, so it
-- is recorded whatever the balance. The same p_key again changes nothing. Returns the transaction's id.
CREATE OR REPLACE FUNCTION ledger_pay_out_held(p_hold uuid, p_account uuid, p_amount bigint, p_transaction uuid, p_key text,
                                               p_effective_at timestamptz, p_details jsonb)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_tenant uuid := ledger_tenant();
    v_cash uuid;
    v_currency text;
    v_released bigint := 0;
BEGIN
    SELECT c.id, c.currency INTO v_cash, v_currency FROM ledger_accounts c
    WHERE c.tenant_id = v_tenant AND c.account_id = p_account AND c.kind = 'client_cash';
    IF v_cash IS NULL THEN
        RAISE EXCEPTION 'the account % has no books', p_account USING ERRCODE = 'MD005';
    ELSIF p_amount IS NULL OR p_amount NOT BETWEEN 1 AND 1000000000000000 THEN
        RAISE EXCEPTION 'a withdrawal takes an amount of 1 to 10^15' USING ERRCODE = 'MD006';
    ELSIF NOT ledger_enter(v_tenant, p_transaction, 'withdrawal', p_key,
            encode(sha256(convert_to(concat_ws('|', p_hold, p_account, p_amount), 'UTF8')), 'hex'), p_effective_at,
            p_details) THEN
        RETURN (SELECT t.id FROM ledger_transactions t WHERE t.tenant_id = v_tenant AND t.idempotency_key = p_key);
    END IF;
    UPDATE ledger_holds h SET remaining = 0, state = 'posted', closed_at = clock_timestamp()
    WHERE h.tenant_id = v_tenant AND h.id = p_hold AND h.ledger_account_id = v_cash AND h.state = 'pending'
    RETURNING old.remaining INTO v_released;
    PERFORM ledger_move(v_tenant, p_transaction,
        ARRAY[v_cash, ledger_account(v_tenant, 'omnibus_bank', NULL, v_currency, '', 0::smallint, NULL)],
        ARRAY[-p_amount, p_amount], ARRAY[coalesce(v_released, 0), 0::bigint], true);
    UPDATE ledger_accounts SET flows = flows - p_amount WHERE tenant_id = v_tenant AND id = v_cash;
    RETURN p_transaction;
END
$$;

REVOKE ALL ON FUNCTION ledger_open_books(uuid, text), ledger_open_firm(text, text),
    ledger_post(uuid, text, text, text, timestamptz, uuid[], bigint[], jsonb), ledger_hold(uuid, uuid, bigint),
    ledger_hold_settled(uuid, uuid, bigint), ledger_void(uuid),
    ledger_pay_out_held(uuid, uuid, bigint, uuid, text, timestamptz, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_open_books(uuid, text), ledger_open_firm(text, text),
    ledger_post(uuid, text, text, text, timestamptz, uuid[], bigint[], jsonb), ledger_hold(uuid, uuid, bigint),
    ledger_hold_settled(uuid, uuid, bigint), ledger_void(uuid),
    ledger_pay_out_held(uuid, uuid, bigint, uuid, text, timestamptz, jsonb) TO mandi_app;
RESET ROLE;
