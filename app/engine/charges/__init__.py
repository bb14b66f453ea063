"""Charge schedules, one file per market and segment: dated rates with their sources. Read by `app.engine.schedule`."""
