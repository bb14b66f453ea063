-- History is append-only for everyone, the owner included: grants stop the others, these triggers stop the owner.
CREATE OR REPLACE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: correct it with a new transaction' USING ERRCODE = 'MD008';
END
$$;

DO $$
DECLARE v_table text;
BEGIN
    FOREACH v_table IN ARRAY ARRAY['ledger_transactions', 'ledger_entries'] LOOP
        -- only when missing: making a trigger locks the table, and every start of a stack comes by here
        CONTINUE WHEN EXISTS (SELECT 1 FROM pg_trigger
                              WHERE tgrelid = v_table::regclass AND tgname = 'ledger_append_only' AND tgenabled <> 'D');
        EXECUTE format('CREATE OR REPLACE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()', v_table);
    END LOOP;
END
$$;
