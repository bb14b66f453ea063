"""What the platform tells about itself and the past: reports, analytics, surveillance, research, backtests."""
