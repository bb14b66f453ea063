-- What the order path reads of an account. The caller has set the tenant; no row for another tenant's account.
CREATE OR REPLACE FUNCTION accounts_for_order(p_account uuid)
RETURNS TABLE (id uuid, client_id uuid, mode text, currency text, broker text, feed text, charge_schedule text,
               slippage_bps int, status text, version bigint) LANGUAGE sql STABLE AS $$
    SELECT a.id, a.client_id, a.mode, a.currency, a.broker, a.feed, a.charge_schedule, a.slippage_bps, a.status,
           a.version
    FROM accounts a
    WHERE a.tenant_id = current_setting('app.tenant_id')::uuid AND a.id = p_account
$$;

-- Takes the account's turn: the new version, or null when another order came first (or the account is not there).
-- Without p_expected it waits for its turn. The row stays locked until the end of the transaction.
CREATE OR REPLACE FUNCTION accounts_advance(p_account uuid, p_expected bigint) RETURNS bigint LANGUAGE sql AS $$
    UPDATE accounts a SET version = a.version + 1
    WHERE a.tenant_id = current_setting('app.tenant_id')::uuid AND a.id = p_account
      AND (p_expected IS NULL OR a.version = p_expected)
    RETURNING a.version
$$;

-- Locks the account and tells its version: fills take this lock before they touch the ledger's rows.
CREATE OR REPLACE FUNCTION accounts_lock(p_account uuid) RETURNS bigint LANGUAGE sql AS $$
    SELECT a.version FROM accounts a
    WHERE a.tenant_id = current_setting('app.tenant_id')::uuid AND a.id = p_account
    FOR NO KEY UPDATE
$$;

-- The same of several, in id order: whoever locks more than one account does it here.
CREATE OR REPLACE FUNCTION accounts_lock_all(p_accounts uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM accounts a
    WHERE a.tenant_id = current_setting('app.tenant_id')::uuid AND a.id = ANY (p_accounts)
    ORDER BY a.id FOR NO KEY UPDATE;
END $$;

-- Takes the turns of these accounts, in id order.
CREATE OR REPLACE FUNCTION accounts_advance_these(p_accounts uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(p_accounts) > 1 THEN
        PERFORM accounts_lock_all(p_accounts);
    END IF;
    UPDATE accounts a SET version = a.version + 1
    WHERE a.tenant_id = current_setting('app.tenant_id')::uuid AND a.id = ANY (p_accounts);
END $$;

-- Takes the turn of one account, or (null) of all of the tenant's, in one order: what was read of them is stale now.
CREATE OR REPLACE FUNCTION accounts_advance_all(p_account uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM accounts a
    WHERE a.tenant_id = current_setting('app.tenant_id')::uuid AND (p_account IS NULL OR a.id = p_account)
    ORDER BY a.id FOR NO KEY UPDATE;
    UPDATE accounts a SET version = a.version + 1
    WHERE a.tenant_id = current_setting('app.tenant_id')::uuid AND (p_account IS NULL OR a.id = p_account);
END $$;

-- Accounts at these brokers, of all tenants: whom the listener listens for, as the role `mandi_dispatch`.
CREATE OR REPLACE FUNCTION accounts_at_brokers(p_brokers text[])
RETURNS TABLE (tenant_id uuid, account_id uuid, broker text) LANGUAGE sql STABLE AS $$
    SELECT a.tenant_id, a.id, a.broker FROM accounts a WHERE a.broker = ANY (p_brokers) AND a.status <> 'closed'
$$;

-- Tenants with an account on a feed: for whom its calendar matters, as the role `mandi_dispatch`.
CREATE OR REPLACE FUNCTION accounts_tenants_on(p_feed text) RETURNS TABLE (tenant_id uuid) LANGUAGE sql STABLE AS $$
    SELECT DISTINCT a.tenant_id FROM accounts a WHERE a.feed = p_feed AND a.status <> 'closed' ORDER BY a.tenant_id
$$;

-- The tenant's accounts of a mode, closed ones too.
CREATE OR REPLACE FUNCTION accounts_in_mode(p_mode text) RETURNS TABLE (id uuid) LANGUAGE sql STABLE AS $$
    SELECT a.id FROM accounts a WHERE a.tenant_id = current_setting('app.tenant_id')::uuid AND a.mode = p_mode
$$;

-- A client's accounts of one mode and currency: what limits of the client count together. The caller has set the tenant.
CREATE OR REPLACE FUNCTION accounts_of_client(p_client uuid, p_mode text, p_currency text)
RETURNS TABLE (id uuid, version bigint) LANGUAGE sql STABLE AS $$
    SELECT a.id, a.version FROM accounts a
    WHERE a.tenant_id = current_setting('app.tenant_id')::uuid AND a.client_id = p_client AND a.mode = p_mode
      AND a.currency = p_currency
$$;

-- Locks them, in id order, and tells the sum of their versions: versions only grow, so an equal sum is an equal state.
CREATE OR REPLACE FUNCTION accounts_lock_client(p_client uuid, p_mode text, p_currency text) RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM accounts a
    WHERE a.tenant_id = current_setting('app.tenant_id')::uuid AND a.client_id = p_client AND a.mode = p_mode
      AND a.currency = p_currency
    ORDER BY a.id FOR NO KEY UPDATE;
    RETURN (SELECT sum(c.version) FROM accounts_of_client(p_client, p_mode, p_currency) c);
END $$;

-- Takes the account's turn, and locks those of the same client, mode and currency first, in id order: what limits of the
-- client count holds still until the end of the transaction, and a decision on how it was before is made anew.
CREATE OR REPLACE FUNCTION accounts_advance_beside(p_account uuid) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM accounts_lock_client(a.client_id, a.mode, a.currency) FROM accounts a
    WHERE a.tenant_id = current_setting('app.tenant_id')::uuid AND a.id = p_account AND a.client_id IS NOT NULL;
    RETURN accounts_advance(p_account, NULL);
END $$;
