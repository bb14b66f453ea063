-- What holds of every account of the ledger: the table's one CHECK, a function for the reason that `orders_sound` gives.
CREATE OR REPLACE FUNCTION ledger_account_sound(a ledger_accounts) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN a.kind IN ('client_cash', 'client_receivable', 'client_payable', 'client_margin', 'client_securities',
                      'omnibus_bank', 'depository', 'clearing', 'charges', 'taxes', 'suspense', 'firm_bank', 'firm_income')
        AND (a.account_id IS NOT NULL)
            = (a.kind IN ('client_cash', 'client_receivable', 'client_payable', 'client_margin', 'client_securities'))
        AND (a.instrument_id IS NOT NULL) = (a.kind IN ('client_securities', 'depository'))
        AND (a.instrument_id IS NOT NULL) = (a.currency = 'XXX')
        AND (a.head = '' OR a.kind IN ('charges', 'taxes'))
        AND a.book IN ('client', 'firm')
        AND (a.book = 'firm') = (a.kind IN ('firm_bank', 'firm_income'))
        AND a.shard BETWEEN 0 AND 63
        AND a.pending_out >= 0 AND a.overdrawn >= 0
        AND a.receivable >= 0 AND a.payable >= 0 AND a.margin >= 0
        AND (a.kind = 'client_cash' OR (a.receivable = 0 AND a.payable = 0 AND a.margin = 0 AND a.financed = 0
                                       AND a.flows = 0))
        AND (a.posted + a.receivable - a.payable + a.financed - a.pending_out + a.overdrawn >= a.floor_minor) IS NOT FALSE;
END $$;
