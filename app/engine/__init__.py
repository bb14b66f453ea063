"""The trading kernel: programs, indicators, order simulation, fills, charges. Pure: no I/O, no clock, no randomness."""
