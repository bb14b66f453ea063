-- The only ways to a person before it is known who that is: each takes an exact credential and returns what checking
-- it needs. Owned by mandi_lookup, whose policies see all people; made under that role, since replacing a function
-- takes its owner.
SET LOCAL ROLE mandi_lookup;

CREATE OR REPLACE FUNCTION people_by_email(p_email text)
RETURNS TABLE (id uuid, password_hash text, status text, second_factor boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT u.id, u.password_hash, u.status, u.totp_confirmed_at IS NOT NULL FROM users u WHERE u.email = p_email
$$;
REVOKE ALL ON FUNCTION people_by_email(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION people_by_email(text) TO mandi_app;

CREATE OR REPLACE FUNCTION people_by_session(p_token_hash bytea)
RETURNS TABLE (id uuid, user_id uuid, pending boolean, auth_time timestamptz, amr text[], last_seen_at timestamptz,
               expires_at timestamptz, ended_at timestamptz, email text, status text, second_factor boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT s.id, s.user_id, s.pending, s.auth_time, s.amr, s.last_seen_at, s.expires_at, s.ended_at, u.email, u.status,
           u.totp_confirmed_at IS NOT NULL
    FROM login_sessions s JOIN users u ON u.id = s.user_id WHERE s.token_hash = p_token_hash
$$;
REVOKE ALL ON FUNCTION people_by_session(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION people_by_session(bytea) TO mandi_app;

CREATE OR REPLACE FUNCTION people_by_mail_token(p_token_hash bytea, p_purpose text)
RETURNS TABLE (user_id uuid, expires_at timestamptz, used_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT t.user_id, t.expires_at, t.used_at FROM mail_tokens t
    WHERE t.token_hash = p_token_hash AND t.purpose = p_purpose
$$;
REVOKE ALL ON FUNCTION people_by_mail_token(bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION people_by_mail_token(bytea, text) TO mandi_app;
RESET ROLE;

-- A request for an invitation's mail, in the transaction of the tenant that invites. The row is no tenant's: it belongs
-- to nobody but itself, and the transaction is nobody's again afterwards.
CREATE OR REPLACE FUNCTION people_request_letter(p_id uuid, p_email text, p_letter bytea, p_now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.user_id', p_id::text, true);
    INSERT INTO mail_requests (id, user_id, purpose, email, letter, attempts, available_at, created_at)
    VALUES (p_id, p_id, 'invitation', p_email, p_letter, 0, p_now, p_now);
    PERFORM set_config('app.user_id', '', true);
END $$;

-- Whether p_user's login p_session was not ended, nor forgotten long after it ran out: asked in a tenant's transaction,
-- which is nobody's again afterwards.
CREATE OR REPLACE FUNCTION people_session_stands(p_user uuid, p_session uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE v_stands boolean;
BEGIN
    PERFORM set_config('app.user_id', p_user::text, true);
    SELECT EXISTS (
        SELECT FROM login_sessions s JOIN users u ON u.id = s.user_id
        WHERE s.id = p_session AND s.user_id = p_user AND s.ended_at IS NULL AND u.status = 'active'
    ) INTO v_stands;
    PERFORM set_config('app.user_id', '', true);
    RETURN v_stands;
END $$;
