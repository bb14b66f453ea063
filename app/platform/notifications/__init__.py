"""Webhooks: a tenant's events, sent to the addresses it named."""
