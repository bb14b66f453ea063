"""Rows of work: what must be done is a row, a Celery task only wakes somebody who does it (rules 8–9)."""
