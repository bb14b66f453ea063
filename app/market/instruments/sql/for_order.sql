-- What an instrument is for life.
CREATE OR REPLACE FUNCTION instrument_scale(p_instrument uuid)
RETURNS TABLE (symbol text, venue text, price_exp int, qty_exp int) LANGUAGE sql STABLE AS $$
    SELECT i.symbol, i.venue, i.price_exp, i.qty_exp FROM instruments i WHERE i.id = p_instrument
$$;

-- What the order path reads of an instrument: its scales for life and the rules in force at p_at (null: now), with the
-- venue's segment in whose sessions it trades. `now()`, not `clock_timestamp()`: a function with a volatile argument is no
-- part of the statement that calls it, but is run by itself for each row.
DROP FUNCTION IF EXISTS instrument_for_order(uuid, timestamptz);
CREATE OR REPLACE FUNCTION instrument_for_order(p_instrument uuid, p_at timestamptz)
RETURNS TABLE (symbol text, venue text, currency text, price_exp int, qty_exp int, tick bigint, lot bigint,
               freeze_quantity bigint, session_segment text) LANGUAGE sql STABLE AS $$
    SELECT i.symbol, i.venue, i.currency, i.price_exp, i.qty_exp, r.tick, r.lot, r.freeze_quantity,
           coalesce(r.session_segment, i.segment)
    FROM instruments i LEFT JOIN LATERAL instrument_rules_at(i.id, coalesce(p_at, now())) r ON true
    WHERE i.id = p_instrument
$$;

-- The venue's segment of an instrument, such as NSE's EQ.
CREATE OR REPLACE FUNCTION instrument_segment(p_instrument uuid) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT i.segment FROM instruments i WHERE i.id = p_instrument
$$;
