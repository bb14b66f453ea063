"""What a history of trading earned, and at which risk."""
