"""Tenants and their members. End customers are `custody/accounts`."""
