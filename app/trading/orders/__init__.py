"""The life of an order, from intent to fill."""
