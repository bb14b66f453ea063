-- Holds that follow their orders, as ledger.sql makes them.
SET LOCAL ROLE mandi_ledger;

-- What an order's hold still reserves becomes p_remaining: upwards only (p_up), where the account must have it, or
-- downwards only. Upwards one that was never made is made, and one that was voided lives again. Answers what is reserved
-- then; an order whose hold is closed has none to make smaller.
CREATE OR REPLACE FUNCTION ledger_resize_hold(p_hold uuid, p_account uuid, p_remaining bigint, p_up boolean)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_tenant uuid := ledger_tenant();
    v_cash uuid;
    v_available bigint;
    v_held bigint;
    v_state text;
    v_more bigint;
BEGIN
    IF p_remaining IS NULL OR p_remaining NOT BETWEEN 1 AND 1000000000000000 THEN
        RAISE EXCEPTION 'a hold takes an amount of 1 to 10^15' USING ERRCODE = 'MD006';
    END IF;
    SELECT a.id, a.posted + a.receivable - a.payable + a.financed - a.pending_out - coalesce(a.floor_minor, 0)
    INTO v_cash, v_available FROM ledger_accounts a
    WHERE a.tenant_id = v_tenant AND a.account_id = p_account AND a.kind = 'client_cash' FOR NO KEY UPDATE;
    SELECT h.remaining, h.state INTO v_held, v_state FROM ledger_holds h
    WHERE h.tenant_id = v_tenant AND h.id = p_hold AND h.ledger_account_id = v_cash FOR UPDATE;
    IF v_state IS DISTINCT FROM 'pending' AND NOT p_up THEN
        RETURN 0;
    ELSIF v_state IS NULL THEN
        PERFORM ledger_reserve(v_tenant, p_hold, p_account, p_remaining, false);
        RETURN p_remaining;
    ELSIF v_state = 'posted' THEN
        RAISE EXCEPTION 'what the account % held for % is spent', p_account, p_hold USING ERRCODE = 'MD005';
    END IF;
    v_more := p_remaining - v_held;
    IF v_more = 0 OR (v_more > 0) <> p_up THEN
        RETURN v_held;
    ELSIF v_more > v_available THEN
        RAISE EXCEPTION 'insufficient funds in the ledger account %: % needed, % available', v_cash, v_more, v_available
            USING ERRCODE = 'MD001';
    END IF;
    UPDATE ledger_holds SET remaining = p_remaining, amount = amount + v_more, state = 'pending', closed_at = NULL
    WHERE tenant_id = v_tenant AND id = p_hold;
    PERFORM ledger_move(v_tenant, NULL, ARRAY[v_cash], ARRAY[0::bigint], ARRAY[-v_more], true);
    RETURN p_remaining;
END
$$;

REVOKE ALL ON FUNCTION ledger_resize_hold(uuid, uuid, bigint, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_resize_hold(uuid, uuid, bigint, boolean) TO mandi_app;
RESET ROLE;
