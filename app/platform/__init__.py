"""Who uses Mandi: tenants, their members, their credentials."""
