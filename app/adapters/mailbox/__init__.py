"""Mail that never leaves the machine: a local stack keeps it in its data folder."""
