"""Searches over a program's parameters, and how much of what they find to believe."""
