"""Pure mathematics on NumPy: performance metrics, round trips."""
