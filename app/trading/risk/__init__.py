"""One gateway of rules between an intent and an order."""
