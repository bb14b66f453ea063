"""Strategies, orders, risk, portfolio, paper venue and brokers."""
