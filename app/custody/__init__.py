"""Whose money it is: end customers, their trading accounts, and the double-entry ledger over both."""
