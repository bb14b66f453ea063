"""What every slice stands on: settings, transactions, rows of work, events, Redis, telemetry. Knows no slice."""
