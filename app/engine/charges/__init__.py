"""Charge schedules, one file per market and segment: dated rates with their sources. `app.engine.schedule` reads them."""
