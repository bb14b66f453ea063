-- Of a feed's orders what a batch of its tape may do something to: prices of instruments from p_lows to p_highs, and ends of
-- sessions at p_venues. `waits` is an order that waits with us, `rests` one in the paper venue's book; more may be answered,
-- never less. Where there is none, the batch is over: the matcher's place is p_upto (null: it is not the last of its
-- entries).
CREATE OR REPLACE FUNCTION orders_met(p_feed text, p_instruments uuid[], p_lows bigint[], p_highs bigint[], p_venues text[],
                                      p_upto text, p_market_at timestamptz)
RETURNS TABLE (waits jsonb, rests jsonb) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    SELECT to_jsonb(w), NULL::jsonb FROM waiting_orders w
    LEFT JOIN unnest(p_instruments, p_lows, p_highs) AS t (id, low, high) ON t.id = w.instrument_id
    WHERE w.feed = p_feed AND w.waits_for = 'price' AND (w.instrument_id = ANY (p_instruments) OR w.venue = ANY (p_venues))
      AND (w.venue = ANY (p_venues) OR num_nonnulls(w.trail_by, w.trail_bps) > 0
           OR CASE w.side WHEN 'buy' THEN t.high >= w.trigger_price ELSE t.low <= w.trigger_price END)
    UNION ALL
    SELECT NULL::jsonb, to_jsonb(p) FROM paper_orders p
    LEFT JOIN unnest(p_instruments, p_lows, p_highs) AS t (id, low, high) ON t.id = p.instrument_id
    WHERE p.feed = p_feed AND (p.instrument_id = ANY (p_instruments) OR p.venue = ANY (p_venues))
      AND (p.venue = ANY (p_venues) OR p.order_type = 'market' OR p.validity = 'ioc' OR p.expires_at IS NOT NULL
           OR CASE WHEN p.trigger_price IS NULL OR p.triggered_at IS NOT NULL
                   THEN CASE p.side WHEN 'buy' THEN t.low <= p.limit_price ELSE t.high >= p.limit_price END
                   ELSE CASE p.side WHEN 'buy' THEN t.high >= p.trigger_price ELSE t.low <= p.trigger_price END END);
    IF NOT FOUND AND p_upto IS NOT NULL THEN
        PERFORM paper_advance(p_feed, p_upto, p_market_at);
    END IF;
END $$;
