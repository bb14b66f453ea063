-- Tenants with work of p_queue that could run and has waited for longer than p_bound. Lanes that somebody runs, or where
-- a failed item waits for its next attempt, are late for reasons of their own: a slow broker, a session that has ended.
CREATE OR REPLACE FUNCTION work_late(p_queue text, p_bound interval) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE AS $$
    SELECT DISTINCT w.tenant_id FROM work_items w
    WHERE w.state = 'ready' AND w.queue = p_queue AND w.available_at < clock_timestamp() - p_bound
      AND NOT EXISTS (SELECT 1 FROM work_leases l WHERE l.tenant_id = w.tenant_id AND l.queue = w.queue
                      AND l.lane = w.lane AND l.lease_until > clock_timestamp())
      AND NOT EXISTS (SELECT 1 FROM work_items b WHERE b.tenant_id = w.tenant_id AND b.queue = w.queue
                      AND b.lane = w.lane AND b.priority = w.priority AND b.sequence < w.sequence
                      AND b.state = 'ready' AND b.last_error IS NOT NULL AND b.priority > 0
                      AND b.available_at > clock_timestamp())
$$;
