-- What trades post, as ledger.sql does: a fill to what is unsettled, and its settlement from there to cash and securities.
-- The old signature took charges as one sum; only orders_record_fill called it.
DROP FUNCTION IF EXISTS ledger_settle_fill(uuid, uuid, text, bigint, bigint, uuid, bigint, timestamptz, jsonb);
DROP FUNCTION IF EXISTS ledger_lock(uuid[]);

-- What fills post, leg by leg: the accounts as they are found, null where one is yet to be opened. `place` counts the legs
-- in the order of the fills; a client's cash moves by its mirrors of what is receivable and payable alone.
CREATE OR REPLACE FUNCTION ledger_fill_legs(p_tenant uuid, p_fills jsonb)
RETURNS TABLE (place bigint, fill uuid, cash_account uuid, kind text, owner uuid, currency text, head text, shard smallint,
               amount bigint, ledger_account uuid) LANGUAGE sql STABLE AS $$
    SELECT row_number() OVER (ORDER BY l.turn, l.kind, l.head), l.fill, l.cash_account, l.kind, l.owner, l.currency, l.head,
           l.shard, l.amount, coalesce(own.id, pool.id)
    FROM (
        SELECT f.turn, f.fill, c.id AS cash_account, g.kind, CASE WHEN g.own THEN f.account END AS owner, f.currency,
               g.head, CASE WHEN g.own THEN 0::smallint ELSE ledger_shard(f.account) END AS shard, g.amount
        FROM (SELECT (e.x->>'fill')::uuid AS fill, (e.x->>'account')::uuid AS account, e.x->>'currency' AS currency,
                     (e.x->>'cash')::bigint AS cash, e.x->'heads' AS heads, e.turn,
                     (e.x->>'cash')::bigint - (e.x->>'charges')::bigint AS net
              FROM jsonb_array_elements(p_fills) WITH ORDINALITY AS e (x, turn)) f
        JOIN ledger_accounts c ON c.tenant_id = p_tenant AND c.account_id = f.account AND c.kind = 'client_cash'
        CROSS JOIN LATERAL (
            SELECT CASE WHEN f.net > 0 THEN 'client_receivable' ELSE 'client_payable' END AS kind, true AS own,
                   '' AS head, f.net AS amount
            UNION ALL SELECT 'clearing', false, '', -f.cash
            UNION ALL SELECT ledger_head_kind(h.key), false, h.key, h.value::bigint FROM jsonb_each_text(f.heads) h
        ) g
        WHERE g.amount <> 0
    ) l
    LEFT JOIN LATERAL (
        SELECT a.id FROM ledger_accounts a
        WHERE l.owner IS NOT NULL AND a.tenant_id = p_tenant AND a.account_id = l.owner AND a.kind = l.kind
          AND a.instrument_id IS NULL
    ) own ON true
    LEFT JOIN LATERAL (
        SELECT a.id FROM ledger_accounts a
        WHERE l.owner IS NULL AND a.tenant_id = p_tenant AND a.account_id IS NULL AND a.kind = l.kind
          AND a.currency = l.currency AND a.head = l.head AND a.shard = l.shard AND a.instrument_id IS NULL
    ) pool ON true
$$;

-- What of a fill its transaction is recognised by.
CREATE OR REPLACE FUNCTION ledger_fill_print(p_fill jsonb) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT encode(sha256(convert_to(concat_ws('|', p_fill->>'account', p_fill->>'currency', p_fill->>'cash',
                                              p_fill->'heads', p_fill->>'hold'), 'UTF8')), 'hex')
$$;

SET LOCAL ROLE mandi_ledger;

-- Posts fills, in their order; of each: `fill` its id, `account`, `currency`, `cash` what the trade brings the client before
-- charges (negative for a buy), `heads` what it costs besides by head, in minor units, `hold` the order's id (null without
-- one), `release` how much of the hold it uses up (null for all that is left), `at` and `details`. The result is receivable
-- or payable until `ledger_settle_trades`. A fill is a fact: it may overdraw. The ledger's rows are locked in id order. Answers the fills that were posted before:
-- of these nothing changes.
CREATE OR REPLACE FUNCTION ledger_settle_fills(p_fills jsonb) RETURNS uuid[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_tenant uuid := ledger_tenant();
    v_all jsonb;
    v_one jsonb;
    v_wrong record;
    v_posted uuid[];
    v_known uuid[] := '{}';
    v_fills uuid[];
    v_accounts uuid[];
    v_amounts bigint[];
    v_cash uuid[];
    v_kinds text[];
    v_held uuid[];
    v_released bigint[];
BEGIN
    SELECT jsonb_agg(e.x || jsonb_build_object('charges', CASE jsonb_typeof(e.x->'heads') WHEN 'object' THEN (
        SELECT coalesce(sum(h.value::bigint), 0) FROM jsonb_each_text(e.x->'heads') h) END) ORDER BY e.turn)
    INTO v_all FROM jsonb_array_elements(p_fills) WITH ORDINALITY AS e (x, turn);
    SELECT e.x->>'account' AS account, e.x->>'currency' AS currency, c.currency AS kept,
           CASE WHEN c.id IS NULL THEN 'MD005' WHEN c.currency IS DISTINCT FROM e.x->>'currency' THEN 'MD004'
                ELSE 'MD006' END AS code
    INTO v_wrong FROM jsonb_array_elements(v_all) AS e (x)
    LEFT JOIN ledger_accounts c
        ON c.tenant_id = v_tenant AND c.account_id = (e.x->>'account')::uuid AND c.kind = 'client_cash'
    WHERE c.id IS NULL OR c.currency IS DISTINCT FROM e.x->>'currency' OR e.x->>'cash' IS NULL
       OR e.x->>'charges' IS NULL OR (e.x->>'release')::bigint < 0
       OR abs((e.x->>'cash')::numeric) > 1000000000000000 OR abs((e.x->>'charges')::numeric) > 1000000000000000
    LIMIT 1;
    IF v_wrong.code = 'MD005' THEN
        RAISE EXCEPTION 'the account % has no books', v_wrong.account USING ERRCODE = 'MD005';
    ELSIF v_wrong.code = 'MD004' THEN
        RAISE EXCEPTION 'the account keeps its books in %, not %', v_wrong.kept, v_wrong.currency USING ERRCODE = 'MD004';
    ELSIF v_wrong.code IS NOT NULL THEN
        RAISE EXCEPTION 'a fill takes cash and charges of at most 10^15 and a release that is not negative'
            USING ERRCODE = 'MD006';
    ELSIF (SELECT count(DISTINCT e.x->>'fill') FROM jsonb_array_elements(v_all) AS e (x)) < jsonb_array_length(v_all) THEN
        RAISE EXCEPTION 'each fill is posted once' USING ERRCODE = 'MD006';
    END IF;
    WITH entered AS (
        INSERT INTO ledger_transactions (tenant_id, id, kind, idempotency_key, fingerprint, effective_at, details)
        SELECT v_tenant, (e.x->>'fill')::uuid, 'fill', 'fill:' || (e.x->>'fill'), ledger_fill_print(e.x),
               (e.x->>'at')::timestamptz, coalesce(e.x->'details', '{}')
        FROM jsonb_array_elements(v_all) AS e (x)
        ON CONFLICT DO NOTHING RETURNING id
    )
    SELECT coalesce(array_agg(n.id), '{}') INTO v_posted FROM entered n;
    IF cardinality(v_posted) < jsonb_array_length(v_all) THEN
        FOR v_one IN SELECT e.x FROM jsonb_array_elements(v_all) AS e (x) WHERE (e.x->>'fill')::uuid <> ALL (v_posted) LOOP
            IF ledger_enter(v_tenant, (v_one->>'fill')::uuid, 'fill', 'fill:' || (v_one->>'fill'), ledger_fill_print(v_one),
                            (v_one->>'at')::timestamptz, v_one->'details') THEN
                v_posted := v_posted || (v_one->>'fill')::uuid;
            ELSE
                v_known := v_known || (v_one->>'fill')::uuid;
            END IF;
        END LOOP;
        SELECT coalesce(jsonb_agg(e.x ORDER BY e.turn), '[]') INTO v_all
        FROM jsonb_array_elements(v_all) WITH ORDINALITY AS e (x, turn) WHERE (e.x->>'fill')::uuid = ANY (v_posted);
    END IF;
    WITH used AS (
        SELECT (e.x->>'hold')::uuid AS hold, c.id AS cash,
               CASE WHEN count(*) = count(e.x->>'release') THEN sum((e.x->>'release')::bigint) END AS release
        FROM jsonb_array_elements(v_all) AS e (x)
        JOIN ledger_accounts c
            ON c.tenant_id = v_tenant AND c.account_id = (e.x->>'account')::uuid AND c.kind = 'client_cash'
        WHERE e.x->>'hold' IS NOT NULL GROUP BY 1, 2
    ), closed AS (
        UPDATE ledger_holds h SET remaining = h.remaining - least(h.remaining, coalesce(u.release, h.remaining)),
            state = CASE WHEN h.remaining > u.release THEN 'pending' ELSE 'posted' END,
            closed_at = CASE WHEN h.remaining > u.release THEN NULL ELSE clock_timestamp() END
        FROM used u
        WHERE h.tenant_id = v_tenant AND h.id = u.hold AND h.ledger_account_id = u.cash AND h.state = 'pending'
        RETURNING h.ledger_account_id AS cash, old.remaining - new.remaining AS released
    )
    SELECT array_agg(c.cash), array_agg(c.released) INTO v_held, v_released FROM closed c;
    FOR attempt IN 1 .. 2 LOOP
        SELECT array_agg(l.fill), array_agg(l.ledger_account), array_agg(l.amount), array_agg(l.cash_account),
               array_agg(l.kind)
        INTO v_fills, v_accounts, v_amounts, v_cash, v_kinds
        FROM (SELECT * FROM ledger_fill_legs(v_tenant, v_all) ORDER BY place) l;
        EXIT WHEN array_position(v_accounts, NULL) IS NULL;
        PERFORM ledger_account(v_tenant, l.kind, l.owner, l.currency, l.head, l.shard, NULL)
        FROM ledger_fill_legs(v_tenant, v_all) l WHERE l.ledger_account IS NULL;
    END LOOP;
    PERFORM FROM ledger_accounts a
    WHERE a.tenant_id = v_tenant AND a.id = ANY (v_accounts || v_cash || v_held) ORDER BY a.id FOR NO KEY UPDATE;
    WITH legs AS (
        SELECT * FROM unnest(v_fills, v_accounts, v_amounts, v_cash, v_kinds) WITH ORDINALITY
            AS l (fill, id, amount, cash, kind, place)
    ), sums AS (
        SELECT m.id, sum(m.amount)::bigint AS amount, sum(m.entries) AS entries, sum(m.receivable)::bigint AS receivable,
               sum(m.payable)::bigint AS payable, sum(m.released)::bigint AS released
        FROM (
            SELECT l.id, l.amount, 1 AS entries, 0 AS receivable, 0 AS payable, 0 AS released FROM legs l
            UNION ALL
            SELECT l.cash, 0, 0, greatest(l.amount, 0), greatest(-l.amount, 0), 0 FROM legs l
            WHERE l.kind IN ('client_receivable', 'client_payable')
            UNION ALL
            SELECT h.id, 0, 0, 0, 0, h.released FROM unnest(v_held, v_released) AS h (id, released)
        ) m GROUP BY m.id
    ), moved AS (
        UPDATE ledger_accounts a
        SET posted = a.posted + s.amount, pending_out = a.pending_out - s.released,
            receivable = a.receivable + s.receivable, payable = a.payable + s.payable,
            overdrawn = greatest(0, a.floor_minor - (a.posted + s.amount + a.receivable + s.receivable
                                                     - a.payable - s.payable - a.pending_out + s.released)),
            version = a.version + s.entries
        FROM sums s WHERE a.tenant_id = v_tenant AND a.id = s.id
        RETURNING a.id, old.posted, old.version
    )
    INSERT INTO ledger_entries (tenant_id, ledger_account_id, account_version, transaction_id, amount, balance_after)
    SELECT v_tenant, l.id, m.version + row_number() OVER turns, l.fill, l.amount, m.posted + sum(l.amount) OVER turns
    FROM legs l JOIN moved m ON m.id = l.id WINDOW turns AS (PARTITION BY l.id ORDER BY l.place);
    RETURN v_known;
END
$$;

-- Posts one fill, as `ledger_settle_fills`, and says what the account has then and how much of the hold was released.
CREATE OR REPLACE FUNCTION ledger_settle_fill(p_fill uuid, p_account uuid, p_currency text, p_cash bigint,
                                              p_heads jsonb, p_hold uuid, p_release bigint,
                                              p_effective_at timestamptz, p_details jsonb)
RETURNS TABLE (posted bigint, available bigint, released bigint, replayed boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE v_tenant uuid := ledger_tenant(); v_held bigint;
BEGIN
    SELECT h.remaining INTO v_held FROM ledger_holds h WHERE h.tenant_id = v_tenant AND h.id = p_hold FOR NO KEY UPDATE;
    replayed := cardinality(ledger_settle_fills(jsonb_build_array(jsonb_build_object(
        'fill', p_fill, 'account', p_account, 'currency', p_currency, 'cash', p_cash, 'heads', p_heads, 'hold', p_hold,
        'release', p_release, 'at', p_effective_at, 'details', p_details)))) > 0;
    SELECT coalesce(v_held - h.remaining, 0) INTO released FROM ledger_holds h
    WHERE h.tenant_id = v_tenant AND h.id = p_hold;
    released := coalesce(released, 0);
    SELECT c.posted + c.receivable - c.payable, c.posted + c.receivable - c.payable - c.pending_out
    INTO posted, available FROM ledger_accounts c
    WHERE c.tenant_id = v_tenant AND c.account_id = p_account AND c.kind = 'client_cash';
    RETURN NEXT;
END
$$;

-- Settles a day's trades of one account in one instrument: what was receivable and payable becomes cash, the bank pays or
-- is paid p_cash (before charges), and p_quantity units come into the client's securities (below zero: leave them). The
-- same p_settlement again changes nothing and says false.
CREATE OR REPLACE FUNCTION ledger_settle_trades(p_settlement uuid, p_account uuid, p_receivable bigint, p_payable bigint,
                                                p_cash bigint, p_instrument uuid, p_quantity bigint,
                                                p_effective_at timestamptz, p_details jsonb)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_tenant uuid := ledger_tenant();
    v_cash uuid;
    v_currency text;
    v_accounts uuid[];
    v_amounts bigint[];
BEGIN
    SELECT c.id, c.currency INTO v_cash, v_currency FROM ledger_accounts c
    WHERE c.tenant_id = v_tenant AND c.account_id = p_account AND c.kind = 'client_cash';
    IF v_cash IS NULL THEN
        RAISE EXCEPTION 'the account % has no books', p_account USING ERRCODE = 'MD005';
    ELSIF NOT ledger_enter(v_tenant, p_settlement, 'settlement', 'settlement:' || p_settlement,
            encode(sha256(convert_to(concat_ws('|', p_account, p_receivable, p_payable, p_cash, p_instrument, p_quantity),
                                     'UTF8')), 'hex'), p_effective_at, p_details) THEN
        RETURN false;
    END IF;
    v_accounts := ARRAY[v_cash];
    v_amounts := ARRAY[p_receivable - p_payable];
    IF p_receivable <> 0 THEN
        v_accounts := v_accounts
            || ledger_account(v_tenant, 'client_receivable', p_account, v_currency, '', 0::smallint, NULL);
        v_amounts := v_amounts || -p_receivable;
    END IF;
    IF p_payable <> 0 THEN
        v_accounts := v_accounts
            || ledger_account(v_tenant, 'client_payable', p_account, v_currency, '', 0::smallint, NULL);
        v_amounts := v_amounts || p_payable;
    END IF;
    IF p_cash <> 0 THEN
        v_accounts := v_accounts
            || ledger_account(v_tenant, 'clearing', NULL, v_currency, '', ledger_shard(p_account), NULL)
            || ledger_account(v_tenant, 'omnibus_bank', NULL, v_currency, '', 0::smallint, NULL);
        v_amounts := v_amounts || p_cash || -p_cash;
    END IF;
    IF p_quantity <> 0 THEN
        v_accounts := v_accounts
            || ledger_account(v_tenant, 'client_securities', p_account, 'XXX', '', 0::smallint, p_instrument)
            || ledger_account(v_tenant, 'depository', NULL, 'XXX', '', 0::smallint, p_instrument);
        v_amounts := v_amounts || p_quantity || -p_quantity;
    END IF;
    PERFORM ledger_move(v_tenant, p_settlement, v_accounts, v_amounts,
                        array_fill(0::bigint, ARRAY[cardinality(v_accounts)]), true, -p_receivable, -p_payable);
    RETURN true;
END
$$;

-- A split: the account's settled securities become p_quantity units, at the depository, too. The same p_key again changes
-- nothing.
CREATE OR REPLACE FUNCTION ledger_restate_securities(p_key text, p_account uuid, p_instrument uuid, p_quantity bigint,
                                                     p_effective_at timestamptz, p_details jsonb)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_tenant uuid := ledger_tenant();
    v_transaction uuid := uuidv7();
    v_securities uuid;
    v_change bigint;
BEGIN
    v_securities := ledger_account(v_tenant, 'client_securities', p_account, 'XXX', '', 0::smallint, p_instrument);
    SELECT p_quantity - a.posted INTO v_change FROM ledger_accounts a
    WHERE a.tenant_id = v_tenant AND a.id = v_securities FOR NO KEY UPDATE;
    IF v_change <> 0 AND ledger_enter(v_tenant, v_transaction, 'split', p_key,
            encode(sha256(convert_to(concat_ws('|', p_account, p_instrument, p_quantity), 'UTF8')), 'hex'),
            p_effective_at, p_details) THEN
        PERFORM ledger_move(v_tenant, v_transaction,
            ARRAY[v_securities, ledger_account(v_tenant, 'depository', NULL, 'XXX', '', 0::smallint, p_instrument)],
            ARRAY[v_change, -v_change], ARRAY[0::bigint, 0::bigint], true);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION ledger_settle_fills(jsonb),
    ledger_settle_fill(uuid, uuid, text, bigint, jsonb, uuid, bigint, timestamptz, jsonb),
    ledger_settle_trades(uuid, uuid, bigint, bigint, bigint, uuid, bigint, timestamptz, jsonb),
    ledger_restate_securities(text, uuid, uuid, bigint, timestamptz, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_settle_fills(jsonb),
    ledger_settle_fill(uuid, uuid, text, bigint, jsonb, uuid, bigint, timestamptz, jsonb),
    ledger_settle_trades(uuid, uuid, bigint, bigint, bigint, uuid, bigint, timestamptz, jsonb),
    ledger_restate_securities(text, uuid, uuid, bigint, timestamptz, jsonb) TO mandi_app;
RESET ROLE;
