"""What every account and deployment holds: a reduction of fills and corporate actions."""
