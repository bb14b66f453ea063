"""Mandi: a multi-tenant trading platform offered as an API. `start_trading.py` runs it; README explains it."""
