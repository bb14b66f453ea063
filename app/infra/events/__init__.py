"""The append-only record of what happened: public contract, one dense position per tenant (rule 11)."""
