CREATE OR REPLACE FUNCTION work_shard(p_tenant uuid) RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
    SELECT (get_byte(uuid_send(p_tenant), 15) % 16)::smallint
$$;

-- A row of work from inside a SQL function of the order path. The caller has set the tenant.
CREATE OR REPLACE FUNCTION work_append(p_queue text, p_kind text, p_lane uuid, p_payload jsonb, p_priority int)
RETURNS uuid LANGUAGE sql AS $$
    INSERT INTO work_items (tenant_id, id, queue, shard, lane, kind, payload, priority)
    SELECT t, uuidv7(), p_queue, work_shard(t), p_lane, p_kind, p_payload, p_priority
    FROM (SELECT current_setting('app.tenant_id')::uuid AS t) tenant
    RETURNING id
$$;

-- Lanes where an item failed and waits for its next attempt: what was placed after it waits too, so a lane keeps its
-- order. Priority 0 waits for nothing, since a cancel that cannot be sent must not hold up an exit.
DROP FUNCTION IF EXISTS work_blocked(text, int);
CREATE OR REPLACE FUNCTION work_blocked(p_queue text, p_shards int[])
RETURNS TABLE (tenant_id uuid, lane uuid, priority smallint, since bigint) LANGUAGE sql STABLE AS $$
    SELECT b.tenant_id, b.lane, b.priority, min(b.sequence) FROM work_items b
    WHERE b.state = 'ready' AND b.queue = p_queue AND b.shard = ANY (p_shards) AND b.available_at > clock_timestamp()
      AND b.last_error IS NOT NULL AND b.priority > 0
    GROUP BY b.tenant_id, b.lane, b.priority
$$;

-- What waits, by shard: the relay's poll. Not a shard of few rows whose lanes somebody runs already: he takes what comes to
-- them until they are empty, and a second wake-up would cost a worker as much as the first.
CREATE OR REPLACE FUNCTION work_waiting() RETURNS TABLE (queue text, shard smallint, ready bigint, oldest timestamptz)
LANGUAGE sql STABLE AS $$
    WITH ready AS (
        SELECT w.queue, w.shard, count(*) AS rows, min(w.available_at) AS oldest FROM work_items w
        WHERE w.state = 'ready' AND w.available_at <= clock_timestamp() GROUP BY w.queue, w.shard
    )
    SELECT r.queue, r.shard, r.rows, r.oldest FROM ready r
    WHERE (r.rows > 16 OR EXISTS (
        SELECT 1 FROM work_items w
        WHERE w.state = 'ready' AND w.queue = r.queue AND w.shard = r.shard AND w.available_at <= clock_timestamp()
          AND NOT EXISTS (SELECT 1 FROM work_leases l WHERE l.tenant_id = w.tenant_id AND l.queue = w.queue
                          AND l.lane = w.lane AND l.lease_until > clock_timestamp())))
      AND (NOT EXISTS (SELECT 1 FROM work_blocked(r.queue, ARRAY[r.shard::int])) OR EXISTS (
        SELECT 1 FROM work_items w
        WHERE w.state = 'ready' AND w.queue = r.queue AND w.shard = r.shard AND w.available_at <= clock_timestamp()
          AND NOT EXISTS (SELECT 1 FROM work_blocked(r.queue, ARRAY[r.shard::int]) b WHERE b.tenant_id = w.tenant_id
                          AND b.lane = w.lane AND b.priority = w.priority AND b.since < w.sequence)))
$$;

-- Leases up to p_lanes lanes of these shards that have ready work, fair among tenants: each tenant's oldest lane first.
-- Where one lane is asked for, any tenant's may be it: else whoever came first would be served whole before anybody else.
-- The first fence of a lane is the time in microseconds: more than any it had before its lease was forgotten.
DROP FUNCTION IF EXISTS work_claim(text, int, text, int, interval);
CREATE OR REPLACE FUNCTION work_claim(p_queue text, p_shards int[], p_holder text, p_lanes int, p_lease interval)
RETURNS TABLE (tenant_id uuid, lane uuid, fence bigint) LANGUAGE sql AS $$
    WITH blocked AS MATERIALIZED (
        SELECT * FROM work_blocked(p_queue, p_shards)
    ), waiting AS (
        SELECT w.tenant_id, w.lane,
               row_number() OVER (PARTITION BY w.tenant_id ORDER BY min(w.priority), min(w.sequence)) AS turn
        FROM work_items w
        WHERE w.state = 'ready' AND w.queue = p_queue AND w.shard = ANY (p_shards)
          AND w.available_at <= clock_timestamp()
          AND NOT EXISTS (SELECT 1 FROM blocked b WHERE b.tenant_id = w.tenant_id
                          AND b.lane = w.lane AND b.priority = w.priority AND b.since < w.sequence)
          AND NOT EXISTS (SELECT 1 FROM work_leases l WHERE l.tenant_id = w.tenant_id AND l.queue = w.queue
                          AND l.lane = w.lane AND l.lease_until > clock_timestamp())
        GROUP BY w.tenant_id, w.lane
        ORDER BY turn, CASE WHEN p_lanes > 1 THEN min(w.sequence) END, random() LIMIT p_lanes
    )
    INSERT INTO work_leases AS l (tenant_id, queue, lane, lease_until, fence, holder)
    SELECT w.tenant_id, p_queue, w.lane, clock_timestamp() + p_lease,
           (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, p_holder FROM waiting w
    ORDER BY w.tenant_id, w.lane
    ON CONFLICT (tenant_id, queue, lane) DO UPDATE
        SET lease_until = excluded.lease_until, fence = l.fence + 1, holder = excluded.holder
        WHERE l.lease_until <= clock_timestamp()
    RETURNING l.tenant_id, l.lane, l.fence
$$;

CREATE OR REPLACE FUNCTION work_done(p_tenant uuid, p_id uuid) RETURNS void LANGUAGE sql AS $$
    UPDATE work_items SET state = 'done', finished_at = clock_timestamp() WHERE tenant_id = p_tenant AND id = p_id
$$;

-- A failed run: again after p_delay, or dead (visible, replayable) when it may not be tried again. p_counts: not where
-- nothing failed, and it only had to wait.
DROP FUNCTION IF EXISTS work_failed(uuid, uuid, text, interval, boolean);
CREATE OR REPLACE FUNCTION work_failed(p_tenant uuid, p_id uuid, p_error text, p_delay interval, p_dead boolean,
                                       p_counts boolean)
RETURNS void LANGUAGE sql AS $$
    UPDATE work_items SET last_error = left(p_error, 500), available_at = clock_timestamp() + p_delay,
        attempts = CASE WHEN p_counts THEN attempts ELSE greatest(attempts - 1, 0) END,
        state = CASE WHEN p_dead THEN 'dead' ELSE 'ready' END,
        finished_at = CASE WHEN p_dead THEN clock_timestamp() END
    WHERE tenant_id = p_tenant AND id = p_id
$$;

-- Of an item that lasts: keeps the lane, and hides the item as long. Both come back together when the worker dies.
CREATE OR REPLACE FUNCTION work_renew(p_queue text, p_tenant uuid, p_lane uuid, p_fence bigint, p_id uuid,
                                      p_lease interval) RETURNS boolean LANGUAGE sql AS $$
    WITH held AS (
        UPDATE work_leases SET lease_until = clock_timestamp() + p_lease
        WHERE tenant_id = p_tenant AND queue = p_queue AND lane = p_lane AND fence = p_fence
          AND lease_until > clock_timestamp()
        RETURNING lease_until
    ), hidden AS (
        UPDATE work_items w SET available_at = held.lease_until FROM held
        WHERE w.tenant_id = p_tenant AND w.id = p_id AND w.state = 'ready'
        RETURNING 1
    )
    SELECT EXISTS (SELECT 1 FROM hidden)
$$;

-- An item that lasts, given back because its worker ends or must wait: nothing failed, so the attempt does not count.
CREATE OR REPLACE FUNCTION work_return(p_tenant uuid, p_id uuid, p_delay interval) RETURNS void LANGUAGE sql AS $$
    UPDATE work_items SET attempts = greatest(attempts - 1, 0), available_at = clock_timestamp() + p_delay
    WHERE tenant_id = p_tenant AND id = p_id AND state = 'ready'
$$;

CREATE OR REPLACE FUNCTION work_release(p_queue text, p_tenant uuid, p_lane uuid, p_fence bigint) RETURNS void
LANGUAGE sql AS $$
    UPDATE work_leases SET lease_until = clock_timestamp()
    WHERE tenant_id = p_tenant AND queue = p_queue AND lane = p_lane AND fence = p_fence
$$;

-- Leases lanes as `work_claim` does, and starts each one's first item. A lane whose work was done meanwhile comes without.
DROP FUNCTION IF EXISTS work_take(text, int, text, int, interval);
CREATE OR REPLACE FUNCTION work_take(p_queue text, p_shards int[], p_holder text, p_lanes int, p_lease interval)
RETURNS TABLE (tenant_id uuid, lane uuid, fence bigint, id uuid, kind text, payload jsonb, attempts smallint)
LANGUAGE plpgsql AS $$
DECLARE v_tenants uuid[]; v_lanes uuid[]; v_fences bigint[];
BEGIN
    SELECT array_agg(c.tenant_id), array_agg(c.lane), array_agg(c.fence) INTO v_tenants, v_lanes, v_fences
    FROM work_claim(p_queue, p_shards, p_holder, p_lanes, p_lease) c;
    RETURN QUERY
    SELECT m.tenant_id, m.lane, m.fence, s.id, s.kind, s.payload, s.attempts
    FROM unnest(v_tenants, v_lanes, v_fences) AS m (tenant_id, lane, fence)
    LEFT JOIN work_start_all(p_queue, p_shards, v_tenants, v_lanes) s ON s.tenant_id = m.tenant_id AND s.lane = m.lane;
END $$;

-- Starts the next item of each of these lanes, which the caller holds: its attempt counted before it runs.
DROP FUNCTION IF EXISTS work_start_all(text, int, uuid[], uuid[]);
CREATE OR REPLACE FUNCTION work_start_all(p_queue text, p_shards int[], p_tenants uuid[], p_lanes uuid[])
RETURNS TABLE (tenant_id uuid, lane uuid, id uuid, kind text, payload jsonb, attempts smallint) LANGUAGE sql AS $$
    WITH blocked AS MATERIALIZED (
        SELECT * FROM work_blocked(p_queue, p_shards)
    ), next AS (
        SELECT m.tenant_id, n.id FROM unnest(p_tenants, p_lanes) AS m (tenant_id, lane)
        CROSS JOIN LATERAL (
            SELECT w.id FROM work_items w
            WHERE w.tenant_id = m.tenant_id AND w.queue = p_queue AND w.lane = m.lane AND w.state = 'ready'
              AND w.available_at <= clock_timestamp()
              AND NOT EXISTS (SELECT 1 FROM blocked b WHERE b.tenant_id = m.tenant_id AND b.lane = m.lane
                              AND b.priority = w.priority AND b.since < w.sequence)
            ORDER BY w.priority, w.sequence LIMIT 1
        ) n
    )
    UPDATE work_items w SET attempts = least(w.attempts + 1, 32000) FROM next  -- what never dies may be tried for months
    WHERE w.tenant_id = next.tenant_id AND w.id = next.id AND w.state = 'ready'
    RETURNING w.tenant_id, w.lane, w.id, w.kind, w.payload, w.attempts
$$;

-- What a worker asks between two items of its lanes, in one round trip: p_done is done (null: nothing is), and the next item
-- of each lane that is still held, or none, and then that lane is given back. Whoever lost a lane gives nothing back: the
-- fence is another's.
DROP FUNCTION IF EXISTS work_next_all(text, int, uuid[], uuid[], bigint[], interval, uuid[]);
CREATE OR REPLACE FUNCTION work_next_all(p_queue text, p_shards int[], p_tenants uuid[], p_lanes uuid[],
                                         p_fences bigint[], p_lease interval, p_done uuid[])
RETURNS TABLE (tenant_id uuid, lane uuid, id uuid, kind text, payload jsonb, attempts smallint) LANGUAGE plpgsql AS $$
DECLARE v_tenants uuid[]; v_lanes uuid[]; v_started uuid[] := '{}';
BEGIN
    UPDATE work_items w SET state = 'done', finished_at = clock_timestamp()
    FROM unnest(p_tenants, p_done) AS d (tenant_id, id) WHERE w.tenant_id = d.tenant_id AND w.id = d.id;
    WITH held AS (
        UPDATE work_leases l SET lease_until = clock_timestamp() + p_lease
        FROM unnest(p_tenants, p_lanes, p_fences) AS m (tenant_id, lane, fence)
        WHERE l.tenant_id = m.tenant_id AND l.queue = p_queue AND l.lane = m.lane AND l.fence = m.fence
          AND l.lease_until > clock_timestamp()
        RETURNING l.tenant_id, l.lane
    )
    SELECT array_agg(h.tenant_id), array_agg(h.lane) INTO v_tenants, v_lanes FROM held h;
    FOR tenant_id, lane, id, kind, payload, attempts IN
            SELECT s.* FROM work_start_all(p_queue, p_shards, v_tenants, v_lanes) s LOOP
        v_started := v_started || lane;
        RETURN NEXT;
    END LOOP;
    UPDATE work_leases l SET lease_until = clock_timestamp()
    FROM unnest(p_tenants, p_lanes, p_fences) AS m (tenant_id, lane, fence)
    WHERE l.tenant_id = m.tenant_id AND l.queue = p_queue AND l.lane = m.lane AND l.fence = m.fence
      AND m.lane <> ALL (v_started);
END $$;

-- The same of one lane.
DROP FUNCTION IF EXISTS work_start(text, uuid, uuid, bigint, interval);
CREATE OR REPLACE FUNCTION work_next(p_queue text, p_tenant uuid, p_lane uuid, p_fence bigint, p_lease interval,
                                     p_done uuid)
RETURNS TABLE (id uuid, kind text, payload jsonb, attempts smallint) LANGUAGE sql AS $$
    SELECT n.id, n.kind, n.payload, n.attempts
    FROM work_next_all(p_queue, ARRAY[work_shard(p_tenant)::int], ARRAY[p_tenant], ARRAY[p_lane], ARRAY[p_fence],
                       p_lease, ARRAY[p_done]) n
$$;

-- Finished rows are kept for a while for `mandi work` and debugging, then removed, at most p_limit at a time. Answers how
-- many. Not `clock_timestamp()`: what is volatile is no bound for an index.
DROP FUNCTION IF EXISTS work_prune(interval);
CREATE OR REPLACE FUNCTION work_prune(p_older interval, p_limit int DEFAULT 5000) RETURNS bigint LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM work_items w WHERE w.state = 'done' AND w.ctid = ANY (ARRAY(
            SELECT o.ctid FROM work_items o WHERE o.state = 'done' AND o.finished_at < statement_timestamp() - p_older
            ORDER BY o.finished_at LIMIT p_limit))
        RETURNING 1
    )
    SELECT count(*) FROM gone
$$;

-- Many lanes are named by a thing that is done once, so leases are removed p_older after they ended, at most p_limit at a
-- time. Answers how many. No index finds them: it would cost every claim and every release more than this costs an hour.
CREATE OR REPLACE FUNCTION work_forget(p_older interval, p_limit int) RETURNS bigint LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM work_leases l WHERE l.lease_until < statement_timestamp() - p_older AND l.ctid = ANY (ARRAY(
            SELECT o.ctid FROM work_leases o WHERE o.lease_until < statement_timestamp() - p_older
              AND NOT EXISTS (SELECT 1 FROM work_items w WHERE w.tenant_id = o.tenant_id AND w.queue = o.queue
                              AND w.lane = o.lane AND w.state = 'ready')
            LIMIT p_limit))  -- again: a lane may have been claimed meanwhile
        RETURNING 1
    )
    SELECT count(*) FROM gone
$$;
