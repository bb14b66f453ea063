"""End customers and trading accounts."""
