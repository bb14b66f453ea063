-- The tick, lot and freeze quantity in force at p_at, as known at p_known_at (now, unless stated).
CREATE OR REPLACE FUNCTION instrument_rules_at(p_instrument uuid, p_at timestamptz,
                                               p_known_at timestamptz DEFAULT 'infinity')
RETURNS TABLE (tick bigint, lot bigint, freeze_quantity bigint, session_segment text) LANGUAGE sql STABLE AS $$
    SELECT r.tick, r.lot, r.freeze_quantity, r.session_segment FROM instrument_rules r
    WHERE r.instrument_id = p_instrument AND r.valid_from <= p_at AND (r.valid_to IS NULL OR r.valid_to > p_at)
      AND (r.recorded_to IS NULL OR r.recorded_to > p_known_at)
      AND (p_known_at = 'infinity' OR r.recorded_from <= p_known_at)
    ORDER BY r.valid_from DESC LIMIT 1
$$;

-- The prices that the venue takes at p_at, and whether it has halted trading; no row where it says nothing.
CREATE OR REPLACE FUNCTION instrument_band_at(p_instrument uuid, p_at timestamptz)
RETURNS TABLE (lower bigint, upper bigint, halted boolean) LANGUAGE sql STABLE AS $$
    SELECT b.lower, b.upper, b.halted FROM instrument_bands b
    WHERE b.instrument_id = p_instrument AND b.valid_from <= p_at AND (b.valid_to IS NULL OR b.valid_to > p_at)
      AND b.recorded_to IS NULL
    ORDER BY b.valid_from DESC LIMIT 1
$$;

-- The continuous session of a venue's segment that is open at p_at, else its next one; no row past the calendar's end.
-- day_closes_at is when the orders of that day expire: later than closes_at on a day of two sessions.
CREATE OR REPLACE FUNCTION market_session_of(p_venue text, p_segment text, p_at timestamptz)
RETURNS TABLE (day date, kind text, opens_at timestamptz, closes_at timestamptz, day_closes_at timestamptz,
               is_open boolean) LANGUAGE sql STABLE AS $$
    SELECT s.day, s.kind, s.opens_at, s.closes_at,
           (SELECT max(d.closes_at) FROM trading_sessions d
            WHERE d.venue = s.venue AND d.segment = s.segment AND d.day = s.day
              AND d.closes_at BETWEEN s.closes_at AND s.closes_at + interval '1 day'
              AND d.kind IN ('regular', 'early_close', 'special', 'muhurat')),
           s.opens_at <= p_at
    FROM (
        SELECT t.* FROM trading_sessions t
        WHERE t.venue = p_venue AND t.segment = p_segment AND t.closes_at > p_at
          AND t.kind IN ('regular', 'early_close', 'special', 'muhurat')
        ORDER BY t.closes_at LIMIT 1
    ) s
$$;

-- The same of an instrument.
CREATE OR REPLACE FUNCTION market_session_at(p_instrument uuid, p_at timestamptz)
RETURNS TABLE (venue text, segment text, day date, kind text, opens_at timestamptz, closes_at timestamptz,
               day_closes_at timestamptz, is_open boolean) LANGUAGE sql STABLE AS $$
    SELECT i.venue, rule.segment, s.day, s.kind, s.opens_at, s.closes_at, s.day_closes_at, s.is_open
    FROM instruments i
    CROSS JOIN LATERAL (SELECT coalesce((SELECT r.session_segment FROM instrument_rules_at(i.id, p_at) r),
                                        i.segment) AS segment) rule
    CROSS JOIN LATERAL market_session_of(i.venue, rule.segment, p_at) s
    WHERE i.id = p_instrument
$$;

-- Whether an instrument trades in the sessions of a venue's segment at p_at.
CREATE OR REPLACE FUNCTION instrument_in_session(p_instrument uuid, p_venue text, p_segment text, p_at timestamptz)
RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT 1 FROM instruments i
        WHERE i.id = p_instrument AND i.venue = p_venue
          AND coalesce((SELECT r.session_segment FROM instrument_rules_at(i.id, p_at) r), i.segment) = p_segment)
$$;

-- The last day that an instrument trades, such as a contract's expiry; null while nobody has said so.
CREATE OR REPLACE FUNCTION instrument_last_day(p_instrument uuid) RETURNS date LANGUAGE sql STABLE AS $$
    SELECT i.delisted_on FROM instruments i WHERE i.id = p_instrument
$$;
