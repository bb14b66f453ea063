"""No charges at all, in any currency: for tests, and for comparing a strategy before and after costs."""

from app.engine.schedule import Schedule

PLUGIN = Schedule(name="zero", title="No charges", currency=None, heads={}, rates=())
