"""The port to whoever executes: paper venue, Kite, others. Its consumer is the order path."""
