"""Plans: what a tenant may do and how much of it, as versioned data."""
