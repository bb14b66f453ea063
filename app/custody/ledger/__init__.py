"""The double-entry ledger. `domain` states its sign convention; only `service` and `sql/` post."""
