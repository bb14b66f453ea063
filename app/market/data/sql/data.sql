-- The last price an instrument showed on a feed; no row before its first.
CREATE OR REPLACE FUNCTION market_last_price(p_feed text, p_instrument uuid)
RETURNS TABLE (price bigint, market_at timestamptz, session_date date) LANGUAGE sql STABLE AS $$
    SELECT l.price, l.market_at, l.session_date FROM last_prices l
    WHERE l.feed = p_feed AND l.instrument_id = p_instrument
$$;

-- The feed's own time: sessions, validity and stale prices are judged by it. Null for a feed that never ran.
CREATE OR REPLACE FUNCTION market_clock(p_feed text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT f.market_at FROM feed_state f WHERE f.feed = p_feed
$$;

-- The last bar time up to which the feed's prices are complete and matched.
CREATE OR REPLACE FUNCTION market_watermark(p_feed text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT f.watermark FROM feed_state f WHERE f.feed = p_feed
$$;

-- Every feed that ever ran, with its own time.
CREATE OR REPLACE FUNCTION market_feeds() RETURNS TABLE (feed text, market_at timestamptz) LANGUAGE sql STABLE AS $$
    SELECT f.feed, f.market_at FROM feed_state f ORDER BY f.feed
$$;
