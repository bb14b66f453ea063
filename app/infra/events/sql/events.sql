-- One event from inside a SQL function. The caller has set the tenant. `p_user` answers for the credential `p_key`; under
-- an act-as grant `p_grant` is that grant and `p_home` the caller's own tenant.
CREATE OR REPLACE FUNCTION events_append(
    p_type text, p_subject uuid, p_account uuid, p_data jsonb, p_key uuid, p_source_ip text, p_request_id text,
    p_user uuid, p_home uuid, p_grant uuid
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO events (tenant_id, id, type, subject_id, account_id, data, actor_key_id, source_ip, request_id,
                        actor_user_id, actor_tenant_id, grant_id)
    VALUES (current_setting('app.tenant_id')::uuid, uuidv7(), p_type, p_subject, p_account, p_data, p_key, p_source_ip,
            p_request_id, p_user, p_home, p_grant)
$$;

-- The same for what the platform does by itself.
CREATE OR REPLACE FUNCTION events_append(
    p_type text, p_subject uuid, p_account uuid, p_data jsonb, p_key uuid, p_source_ip text, p_request_id text
) RETURNS void LANGUAGE sql AS $$
    SELECT events_append(p_type, p_subject, p_account, p_data, p_key, p_source_ip, p_request_id, NULL, NULL, NULL)
$$;

-- The same for many at once.
CREATE OR REPLACE FUNCTION events_append_all(p_types text[], p_subjects uuid[], p_accounts uuid[], p_data jsonb[])
RETURNS void LANGUAGE sql AS $$
    INSERT INTO events (tenant_id, id, type, subject_id, account_id, data)
    SELECT current_setting('app.tenant_id')::uuid, uuidv7(), e.type, e.subject, e.account, e.data
    FROM unnest(p_types, p_subjects, p_accounts, p_data) AS e (type, subject, account, data)
$$;

-- Stamps a dense position per tenant on events that no running transaction can still precede: an event with a lower
-- transaction id that commits later would otherwise be skipped by whoever follows by id. Returns the tenants they are of.
-- One caller at a time, and each sees what the one before has stamped: a leader that lost its place may still be at it.
CREATE OR REPLACE FUNCTION events_position(p_limit int) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE v_tenants uuid[];
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('events-position', 0));
    WITH candidates AS (
        SELECT tenant_id, id, row_number() OVER (PARTITION BY tenant_id ORDER BY xid, id) AS place
        FROM (SELECT tenant_id, id, xid FROM events
              WHERE position IS NULL AND xid < (pg_snapshot_xmin(pg_current_snapshot())::text)::bigint
              ORDER BY xid, id LIMIT p_limit) oldest
    ), heads AS (
        INSERT INTO event_heads AS h (tenant_id, position)
        SELECT tenant_id, count(*) FROM candidates GROUP BY tenant_id ORDER BY tenant_id
        ON CONFLICT (tenant_id) DO UPDATE SET position = h.position + excluded.position
        RETURNING tenant_id, position
    ), stamped AS (
        UPDATE events e SET position = h.position - t.total + c.place
        FROM candidates c JOIN heads h USING (tenant_id)
             JOIN (SELECT tenant_id, count(*) AS total FROM candidates GROUP BY tenant_id) t USING (tenant_id)
        WHERE e.tenant_id = c.tenant_id AND e.id = c.id
        RETURNING 1
    )
    SELECT coalesce(array_agg(h.tenant_id), '{}') INTO v_tenants FROM heads h;
    RETURN v_tenants;
END $$;
