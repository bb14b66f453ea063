-- What trades post, as ledger.sql does: a fill to what is unsettled, and its settlement from there to cash and securities.
-- The old signature took charges as one sum; only orders_record_fill called it.
DROP FUNCTION IF EXISTS ledger_settle_fill(uuid, uuid, text, bigint, bigint, uuid, bigint, timestamptz, jsonb);
DROP FUNCTION IF EXISTS ledger_lock(uuid[]);
DROP FUNCTION IF EXISTS ledger_fill_legs(uuid, jsonb);

-- What of a fill its transaction is recognised by.
CREATE OR REPLACE FUNCTION ledger_fill_print(p_fill jsonb) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT encode(sha256(convert_to(concat_ws('|', p_fill->>'account', p_fill->>'currency', p_fill->>'cash',
                                              p_fill->'heads', p_fill->>'hold'), 'UTF8')), 'hex')
$$;

-- An account that fills post to and that is not open yet. All that these fills lack are opened at once, in one order:
-- transactions that opened them as they came to them would wait for each other.
CREATE OR REPLACE FUNCTION ledger_opened_for(p_tenant uuid, p_fills jsonb, p_kind text, p_owner uuid, p_currency text,
                                             p_head text, p_shard smallint)
RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ledger_account(p_tenant, c.kind, c.owner, c.currency, c.head, c.shard, NULL)
    FROM (
        SELECT DISTINCT slot.kind, slot.owner, f.value->>'currency' AS currency, slot.head, slot.shard
        FROM jsonb_array_elements(p_fills) f
        CROSS JOIN LATERAL (
            SELECT ledger_head_kind(h.key) AS kind, NULL::uuid AS owner, h.key AS head,
                   ledger_shard((f.value->>'account')::uuid) AS shard
            FROM jsonb_each_text(f.value->'heads') h WHERE h.value::bigint <> 0
            UNION ALL
            SELECT 'clearing', NULL, '', ledger_shard((f.value->>'account')::uuid)
            UNION ALL
            SELECT k.kind, (f.value->>'account')::uuid, '', 0::smallint
            FROM unnest(ARRAY['client_payable', 'client_receivable', 'client_margin']) AS k (kind)
            WHERE k.kind <> 'client_margin' OR (f.value->>'margin')::bigint <> 0
        ) slot
        ORDER BY 1, 2, 3, 4, 5
    ) c;
    RETURN ledger_found(p_tenant, p_kind, p_owner, p_currency, p_head, p_shard, NULL);
END
$$;

SET LOCAL ROLE mandi_ledger;

-- Posts fills, in their order; of each: `fill` its id, `account`, `currency`, `cash` what the trade brings the client before
-- charges (negative for a buy), `heads` what it costs besides by head, in minor units, `hold` the order's id (null without
-- one), `release` how much of the hold it uses up (null for all that is left), `at` and `details`; of intraday fills
-- `margin`, how much more of the client's cash they block, and `financed`, how much more their open positions cost (either
-- below zero: less). The result is receivable or payable until `ledger_settle_trades`. A fill is a fact: it may overdraw.
-- Answers the fills that were posted before: of these nothing changes. Most calls are of one fill, so small statements in
-- loops: PostgreSQL takes longer to set up one for all legs of all fills than to run these. Each row of the ledger is moved
-- once.
CREATE OR REPLACE FUNCTION ledger_settle_fills(p_fills jsonb) RETURNS uuid[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_tenant uuid := ledger_tenant();
    v_most constant bigint := 1000000000000000;
    f jsonb;
    own record;
    r record;
    v_fill uuid;
    v_account uuid;
    v_cash bigint;
    v_net bigint;
    v_release bigint;
    v_margin bigint;
    v_kind text;
    v_name text;
    v_seen uuid[] := '{}';
    v_known uuid[] := '{}';
    v_pool_names text[] := '{}';
    v_pools uuid[] := '{}';
    v_fills uuid[] := '{}';
    v_legs uuid[] := '{}';
    v_amounts bigint[] := '{}';
    v_clients uuid[] := '{}';
    v_nets bigint[] := '{}';
    v_released bigint[] := '{}';
    v_margins bigint[] := '{}';
    v_financed bigint[] := '{}';
    v_moved uuid[] := '{}';
    v_posted bigint[] := '{}';
    v_versions bigint[] := '{}';
BEGIN
    FOR turn IN 0 .. jsonb_array_length(p_fills) - 1 LOOP
        f := p_fills->turn;
        v_fill := f->>'fill';
        v_account := f->>'account';
        v_cash := f->>'cash';
        v_release := f->>'release';
        SELECT (array_agg(a.id) FILTER (WHERE a.kind = 'client_cash'))[1] AS cash,
               (array_agg(a.currency) FILTER (WHERE a.kind = 'client_cash'))[1] AS currency,
               (array_agg(a.id) FILTER (WHERE a.kind = 'client_receivable'))[1] AS receivable,
               (array_agg(a.id) FILTER (WHERE a.kind = 'client_payable'))[1] AS payable,
               (array_agg(a.id) FILTER (WHERE a.kind = 'client_margin'))[1] AS margin
        INTO own FROM ledger_accounts a
        WHERE a.tenant_id = v_tenant AND a.account_id = v_account AND a.instrument_id IS NULL
          AND a.kind IN ('client_cash', 'client_receivable', 'client_payable', 'client_margin');
        IF own.cash IS NULL THEN
            RAISE EXCEPTION 'the account % has no books', v_account USING ERRCODE = 'MD005';
        ELSIF own.currency IS DISTINCT FROM f->>'currency' THEN
            RAISE EXCEPTION 'the account keeps its books in %, not %', own.currency, f->>'currency'
                USING ERRCODE = 'MD004';
        ELSIF v_cash IS NULL OR abs(v_cash) > v_most OR jsonb_typeof(f->'heads') IS DISTINCT FROM 'object'
              OR v_release < 0 THEN
            RAISE EXCEPTION 'a fill takes cash and charges of at most 10^15 and a release that is not negative'
                USING ERRCODE = 'MD006';
        ELSIF v_fill = ANY (v_seen) THEN
            RAISE EXCEPTION 'each fill is posted once' USING ERRCODE = 'MD006';
        END IF;
        v_seen := v_seen || v_fill;
        IF NOT ledger_enter(v_tenant, v_fill, 'fill', 'fill:' || v_fill, ledger_fill_print(f), (f->>'at')::timestamptz,
                            f->'details') THEN
            v_known := v_known || v_fill;
            CONTINUE;
        END IF;
        v_net := v_cash;
        FOR r IN SELECT 'clearing' AS kind, '' AS head, -v_cash AS amount
                 UNION ALL SELECT ledger_head_kind(h.key), h.key, h.value::bigint FROM jsonb_each_text(f->'heads') h LOOP
            IF r.kind <> 'clearing' THEN
                v_net := v_net - r.amount;
            END IF;
            CONTINUE WHEN r.amount = 0;
            v_name := concat_ws('|', own.currency, r.kind, r.head, ledger_shard(v_account));
            IF v_name <> ALL (v_pool_names) THEN
                v_pool_names := v_pool_names || v_name;
                v_pools := v_pools || coalesce(
                    ledger_found(v_tenant, r.kind, NULL, own.currency, r.head, ledger_shard(v_account), NULL),
                    ledger_opened_for(v_tenant, p_fills, r.kind, NULL, own.currency, r.head, ledger_shard(v_account)));
            END IF;
            v_fills := v_fills || v_fill;
            v_legs := v_legs || v_pools[array_position(v_pool_names, v_name)];
            v_amounts := v_amounts || r.amount;
        END LOOP;
        IF abs(v_cash - v_net) > v_most THEN
            RAISE EXCEPTION 'a fill takes cash and charges of at most 10^15 and a release that is not negative'
                USING ERRCODE = 'MD006';
        ELSIF v_net <> 0 THEN
            v_fills := v_fills || v_fill;
            v_kind := CASE WHEN v_net > 0 THEN 'client_receivable' ELSE 'client_payable' END;
            v_legs := v_legs || coalesce(
                CASE WHEN v_net > 0 THEN own.receivable ELSE own.payable END,
                ledger_opened_for(v_tenant, p_fills, v_kind, v_account, own.currency, '', 0::smallint));
            v_amounts := v_amounts || v_net;
        END IF;
        v_margin := coalesce((f->>'margin')::bigint, 0);
        IF v_margin <> 0 THEN
            v_fills := v_fills || v_fill || v_fill;
            v_legs := v_legs || own.cash || coalesce(
                own.margin,
                ledger_opened_for(v_tenant, p_fills, 'client_margin', v_account, own.currency, '', 0::smallint));
            v_amounts := v_amounts || -v_margin || v_margin;
        END IF;
        UPDATE ledger_holds h SET remaining = h.remaining - least(h.remaining, coalesce(v_release, h.remaining)),
            state = CASE WHEN h.remaining > v_release THEN 'pending' ELSE 'posted' END,
            closed_at = CASE WHEN h.remaining > v_release THEN NULL ELSE clock_timestamp() END
        WHERE h.tenant_id = v_tenant AND h.id = (f->>'hold')::uuid AND h.ledger_account_id = own.cash
          AND h.state = 'pending'
        RETURNING old.remaining - new.remaining INTO v_release;
        v_clients := v_clients || own.cash;
        v_nets := v_nets || v_net;
        v_released := v_released || coalesce(v_release, 0);
        v_margins := v_margins || v_margin;
        v_financed := v_financed || coalesce((f->>'financed')::bigint, 0);
    END LOOP;
    FOR r IN
        SELECT m.id, sum(m.amount)::bigint AS amount, sum(m.entries) AS entries, sum(m.receivable)::bigint AS receivable,
               sum(m.payable)::bigint AS payable, sum(m.released)::bigint AS released, sum(m.margin)::bigint AS margin,
               sum(m.financed)::bigint AS financed
        FROM (
            SELECT l.id, l.amount, 1 AS entries, 0 AS receivable, 0 AS payable, 0 AS released, 0 AS margin, 0 AS financed
            FROM unnest(v_legs, v_amounts) AS l (id, amount)
            UNION ALL
            SELECT c.id, 0, 0, greatest(c.net, 0), greatest(-c.net, 0), c.released, c.margin, c.financed
            FROM unnest(v_clients, v_nets, v_released, v_margins, v_financed) AS c (id, net, released, margin, financed)
        ) m GROUP BY m.id ORDER BY m.id
    LOOP
        UPDATE ledger_accounts a
        SET posted = a.posted + r.amount, pending_out = a.pending_out - r.released,
            receivable = a.receivable + r.receivable, payable = a.payable + r.payable,
            margin = a.margin + r.margin, financed = a.financed + r.financed,
            overdrawn = greatest(0, a.floor_minor - (a.posted + r.amount + a.receivable + r.receivable
                                                     - a.payable - r.payable + a.financed + r.financed
                                                     - a.pending_out + r.released)),
            version = a.version + r.entries
        WHERE a.tenant_id = v_tenant AND a.id = r.id
        RETURNING old.posted, old.version INTO STRICT v_cash, v_net;
        v_moved := v_moved || r.id;
        v_posted := v_posted || v_cash;
        v_versions := v_versions || v_net;
    END LOOP;
    INSERT INTO ledger_entries (tenant_id, ledger_account_id, account_version, transaction_id, amount, balance_after)
    SELECT v_tenant, l.id, m.version + row_number() OVER turns, l.fill, l.amount, m.posted + sum(l.amount) OVER turns
    FROM unnest(v_fills, v_legs, v_amounts) WITH ORDINALITY AS l (fill, id, amount, place)
    JOIN unnest(v_moved, v_posted, v_versions) AS m (id, posted, version) ON m.id = l.id
    WINDOW turns AS (PARTITION BY l.id ORDER BY l.place);
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
    SELECT c.posted + c.margin + c.receivable - c.payable,
           c.posted + c.receivable - c.payable + c.financed - c.pending_out
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
    v_bank uuid;
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
    -- The bank's row first, which is the oldest: who settles several instruments in one transaction opens what the
    -- depository keeps of one when the bank's row is locked already.
    v_bank := ledger_account(v_tenant, 'omnibus_bank', NULL, v_currency, '', 0::smallint, NULL);
    PERFORM FROM ledger_accounts a WHERE a.tenant_id = v_tenant AND a.id = v_bank FOR NO KEY UPDATE;
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
            || ledger_account(v_tenant, 'clearing', NULL, v_currency, '', ledger_shard(p_account), NULL) || v_bank;
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
