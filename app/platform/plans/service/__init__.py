"""What the rest of the system may ask of plans."""

from app.platform.plans.service.allowances import TenantQuotas
from app.platform.plans.service.entitlements import (
    Snapshot,
    assign_plan,
    entitlements,
    mark_paid,
    mark_past_due,
    set_add_on,
    set_override,
)
from app.platform.plans.service.quotas import Usage, consume, release, usage_of

__all__ = [
    "Snapshot",
    "TenantQuotas",
    "Usage",
    "assign_plan",
    "consume",
    "entitlements",
    "mark_paid",
    "mark_past_due",
    "release",
    "set_add_on",
    "set_override",
    "usage_of",
]
