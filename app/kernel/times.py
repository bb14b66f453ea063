"""Decides how a moment is written at the edges: RFC 3339 in UTC, with a Z."""

from datetime import datetime


def format_time(at: datetime) -> str:
    """`2026-01-31T09:15:00Z`. `at` is aware and UTC."""
    return at.isoformat().replace("+00:00", "Z")
