"""What a request with an `Idempotency-Key` did, kept in the transaction that did it (decision 0013)."""
