"""Calls to addresses that tenants name: webhooks, keys of their identity providers."""
