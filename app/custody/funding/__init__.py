"""Money that comes from clients' banks and goes back there, through a payment provider."""
