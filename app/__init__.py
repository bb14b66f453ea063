"""Mandi: a multi-tenant trading platform offered as an API. `start_trading.py` runs it; ARCHITECTURE is in the README."""
