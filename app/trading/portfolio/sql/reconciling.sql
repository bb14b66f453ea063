-- The executions of a venue's date, as the ledger has them. The caller has set the tenant.
CREATE OR REPLACE FUNCTION portfolio_trades_on(p_mode text, p_day date)
RETURNS TABLE (account_id uuid, instrument_id uuid, side text, quantity bigint, price bigint) LANGUAGE sql STABLE AS $$
    SELECT f.account_id, f.instrument_id, f.side, f.quantity, f.price
    FROM ledger_fills_between(p_mode, p_day - interval '2 days', p_day + interval '7 days') f
    WHERE market_trade_day(f.instrument_id, f.effective_at) = p_day
$$;
