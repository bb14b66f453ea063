-- The venue's date of what trades at p_at: of the last session that had opened by then; without a calendar, UTC's date.
CREATE OR REPLACE FUNCTION market_trade_day(p_instrument uuid, p_at timestamptz) RETURNS date LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT last.day FROM instruments i
        CROSS JOIN LATERAL (SELECT coalesce((SELECT r.session_segment FROM instrument_rules_at(i.id, p_at) r),
                                            i.segment) AS segment) rule
        CROSS JOIN LATERAL (
            SELECT t.day FROM trading_sessions t
            WHERE t.venue = i.venue AND t.segment = rule.segment AND t.opens_at <= p_at
              AND t.kind IN ('regular', 'early_close', 'special', 'muhurat')
            ORDER BY t.opens_at DESC LIMIT 1
        ) last
        WHERE i.id = p_instrument), (p_at AT TIME ZONE 'UTC')::date)
$$;

-- When the trades of p_day settle (T+1): at the close of the venue's next full trading day. Special and Muhurat sessions
-- are traded on, but banks and the depository rest. Null past the calendar's end.
CREATE OR REPLACE FUNCTION market_settles_at(p_instrument uuid, p_day date) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT (
        SELECT max(s.closes_at) FROM trading_sessions s
        WHERE s.venue = next.venue AND s.segment = next.segment AND s.day = next.day
          AND s.closes_at BETWEEN next.closes_at AND next.closes_at + interval '2 days'
          AND s.kind IN ('regular', 'early_close'))
    FROM instruments i
    CROSS JOIN LATERAL (SELECT coalesce((SELECT r.session_segment FROM instrument_rules_at(i.id, p_day::timestamptz) r),
                                        i.segment) AS segment) rule
    CROSS JOIN LATERAL (
        SELECT t.venue, t.segment, t.day, t.closes_at FROM trading_sessions t
        WHERE t.venue = i.venue AND t.segment = rule.segment AND t.closes_at > p_day::timestamptz AND t.day > p_day
          AND t.kind IN ('regular', 'early_close')
        ORDER BY t.closes_at LIMIT 1
    ) next
    WHERE i.id = p_instrument
$$;
