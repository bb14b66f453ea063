-- The status of one tenant, 'active', 'suspended' or 'closing': null for an unknown one, and for any but the caller's own
-- unless the role looks tenants up.
CREATE OR REPLACE FUNCTION tenancy_status_of(p_tenant uuid) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT t.status FROM tenants t WHERE t.tenant_id = p_tenant
$$;

-- Whether the transaction's tenant may enter positions: 'active', or 'suspended', also for one that is past due beyond
-- its grace. A suspended one may exit, not enter.
CREATE OR REPLACE FUNCTION tenancy_status() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN plans_read_only(t.tenant_id) THEN 'suspended' ELSE t.status END
    FROM tenants t WHERE t.tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid
$$;

-- The one way to an invitation before its tenant is known: takes the hash of an exact token of 256 random bits.
SET LOCAL ROLE mandi_lookup;
CREATE OR REPLACE FUNCTION tenancy_invitation(p_token_hash bytea) RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT i.tenant_id, i.id FROM invitations i WHERE i.token_hash = p_token_hash
$$;
REVOKE ALL ON FUNCTION tenancy_invitation(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenancy_invitation(bytea) TO mandi_app;
RESET ROLE;

-- What stands behind a credential: the state of p_tenant, and what p_user is in p_home (null: no such member). Another
-- tenant than p_home only under an act-as grant. A transaction by itself.
CREATE OR REPLACE FUNCTION tenancy_standing(
    p_home uuid, p_user uuid, p_tenant uuid,
    OUT tenant_status text, OUT member_status text, OUT member_role text, OUT permissions text[]
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_home::text, true);
    SELECT m.status, m.role, r.permissions INTO member_status, member_role, permissions
    FROM members m LEFT JOIN roles r ON r.tenant_id = m.tenant_id AND r.id = m.role_id
    WHERE m.tenant_id = p_home AND m.user_id = p_user;
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
    tenant_status := tenancy_status_of(p_tenant);
END $$;

-- The child that p_user of p_parent may act for at p_now by this grant: null unless both sides still have it open, both
-- still are parent and child, and the parent is active. A transaction by itself.
CREATE OR REPLACE FUNCTION tenancy_acting(p_parent uuid, p_grant uuid, p_user uuid, p_mode text, p_now timestamptz)
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE v_child uuid;
BEGIN
    PERFORM set_config('app.tenant_id', p_parent::text, true);
    SELECT g.other_tenant_id INTO v_child FROM act_as_grants g
    WHERE g.tenant_id = p_parent AND g.id = p_grant AND g.side = 'parent' AND g.user_id = p_user AND g.mode = p_mode
      AND g.ended_at IS NULL AND g.expires_at > p_now AND tenancy_status() = 'active';
    IF v_child IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM set_config('app.tenant_id', v_child::text, true);
    RETURN (SELECT g.tenant_id FROM act_as_grants g JOIN tenants t ON t.tenant_id = g.tenant_id
            WHERE g.tenant_id = v_child AND g.id = p_grant AND g.side = 'child' AND g.other_tenant_id = p_parent
              AND g.user_id = p_user AND g.ended_at IS NULL AND g.expires_at > p_now AND t.parent_id = p_parent);
END $$;

-- Opens a grant of the transaction's tenant for its child: a row and an event on either side. False when p_child is no
-- child of it. The transaction's tenant is the caller's again afterwards.
CREATE OR REPLACE FUNCTION tenancy_open_grant(
    p_child uuid, p_grant uuid, p_mode text, p_reason text, p_user uuid, p_key uuid, p_approval uuid,
    p_now timestamptz, p_until timestamptz, p_source_ip text, p_request_id text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_parent uuid := current_setting('app.tenant_id')::uuid;
    v_is_child boolean;
    v_said jsonb := jsonb_build_object('reason', p_reason, 'expires_at',
        to_char(p_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));
BEGIN
    PERFORM set_config('app.tenant_id', p_child::text, true);
    v_is_child := EXISTS (SELECT FROM tenants t WHERE t.tenant_id = p_child AND t.parent_id = v_parent);
    IF v_is_child THEN
        INSERT INTO act_as_grants (tenant_id, id, side, other_tenant_id, mode, reason, user_id, key_id, opened_at, expires_at)
        VALUES (p_child, p_grant, 'child', v_parent, p_mode, p_reason, p_user, p_key, p_now, p_until);
        PERFORM events_append('act_as.opened', p_grant, NULL, v_said, p_key, NULL, p_request_id, p_user, v_parent, p_grant);
    END IF;
    PERFORM set_config('app.tenant_id', v_parent::text, true);
    IF v_is_child THEN
        INSERT INTO act_as_grants (tenant_id, id, side, other_tenant_id, mode, reason, user_id, key_id, approval_id,
                                   opened_at, expires_at)
        VALUES (v_parent, p_grant, 'parent', p_child, p_mode, p_reason, p_user, p_key, p_approval, p_now, p_until);
        PERFORM events_append('act_as.opened', p_grant, NULL, v_said, p_key, p_source_ip, p_request_id, p_user, NULL, p_grant);
    END IF;
    RETURN v_is_child;
END $$;

-- Ends a grant that the transaction's tenant has a side of, on both sides; false when it had ended before. The parent's
-- row first, whoever calls, so that two sides that end it at once do not wait for each other.
CREATE OR REPLACE FUNCTION tenancy_end_grant(
    p_grant uuid, p_now timestamptz, p_user uuid, p_key uuid, p_request_id text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_own uuid := current_setting('app.tenant_id')::uuid;
    v_side text;
    v_other uuid;
    v_tenant uuid;
    v_ended boolean := false;
BEGIN
    SELECT g.side, g.other_tenant_id INTO v_side, v_other FROM act_as_grants g
    WHERE g.tenant_id = v_own AND g.id = p_grant;
    IF v_side IS NULL THEN
        RETURN false;
    END IF;
    FOREACH v_tenant IN ARRAY CASE v_side WHEN 'parent' THEN ARRAY[v_own, v_other] ELSE ARRAY[v_other, v_own] END LOOP
        PERFORM set_config('app.tenant_id', v_tenant::text, true);
        UPDATE act_as_grants g SET ended_at = p_now, ended_by = v_side
        WHERE g.tenant_id = v_tenant AND g.id = p_grant AND g.ended_at IS NULL;
        IF FOUND THEN
            v_ended := true;
            PERFORM events_append('act_as.ended', p_grant, NULL, jsonb_build_object('ended_by', v_side),
                                  CASE WHEN v_tenant = v_own THEN p_key END, NULL, p_request_id,
                                  CASE WHEN v_tenant = v_own THEN p_user END, NULL, p_grant);
        END IF;
    END LOOP;
    PERFORM set_config('app.tenant_id', v_own::text, true);
    RETURN v_ended;
END $$;
