"""Schema versions; `mandi migrate` applies them, then every SQL function of `app/**/sql`."""
