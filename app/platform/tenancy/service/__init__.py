"""What the rest of the system may ask of tenancy."""

from app.platform.tenancy.service.allowances import TenantQuotas
from app.platform.tenancy.service.entitlements import (
    Snapshot,
    assign_plan,
    entitlements,
    mark_paid,
    mark_past_due,
    require,
    set_add_on,
    set_override,
)
from app.platform.tenancy.service.quotas import Usage, consume, release, usage_of
from app.platform.tenancy.service.tenants import (
    add_member,
    create_tenant,
    get_tenant,
    list_members,
    set_status,
    tenant_ids,
)

__all__ = [
    "Snapshot",
    "TenantQuotas",
    "Usage",
    "add_member",
    "assign_plan",
    "consume",
    "create_tenant",
    "entitlements",
    "get_tenant",
    "list_members",
    "mark_paid",
    "mark_past_due",
    "release",
    "require",
    "set_add_on",
    "set_override",
    "set_status",
    "tenant_ids",
    "usage_of",
]
