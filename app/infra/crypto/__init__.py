"""Secrets at rest: what is stored is sealed, and bound to its place (decision 0009)."""
