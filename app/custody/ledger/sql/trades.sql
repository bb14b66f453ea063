-- What trades post, as ledger.sql does: a fill to what is unsettled, and its settlement from there to cash and securities.
-- The old signature took charges as one sum; only orders_record_fill called it.
DROP FUNCTION IF EXISTS ledger_settle_fill(uuid, uuid, text, bigint, bigint, uuid, bigint, timestamptz, jsonb);

SET LOCAL ROLE mandi_ledger;

-- Locks the ledger rows that fills of these trading accounts touch, in id order: call it first when one transaction
-- settles fills of several accounts.
CREATE OR REPLACE FUNCTION ledger_lock(p_accounts uuid[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE v_tenant uuid := ledger_tenant();
BEGIN
    PERFORM a.id FROM ledger_accounts a
    WHERE a.tenant_id = v_tenant
      AND (a.account_id = ANY (p_accounts)
           OR (a.kind IN ('clearing', 'charges', 'taxes')
               AND (a.currency, a.shard) IN (
                   SELECT c.currency, ledger_shard(c.account_id) FROM ledger_accounts c
                   WHERE c.tenant_id = v_tenant AND c.account_id = ANY (p_accounts) AND c.kind = 'client_cash')))
    ORDER BY a.id FOR NO KEY UPDATE OF a;
END
$$;

-- Posts one fill. p_cash: what the trade brings the client before charges (negative for a buy); p_heads: what it costs
-- besides, by head in minor units; p_hold: the order's id, null without one; p_release: how much of the hold this fill
-- uses up, null for all that is left. The result is receivable or payable until `ledger_settle_trades`. A fill is a
-- fact: it may overdraw. The same p_fill again changes nothing and says `replayed`.
CREATE OR REPLACE FUNCTION ledger_settle_fill(p_fill uuid, p_account uuid, p_currency text, p_cash bigint,
                                              p_heads jsonb, p_hold uuid, p_release bigint,
                                              p_effective_at timestamptz, p_details jsonb)
RETURNS TABLE (posted bigint, available bigint, released bigint, replayed boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_tenant uuid := ledger_tenant();
    v_shard smallint := ledger_shard(p_account);
    v_cash uuid;
    v_currency text;
    v_charges bigint := (SELECT coalesce(sum(h.value::bigint), 0) FROM jsonb_each_text(p_heads) h);
    v_net bigint := p_cash - v_charges;
    v_accounts uuid[];
    v_amounts bigint[];
    v_head record;
BEGIN
    SELECT c.id, c.currency INTO v_cash, v_currency FROM ledger_accounts c
    WHERE c.tenant_id = v_tenant AND c.account_id = p_account AND c.kind = 'client_cash';
    IF v_cash IS NULL THEN
        RAISE EXCEPTION 'the account % has no books', p_account USING ERRCODE = 'MD005';
    ELSIF v_currency IS DISTINCT FROM p_currency THEN
        RAISE EXCEPTION 'the account keeps its books in %, not %', v_currency, p_currency USING ERRCODE = 'MD004';
    ELSIF p_cash IS NULL OR p_heads IS NULL OR p_release < 0
          OR abs(p_cash) > 1000000000000000 OR abs(v_charges) > 1000000000000000 THEN
        RAISE EXCEPTION 'a fill takes cash and charges of at most 10^15 and a release that is not negative'
            USING ERRCODE = 'MD006';
    END IF;
    released := 0;
    replayed := NOT ledger_enter(v_tenant, p_fill, 'fill', 'fill:' || p_fill,
        encode(sha256(convert_to(concat_ws('|', p_account, p_currency, p_cash, p_heads, p_hold), 'UTF8')), 'hex'),
        p_effective_at, p_details);
    IF NOT replayed THEN
        UPDATE ledger_holds h SET remaining = h.remaining - least(h.remaining, coalesce(p_release, h.remaining)),
            state = CASE WHEN h.remaining > p_release THEN 'pending' ELSE 'posted' END,
            closed_at = CASE WHEN h.remaining > p_release THEN NULL ELSE clock_timestamp() END
        WHERE h.tenant_id = v_tenant AND h.id = p_hold AND h.ledger_account_id = v_cash AND h.state = 'pending'
        RETURNING old.remaining - new.remaining INTO released;
        released := coalesce(released, 0);
        v_accounts := ARRAY[v_cash];
        v_amounts := ARRAY[0::bigint];
        IF v_net <> 0 THEN
            v_accounts := v_accounts || ledger_account(v_tenant,
                CASE WHEN v_net > 0 THEN 'client_receivable' ELSE 'client_payable' END, p_account, v_currency, '', 0::smallint,
                NULL);
            v_amounts := v_amounts || v_net;
        END IF;
        IF p_cash <> 0 THEN
            v_accounts := v_accounts
                || ledger_account(v_tenant, 'clearing', NULL, v_currency, '', v_shard, NULL);
            v_amounts := v_amounts || -p_cash;
        END IF;
        FOR v_head IN SELECT e.key AS head, e.value::bigint AS minor FROM jsonb_each_text(p_heads) e
                 WHERE e.value::bigint <> 0 ORDER BY e.key LOOP
            v_accounts := v_accounts
                || ledger_account(v_tenant, ledger_head_kind(v_head.head), NULL, v_currency,
                                  v_head.head, v_shard, NULL);
            v_amounts := v_amounts || v_head.minor;
        END LOOP;
        PERFORM ledger_move(v_tenant, p_fill, v_accounts, v_amounts,
                            released || array_fill(0::bigint, ARRAY[cardinality(v_accounts) - 1]), true,
                            greatest(v_net, 0), greatest(-v_net, 0));
    END IF;
    SELECT c.posted + c.receivable - c.payable, c.posted + c.receivable - c.payable - c.pending_out
    INTO posted, available FROM ledger_accounts c WHERE c.tenant_id = v_tenant AND c.id = v_cash;
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

REVOKE ALL ON FUNCTION ledger_lock(uuid[]),
    ledger_settle_fill(uuid, uuid, text, bigint, jsonb, uuid, bigint, timestamptz, jsonb),
    ledger_settle_trades(uuid, uuid, bigint, bigint, bigint, uuid, bigint, timestamptz, jsonb),
    ledger_restate_securities(text, uuid, uuid, bigint, timestamptz, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_lock(uuid[]),
    ledger_settle_fill(uuid, uuid, text, bigint, jsonb, uuid, bigint, timestamptz, jsonb),
    ledger_settle_trades(uuid, uuid, bigint, bigint, bigint, uuid, bigint, timestamptz, jsonb),
    ledger_restate_securities(text, uuid, uuid, bigint, timestamptz, jsonb) TO mandi_app;
RESET ROLE;
