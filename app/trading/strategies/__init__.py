"""Strategies and their deployments."""
