-- Takes the key for this transaction, and answers what the same key did before: no row means that it is new. `busy`: a
-- request with this key is running. The lock ends with its transaction, so a process that dies leaves nothing behind.
CREATE OR REPLACE FUNCTION idempotency_begin(p_tenant uuid, p_id uuid)
RETURNS TABLE (busy boolean, fingerprint text, status smallint, headers jsonb, body bytea)
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended(p_tenant::text || p_id::text, 0)) THEN
        RETURN QUERY SELECT true, NULL::text, NULL::smallint, NULL::jsonb, NULL::bytea;
        RETURN;
    END IF;
    RETURN QUERY SELECT false, k.fingerprint, k.status, k.headers, k.body FROM idempotency_keys k
                 WHERE k.tenant_id = p_tenant AND k.id = p_id AND k.expires_at > clock_timestamp();
END $$;

-- For writers that are one call: what the key did before, as {fingerprint, subject_id}; null when it is new.
CREATE OR REPLACE FUNCTION idempotency_known(p_id uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('fingerprint', k.fingerprint, 'subject_id', k.subject_id) FROM idempotency_keys k
    WHERE k.tenant_id = current_setting('app.tenant_id')::uuid AND k.id = p_id AND k.expires_at > clock_timestamp()
$$;

-- Remembers that the key made `p_subject`. p_claim: {id, route, fingerprint, expires_at}. Fails as a serialization
-- failure when the same key was used meanwhile, so that its caller looks again.
CREATE OR REPLACE FUNCTION idempotency_record(p_claim jsonb, p_status int, p_subject uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO idempotency_keys AS k (tenant_id, id, route, fingerprint, status, headers, subject_id, expires_at)
    VALUES (current_setting('app.tenant_id')::uuid, (p_claim->>'id')::uuid, p_claim->>'route',
            p_claim->>'fingerprint', p_status, '{}', p_subject, (p_claim->>'expires_at')::timestamptz)
    ON CONFLICT (tenant_id, id) DO UPDATE
    SET route = excluded.route, fingerprint = excluded.fingerprint, status = excluded.status,
        headers = excluded.headers, body = NULL, subject_id = excluded.subject_id,
        created_at = clock_timestamp(), expires_at = excluded.expires_at
    WHERE k.expires_at <= clock_timestamp();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this idempotency key was used meanwhile' USING ERRCODE = 'serialization_failure';
    END IF;
END $$;

-- Forgets what has expired, of all tenants, at most p_limit rows at a time. Answers how many.
CREATE OR REPLACE FUNCTION idempotency_prune(p_now timestamptz, p_limit int) RETURNS bigint LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM idempotency_keys k WHERE k.expires_at <= p_now AND k.ctid = ANY (ARRAY(
            SELECT o.ctid FROM idempotency_keys o WHERE o.expires_at <= p_now ORDER BY o.expires_at LIMIT p_limit))
        RETURNING 1  -- the time is looked at twice: a key may have been used anew meanwhile
    )
    SELECT count(*) FROM gone
$$;
