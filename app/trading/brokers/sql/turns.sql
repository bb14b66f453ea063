-- How long until a call may be made, when the last ones were made at p_made: no more than p_most in any p_window, wherever
-- it begins.
CREATE OR REPLACE FUNCTION brokers_wait(p_made timestamptz[], p_most int, p_at timestamptz, p_window interval)
RETURNS interval LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(coalesce(p_made[cardinality(p_made) - p_most + 1] + p_window - p_at, interval '0'), interval '0')
$$;

-- The turn of a call for an account, whichever process makes it: zero, and it is counted; else the time after which to ask
-- again. p_most: calls in any p_window; p_entries: those of them that may take risk. A clock that was set back counts what
-- is there as made now.
CREATE OR REPLACE FUNCTION brokers_take_turn(p_tenant uuid, p_account uuid, p_entry boolean, p_most int, p_entries int,
                                             p_window interval) RETURNS interval LANGUAGE plpgsql AS $$
DECLARE c broker_calls; v_at timestamptz; v_wait interval;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    INSERT INTO broker_calls (tenant_id, id, made, entries) VALUES (p_tenant, p_account, '{}', '{}') ON CONFLICT DO NOTHING;
    SELECT * INTO c FROM broker_calls b WHERE b.tenant_id = p_tenant AND b.id = p_account FOR NO KEY UPDATE;
    v_at := clock_timestamp();
    IF c.made[cardinality(c.made)] > v_at THEN
        c.made := array_fill(v_at, ARRAY[cardinality(c.made)]);
        c.entries := array_fill(v_at, ARRAY[cardinality(c.entries)]);
    END IF;
    v_wait := brokers_wait(c.made, p_most, v_at, p_window);
    IF p_entry THEN
        v_wait := greatest(v_wait, brokers_wait(c.entries, p_entries, v_at, p_window));
    END IF;
    IF v_wait = interval '0' THEN
        c.made := (c.made || v_at)[greatest(cardinality(c.made) + 2 - p_most, 1):];
        IF p_entry THEN
            c.entries := (c.entries || v_at)[greatest(cardinality(c.entries) + 2 - p_entries, 1):];
        END IF;
    END IF;
    UPDATE broker_calls b SET made = c.made, entries = c.entries
    WHERE b.tenant_id = p_tenant AND b.id = p_account AND b.made <> c.made;
    RETURN v_wait;
END $$;
