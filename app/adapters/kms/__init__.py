"""AWS Key Management Service as keeper of key-encryption keys. Never run against the real service (decision 0009)."""
